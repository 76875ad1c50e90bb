"""`Verdict`: whether a completion is right, and why."""

from typing import Literal, NamedTuple

Reason = Literal[
    "match", "differs", "no_answer", "unparseable_gold", "timeout", "truncated",
    "passed", "wrong_output", "exception", "memory", "forbidden",
]  # fmt: skip
"""The first six are of answers, the others (and all but the first two) of programs."""


class Verdict(NamedTuple):
    correct: bool
    reason: Reason
    detail: str = ""
    """Which test, which exception: for people, and the same in no two versions."""
