"""How trials end, in the words of a verdict."""

import signal
from dataclasses import dataclass
from typing import Any, NamedTuple

from gainrl.grading.cage.inside import reason_of
from gainrl.grading.cage.values import FromProgram
from gainrl.grading.verdict import Reason

_SIGNALS: dict[int, Reason] = {signal.SIGXCPU: "timeout", signal.SIGKILL: "memory", signal.SIGSYS: "forbidden"}
"""What the system ends a process with, when it exceeds a limit; SIGKILL is the machine that is out of memory."""
TOGETHER = 12
"""How many times its limit for one test a program may take for all of them."""
KEEPER_GONE = "what ran it ended with it"


class Ending(NamedTuple):
    """How a program ended: None where it ended well, else why not."""

    reason: Reason | None
    detail: str = ""


@dataclass(frozen=True)
class Calls:
    """A function of a program, the lists of arguments that it is called with, and how many bytes a value may have."""

    entry: str
    arguments: tuple[list[Any], ...]
    longest: int


def of_exception(name: str, message: str) -> Ending:
    return Ending(reason_of(name), f"{name}: {message}"[:200])  # type: ignore[arg-type]


def of_process(ended: dict[str, Any] | None, report: Any = None) -> Ending:
    """From what a keeper says of a process (`inside.serve`), and what the process said itself."""
    if isinstance(report, dict) and "exception" in report:
        return of_exception(str(report["exception"]), str(report.get("message", "")))
    if ended is None:
        return Ending("forbidden", KEEPER_GONE)
    how, number = ended["ended"], ended.get("number", 0)
    if how == "exit":
        return Ending(None) if number == 0 else Ending("exception", f"it ended with exit code {number}")
    if how == "signal":
        return Ending(_SIGNALS.get(number, "exception"), f"it ended by signal {number}")
    if how == "scratch":
        return Ending("memory", "its files are too large or too many")
    return Ending("timeout", "it took too long") if how == "time" else Ending(None)


def of_fault(fault: Exception, ended: dict[str, Any] | None) -> Ending:
    """From what asking the program raised (`values.Program`), and how its process ended."""
    if isinstance(fault, FromProgram):
        return of_exception(fault.name, str(fault))
    if isinstance(fault, TimeoutError):
        return Ending("timeout", "it took too long")
    if isinstance(fault, EOFError | ConnectionError):
        ending = of_process(ended)
        return ending if ending.reason else Ending("exception", "it ended before its tests")
    return Ending("wrong_output", f"its value cannot be read: {fault}"[:200])
