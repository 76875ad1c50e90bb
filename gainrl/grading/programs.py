"""`Tests`: what a program must do, as text that survives JSON, Parquet, a datasets column and TRL's reward call."""

import json
import re
from dataclasses import dataclass, fields
from typing import Any

from gainrl.errors import InputError

_TESTS = re.compile(r'\s*\{\s*"tests"\s*:')


@dataclass(frozen=True)
class Tests:
    """What a program must do. Exactly one of ``calls``, ``streams`` and ``asserts`` is not empty.

    ``str(tests)`` is a JSON object, ``{"tests": {...}}``, without the fields that are empty; `Tests.parse` reads it.

    Raises InputError: no tests or two kinds of them, calls without ``entry``, a field of another type.
    """

    entry: str | None = None
    """The function that ``calls`` and ``asserts`` test; also a method of the program's class ``Solution``."""
    calls: tuple[tuple[list[Any], Any], ...] = ()
    """(arguments, expected value), JSON values. Tuples count as lists; floats have a tolerance."""
    streams: tuple[tuple[str, str], ...] = ()
    """(standard input, standard output), compared line by line, white space at the ends apart; numbers have a tolerance."""
    asserts: str = ""
    """Source that is executed after the program and raises where it is wrong: HumanEval's ``check``, MBPP's asserts."""
    setup: str = ""
    """Source that is executed before the program, and before ``asserts``: imports, functions that the question gives."""

    def __post_init__(self) -> None:
        kinds = [name for name in ("calls", "streams", "asserts") if getattr(self, name)]
        if len(kinds) != 1:
            given = " and ".join(kinds) or "none of them"
            raise InputError(f"tests have {given}; exactly one of calls, streams and asserts is needed")
        if not all(isinstance(text, str) for text in (self.entry or "", self.asserts, self.setup)):
            raise InputError("tests: entry, asserts and setup are texts")
        if self.calls and not self.entry:
            raise InputError("tests have calls but no entry, which names the function that is called")
        if not all(isinstance(text, str) for pair in self.streams for text in pair):
            raise InputError("tests: streams are pairs of texts, standard input and standard output")
        if not all(isinstance(arguments, list) for arguments, _ in self.calls):
            raise InputError("tests: calls are pairs of a list of arguments and the expected value")

    def __str__(self) -> str:
        content = {each.name: value for each in fields(self) if (value := getattr(self, each.name))}
        return json.dumps({"tests": content}, ensure_ascii=False)

    @classmethod
    def parse(cls, text: str) -> "Tests":
        """The inverse of ``str``. Raises InputError: the text is no such object."""
        try:
            content = json.loads(text)["tests"]
            known = {each.name for each in fields(cls)}
            if set(content) - known:
                raise InputError(f"tests: unknown {min(set(content) - known)!r}; valid: {', '.join(sorted(known))}")
            for name in {"calls", "streams"} & set(content):
                content[name] = tuple((first, second) for first, second in content[name])
            return cls(**content)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"tests cannot be read: {str(error)[:80]}") from error


def is_program(gold: str) -> bool:
    """Whether a gold answer holds tests; no LaTeX answer can be mistaken for such an object."""
    return _TESTS.match(gold) is not None
