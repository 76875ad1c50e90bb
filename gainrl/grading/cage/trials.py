"""One program, one trial: on a standard input, by calls of its functions, or under tests that run in another process."""

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from gainrl.grading.cage.inside import reason_of
from gainrl.grading.cage.keepers import FILE_BYTES, Keeper, Level, keeper
from gainrl.grading.cage.values import FromProgram, Program, receive
from gainrl.grading.verdict import Reason

_LONGEST_REPORT = 1 << 16
_SIGNALS: dict[int, Reason] = {signal.SIGXCPU: "timeout", signal.SIGKILL: "memory", signal.SIGSYS: "forbidden"}
"""What the system ends a process with, when it exceeds a limit; SIGKILL is the machine that is out of memory."""


class Ending(NamedTuple):
    """How a process ended: None where it ended well, else why not."""

    reason: Reason | None
    detail: str = ""


def run_stream(level: Level, job: dict[str, str], text: str, seconds: float) -> tuple[Ending, str]:
    """Run a program as a script on a standard input: how it ended, and its standard output.

    Args:
        job: ``setup`` and ``program``, sources.
        seconds: of wall-clock time, starting the process included.

    Raises OSError: no keeper can be started.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(_memory(content)) for content in (json.dumps(job), text, "")]
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        mine = _start(stack, level, "stream", files[0], seconds, [files[1], files[2], theirs.fileno()])
        theirs.close()
        ended = mine.wait(seconds)
        report: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            report = receive(ours, time.monotonic(), _LONGEST_REPORT)
        return _ending(ended, report), os.pread(files[2], FILE_BYTES, 0).decode(errors="replace")


@contextmanager
def functions(level: Level, job: dict[str, str], seconds: float, longest: int) -> Iterator[tuple[Program, list[Ending]]]:
    """A program that is loaded and answers calls, and the place where its ending stands if it ends within the block.

    An exception of the program, its end, a value that cannot cross and a missed deadline leave the block, and are the ending.

    Args:
        seconds: that the process may live, whatever it answers.
        longest: bytes of one answer.
    """
    endings: list[Ending] = []
    with ExitStack() as stack:
        files = [stack.enter_context(_memory(content)) for content in (json.dumps(job), "", "")]
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        mine = _start(stack, level, "functions", files[0], seconds, [files[1], files[2], theirs.fileno()])
        theirs.close()
        fault: Exception | None = None
        try:
            yield Program(ours, longest), endings
        except (OSError, EOFError, ValueError, TypeError, KeyError, RecursionError) as error:
            fault = error
        except Exception as error:
            if not isinstance(error, FromProgram):
                raise
            fault = error
        ended = mine.wait(0.2) if isinstance(fault, EOFError) else mine.stop()
        if fault is not None:
            endings.append(_of_fault(fault, ended))


def run_asserts(level: Level, job: dict[str, str], tests: dict[str, Any], seconds: float) -> tuple[str, str]:
    """Execute tests against a program, each in a process of its own: the reason of the verdict, and its detail.

    Args:
        tests: ``setup``, ``asserts`` and ``entry``.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(_memory(content)) for content in (json.dumps(job), json.dumps(tests), "", "")]
        program_end, judge_end = (stack.enter_context(end) for end in socket.socketpair())
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        mine = _start(stack, level, "functions", files[0], seconds, [files[2], files[3], program_end.fileno()])
        program_end.close()
        ends = [files[2], files[3], judge_end.fileno(), theirs.fileno()]
        other = _start(stack, level, "judge", files[1], seconds, ends)
        judge_end.close()
        theirs.close()
        verdict: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            verdict = receive(ours, time.monotonic() + seconds, _LONGEST_REPORT)
        judged, ended = other.stop() if verdict is None else other.wait(1.0), mine.stop()
        if verdict is None or verdict[0] == "ended":
            late = [each for each in (ended, judged) if each is None or each["ended"] in ("time", "stopped")]
            if verdict is None and late:
                return "timeout", f"after {seconds:g} s"
            ending = _ending(ended, None)
            return ending.reason or "exception", ending.detail or "it ended before its tests"
        return str(verdict[0]), str(verdict[1])


def _start(
    stack: ExitStack, level: Level, role: Any, job: int, seconds: float, streams: list[int]
) -> Keeper:
    mine = stack.enter_context(keeper(level))
    mine.start(role, job, seconds, streams)
    return mine


@contextmanager
def _memory(content: str) -> Iterator[int]:
    """A file that lies in memory and has no name."""
    descriptor = os.memfd_create("gainrl")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content.encode("utf-8", "surrogateescape"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _ending(ended: dict[str, Any] | None, report: Any) -> Ending:
    if isinstance(report, dict) and "exception" in report:
        name = str(report["exception"])
        return Ending(reason_of(name), f"{name}: {report.get('message', '')}"[:200])  # type: ignore[arg-type]
    if ended is None:
        return Ending("forbidden", "what ran it ended with it")
    how, number = ended["ended"], ended.get("number", 0)
    if how == "exit":
        return Ending(None) if number == 0 else Ending("exception", f"it ended with exit code {number}")
    if how == "signal":
        return Ending(_SIGNALS.get(number, "exception"), f"it ended by signal {number}")
    if how == "scratch":
        return Ending("memory", "its files are too large or too many")
    return Ending("timeout", "it took too long") if how == "time" else Ending(None)


def _of_fault(fault: Exception, ended: dict[str, Any] | None) -> Ending:
    if isinstance(fault, FromProgram):
        return Ending(reason_of(fault.name), f"{fault.name}: {fault}"[:200])  # type: ignore[arg-type]
    if isinstance(fault, TimeoutError):
        return Ending("timeout", "it took too long")
    if isinstance(fault, EOFError):
        ending = _ending(ended, None)
        return ending if ending.reason else Ending("exception", "it ended before its tests")
    return Ending("wrong_output", f"its value cannot be read: {fault}"[:200])
