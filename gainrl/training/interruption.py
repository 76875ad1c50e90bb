"""SIGTERM and Slurm's SIGUSR2: training ends after a checkpoint, and the same command resumes it."""

import signal
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGUSR2)


class Interrupted(SystemExit):
    """A signal ended the run: there is a checkpoint (or nothing worth one), and the same command resumes it."""

    def __init__(self, signum: int) -> None:
        super().__init__(128 + signum)
        self.signum = signum


class Interruption:
    """Listens for the signals while it is open. Before training begins there is nothing to lose: `Interrupted` is raised.

    Attributes:
        signum: the signal that came; None while none has.
        training: whether training has begun, so that the signal waits for a checkpoint.
        ends: whether training ends now, for a signal that this process or another one of the run received.
    """

    def __init__(self) -> None:
        self.signum: int | None = None
        self.training = False
        self.ends = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        with suppress(ValueError):  # only the main thread can; elsewhere signals keep their meaning
            self._handlers = {signum: signal.signal(signum, self._receive) for signum in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for signum, handler in self._handlers.items():
            signal.signal(signum, handler)

    def _receive(self, signum: int, frame: Any) -> None:
        self.signum = signum
        if not self.training:
            raise Interrupted(signum)

    def raise_if_ended(self) -> None:
        """Raises `Interrupted` where training has ended for a signal."""
        if self.ends:
            raise Interrupted(self.signum or signal.SIGTERM)
