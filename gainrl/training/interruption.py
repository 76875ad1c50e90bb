"""SIGTERM, Slurm's SIGUSR2 and Ctrl-C: training ends after a checkpoint, and the same command resumes it."""

import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class Interrupted(SystemExit):
    """A signal ended the run, after a checkpoint if there was anything to save; the same command resumes it."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class Interruption:
    """Listens for the signals while open. Before training there is nothing to save, so `Interrupted` is raised at once.

    Ctrl-C raises KeyboardInterrupt instead; a second one does so at once, in the middle of a step.

    Attributes:
        signum: the signal that was received, None before.
        training: whether training has begun, so that the run ends after a checkpoint.
        ends: whether training ends now, for a signal that this or another process of the run received.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.training = False
        self.ends = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        with suppress(ValueError):  # only the main thread can; elsewhere the handlers stay
            ctrl_c = [signal.SIGINT] if signal.getsignal(signal.SIGINT) is signal.default_int_handler else []
            self._handlers = {signum: signal.signal(signum, self._receive) for signum in (*SIGNALS, *ctrl_c)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)

    def _receive(self, signum: int, frame: Any) -> None:
        waits = self.training and (signum != signal.SIGINT or self.signum is None)
        self.signum = signum
        if not waits:
            raise self._error()
        if signum == signal.SIGINT:
            print("\ngainrl: ends after this step, with a checkpoint; Ctrl-C once more ends at once", file=sys.stderr)

    def raise_if_ended(self) -> None:
        """Raise `Interrupted`, or KeyboardInterrupt, if a signal has ended training."""
        if self.ends:
            raise self._error()

    def _error(self) -> BaseException:
        return KeyboardInterrupt() if self.signum == signal.SIGINT else Interrupted(self.signum or signal.SIGTERM)
