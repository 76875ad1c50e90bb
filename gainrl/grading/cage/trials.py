"""One program, one trial: on a standard input, by calls of its functions, or under tests that run in another process."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from gainrl.grading.cage import remote
from gainrl.grading.cage.endings import TOGETHER, Calls, Ending, of_fault, of_process
from gainrl.grading.cage.keepers import FILE_BYTES, Keeper, Role, keeper
from gainrl.grading.cage.remote import is_remote
from gainrl.grading.cage.values import Program, receive

_LONGEST_REPORT = 1 << 16


def run_stream(level: str, job: dict[str, str], text: str, seconds: float) -> tuple[Ending, str]:
    """Run a program as a script on a standard input: how it ended, and its standard output.

    Args:
        job: ``setup`` and ``program``, sources.
        seconds: of wall-clock time, starting the process included.

    Raises OSError: no keeper can be started.
    """
    if is_remote(level):
        return remote.run_stream(level, job, text, seconds)
    with ExitStack() as stack:
        files = [stack.enter_context(_memory(content)) for content in (json.dumps(job), text, "")]
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        mine = _start(stack, level, "stream", files[0], seconds, [files[1], files[2], theirs.fileno()])
        theirs.close()
        ended = mine.wait(seconds)
        report: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            report = receive(ours, time.monotonic(), _LONGEST_REPORT)
        return of_process(ended, report), os.pread(files[2], FILE_BYTES, 0).decode(errors="replace")


def call_functions(
    level: str, job: dict[str, str], calls: Calls, accepts: Callable[[int, Any], bool], seconds: float
) -> tuple[Ending, int]:
    """Call a program's function until a value is not accepted: how that ended, and at which call (from 1; 0 is loading).

    Args:
        accepts: given a call's place and its value, which is of built-in types or a `Handle`.
        seconds: of each call; all together may take `endings.TOGETHER` times as long.
    """
    if is_remote(level):
        return remote.call_functions(level, job, calls, accepts, seconds)
    number, lifetime = 0, TOGETHER * seconds
    with ExitStack() as stack:
        file, nothing = stack.enter_context(_memory(json.dumps(job))), stack.enter_context(_nothing())
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        mine = _start(stack, level, "functions", file, lifetime, [nothing, nothing, theirs.fileno()])
        theirs.close()
        program = Program(ours, calls.longest)
        ending = Ending(None)
        try:
            program.deadline = time.monotonic() + seconds
            program.wait_until_loaded()
            function = program.ask({"global": calls.entry})
            for number, arguments in enumerate(calls.arguments, 1):
                program.deadline = time.monotonic() + seconds
                if not accepts(number - 1, function(*arguments)):
                    ending = Ending("wrong_output")
                    break
        except Exception as error:
            return of_fault(error, mine.stop(patience=0.5 if isinstance(error, EOFError) else 0.0)), number
        mine.stop()
        return ending, number


def run_asserts(level: str, job: dict[str, str], tests: dict[str, Any], seconds: float) -> tuple[str, str]:
    """Execute tests against a program, each in a process of its own: the reason of the verdict, and its detail.

    Args:
        tests: ``setup``, ``asserts`` and ``entry``.
    """
    if is_remote(level):
        return remote.run_asserts(level, job, tests, seconds)
    with ExitStack() as stack:
        files = [stack.enter_context(_memory(json.dumps(content))) for content in (job, tests)]
        nothing = stack.enter_context(_nothing())
        program_end, judge_end = (stack.enter_context(end) for end in socket.socketpair())
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        mine = _start(stack, level, "functions", files[0], seconds, [nothing, nothing, program_end.fileno()])
        program_end.close()
        ends = [nothing, nothing, judge_end.fileno(), theirs.fileno()]
        other = _start(stack, level, "judge", files[1], seconds, ends)
        judge_end.close()
        theirs.close()
        verdict: Any = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            verdict = receive(ours, time.monotonic() + seconds, _LONGEST_REPORT)
        in_time = verdict is not None
        judged = other.stop()
        ended = mine.stop(patience=0.5 if in_time and verdict[0] == "ended" else 0.0)
        if in_time and verdict[0] != "ended":
            return str(verdict[0]), str(verdict[1])
        if not in_time and judged is not None and ended is not None and ended["ended"] == "stopped":
            return "timeout", f"after {seconds:g} s"
        ending = of_process(ended if judged is not None else None)
        return ending.reason or "exception", ending.detail or "it ended before its tests"


def _start(stack: ExitStack, level: str, role: Role, job: int, seconds: float, streams: list[int]) -> Keeper:
    mine = stack.enter_context(keeper(level))
    mine.start(role, job, seconds, streams)
    return mine


@contextmanager
def _nothing() -> Iterator[int]:
    """Empty to read, and swallows what is written."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _memory(content: str) -> Iterator[int]:
    """A file that lies in memory and has no name."""
    descriptor = os.memfd_create("gainrl")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content.encode("utf-8", "surrogatepass"))
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
