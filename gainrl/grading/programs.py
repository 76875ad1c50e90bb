"""Programs: `Tests` says what one must do, and `grade_program` tries it, in the cage (`gainrl.grading.cage`)."""

import json
import math
import os
import re
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, get_args

from gainrl.errors import InputError
from gainrl.grading import cage
from gainrl.grading.verdict import Reason, Verdict

MOST_CHARACTERS = 1_000_000
"""Of a program; the longest that people send to contests are a tenth of it."""
TOLERANCE = 1e-6
"""Of numbers that are not whole: absolute, and relative to the larger one."""
_FENCE = re.compile(r"^[ \t]*(`{3,})[ \t]*([^\s`]*)[^\n`]*$", re.MULTILINE)
_LANGUAGES = {"", "python", "python3", "py"}
_VERDICTS = 20_000
"""Kept in memory, as those of answers are."""
_TESTS = re.compile(r'\s*\{\s*"tests"\s*:')


@dataclass(frozen=True)
class Tests:
    """What a program must do. Exactly one of ``calls``, ``streams`` and ``asserts`` is not empty.

    The text survives JSON, Parquet, a datasets column and TRL's reward call.
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


def last_program(completion: str) -> str | None:
    """What stands in the last fenced block of Python, or of no language; None if there is none, or it is not closed."""
    program, opening, begin = None, None, 0
    for fence in _FENCE.finditer(completion):
        if opening is None:
            opening, begin = fence, fence.end() + 1
        elif len(fence[1]) >= len(opening[1]) and not fence[2]:
            if opening[2].lower() in _LANGUAGES:
                program = textwrap.dedent(completion[begin : fence.start()])
            opening = None
    return program if opening is None or opening[2].lower() not in _LANGUAGES else None


def grade_programs(asked: Sequence[tuple[str, str, bool]], time_limit: float) -> list[Verdict]:
    """`grade_program` for each (completion, gold answer, truncated), side by side up to the cores; equal ones once."""
    distinct = list(dict.fromkeys(asked))
    if distinct:
        cage.level()
    workers = min(len(os.sched_getaffinity(0)), len(distinct))
    if workers < 2:
        verdicts = [grade_program(*each, time_limit=time_limit) for each in distinct]
    else:
        with ThreadPoolExecutor(workers) as threads:
            verdicts = list(threads.map(lambda each: grade_program(*each, time_limit=time_limit), distinct))
    found = dict(zip(distinct, verdicts, strict=True))
    return [found[each] for each in asked]


_kept: dict[tuple[str, str, str], Verdict] = {}


def grade_program(completion: str, gold: str, truncated: bool, *, time_limit: float) -> Verdict:
    """Try the last program of a completion on its tests, until the first that it fails.

    Verdicts are kept, except those that depend on what else the machine does: timeouts, memory, what was forbidden.

    Args:
        time_limit: seconds of one call or one standard input; asserts have twice as long. All tests together may take
            `gainrl.grading.cage.endings.TOGETHER` times as long.

    Raises InputError: no cage can be had (`gainrl.grading.cage.level`).
    """
    program = last_program(completion)
    if program is None or not program.strip():
        return Verdict(False, "truncated" if truncated else "no_answer")
    if len(program) > MOST_CHARACTERS:
        return Verdict(False, "memory", f"a program of {len(program):,} characters; {MOST_CHARACTERS:,} are the most")
    try:
        tests = _parse(gold)
    except InputError as error:
        return Verdict(False, "unparseable_gold", str(error))
    key = (cage.level(), program, gold)  # what one level lets a program do another may not
    if key not in _kept:
        verdict = _try(program, tests, time_limit)
        if verdict.reason in ("timeout", "memory", "forbidden"):
            return verdict
        if len(_kept) >= _VERDICTS:
            _kept.clear()
        _kept[key] = verdict
    return _kept[key]


@lru_cache(maxsize=64)
def _parse(gold: str) -> Tests:
    return Tests.parse(gold)


def _try(program: str, tests: Tests, time_limit: float) -> Verdict:
    trial = _by_calls if tests.calls else _by_streams if tests.streams else _by_asserts
    level, job = cage.level(), {"setup": tests.setup, "program": program}
    try:
        verdict = trial(level, job, tests, time_limit)
        if verdict.detail.endswith(cage.KEEPER_GONE):  # perhaps somebody else ended it: once more
            verdict = trial(level, job, tests, time_limit)
    except OSError as error:
        raise InputError(f"the cage for programs does not start: {error}") from error
    return verdict


def _by_calls(level: str, job: dict[str, str], tests: Tests, seconds: float) -> Verdict:
    longest = (1 << 20) + 8 * max(len(json.dumps(expected)) for _, expected in tests.calls)
    calls = cage.Calls(tests.entry or "", tuple(arguments for arguments, _ in tests.calls), longest)
    ending, number = cage.call_functions(level, job, calls, lambda k, value: same(value, tests.calls[k][1]), seconds)
    return _verdict(ending, f"call {number} of {len(tests.calls)}")


def _by_streams(level: str, job: dict[str, str], tests: Tests, seconds: float) -> Verdict:
    left = cage.TOGETHER * seconds
    for number, (text, expected) in enumerate(tests.streams, 1):
        place = f"input {number} of {len(tests.streams)}"
        began = time.monotonic()
        ending, output = cage.run_stream(level, job, text, min(seconds, max(left, 0.1)))
        left -= time.monotonic() - began
        if ending.reason is None and not same_output(output, expected):
            ending = cage.Ending("wrong_output")
        if ending.reason is not None:
            return _verdict(ending, place)
    return Verdict(True, "passed")


def _by_asserts(level: str, job: dict[str, str], tests: Tests, seconds: float) -> Verdict:
    given = {"setup": tests.setup, "asserts": tests.asserts, "entry": tests.entry}
    reason, detail = cage.run_asserts(level, job, given, 2 * seconds)
    if reason not in get_args(Reason):
        return Verdict(False, "exception", detail)
    return Verdict(reason == "passed", reason, detail)  # type: ignore[arg-type]


def _verdict(ending: cage.Ending, place: str) -> Verdict:
    if ending.reason is None:
        return Verdict(True, "passed")
    return Verdict(False, ending.reason, f"{place}: {ending.detail}" if ending.detail else place)


def same(value: Any, expected: Any) -> bool:
    """Whether a value is what JSON says it must be: tuples count as lists, keys as text, floats within `TOLERANCE`."""
    if isinstance(expected, list):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(expected)
            and all(same(each, wanted) for each, wanted in zip(value, expected, strict=True))
        )
    if isinstance(expected, dict):
        if not isinstance(value, dict) or len(value) != len(expected):
            return False
        named = {str(key): each for key, each in value.items()}
        return named.keys() == expected.keys() and all(same(named[key], wanted) for key, wanted in expected.items())
    if not isinstance(value, str | int | float | None):
        return False
    if isinstance(expected, float) or isinstance(value, float):
        return isinstance(value, int | float) and isinstance(expected, int | float) and _close(value, expected)
    return bool(value == expected)


def same_output(output: str, expected: str) -> bool:
    """Whether two texts have the same lines, up to white space at their ends and `TOLERANCE` of numbers with a point."""
    lines, wanted = ([line.rstrip() for line in text.rstrip().splitlines()] for text in (output, expected))
    return len(lines) == len(wanted) and all(
        line == right or _same_tokens(line.split(), right.split()) for line, right in zip(lines, wanted, strict=True)
    )


def _same_tokens(tokens: list[str], wanted: list[str]) -> bool:
    return len(tokens) == len(wanted) and all(
        token == right or _same_number(token, right) for token, right in zip(tokens, wanted, strict=True)
    )


_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def _same_number(token: str, right: str) -> bool:
    if not (_DECIMAL.fullmatch(token) and _DECIMAL.fullmatch(right)):
        return False
    is_whole = [not re.search(r"[.e]", text, re.IGNORECASE) for text in (token, right)]
    return not all(is_whole) and _close(float(token), float(right))


def _close(value: float, expected: float) -> bool:
    try:
        both_nan = math.isnan(value) and math.isnan(expected)
        return both_nan or math.isclose(value, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    except OverflowError:  # an integer that no float can hold
        return False
