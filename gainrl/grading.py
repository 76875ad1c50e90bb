"""The one grader, used by the reward and by every benchmark. math-verify does the mathematics."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from math_verify import parse, verify
from math_verify.errors import TimeoutException

Reason = Literal["match", "differs", "no_answer", "unparseable_gold", "timeout", "truncated"]
TIME_LIMIT_SECONDS = 5


class Verdict(NamedTuple):
    correct: bool
    reason: Reason


def grade(completion: str, gold: str, *, truncated: bool = False) -> Verdict:
    """Compare the last ``\\boxed{...}`` of a completion with the gold answer.

    Args:
        truncated: the completion was cut at its token limit; says why there is no answer, if there is none.
    """
    answer = last_boxed(completion)
    if answer is None:
        return Verdict(False, "truncated" if truncated else "no_answer")
    return _compare(answer, gold.strip())


def last_boxed(text: str) -> str | None:
    """What stands in the last closed ``\\boxed{...}``, braces balanced; None if there is none or it is empty."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for position in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin:position].strip() or None
    return None


@lru_cache(maxsize=100_000)
def _compare(answer: str, gold: str) -> Verdict:
    # math-verify's time limit is an alarm signal, which only the main thread can take.
    limit = TIME_LIMIT_SECONDS if threading.current_thread() is threading.main_thread() else None
    try:
        parsed_gold = parse(f"\\boxed{{{gold}}}", parsing_timeout=limit, raise_on_error=True)
        if not parsed_gold:
            return Verdict(False, "unparseable_gold")
    except TimeoutException:
        return Verdict(False, "timeout")
    except Exception:
        return Verdict(False, "unparseable_gold")
    try:
        parsed_answer = parse(f"\\boxed{{{answer}}}", parsing_timeout=limit, raise_on_error=True)
        correct = verify(parsed_gold, parsed_answer, timeout_seconds=limit, raise_on_error=True)
    except TimeoutException:
        return Verdict(False, "timeout")
    except Exception:
        return Verdict(False, "differs")
    return Verdict(True, "match") if correct else Verdict(False, "differs")


def accuracy_reward(completions: Sequence[Any], answer: Sequence[str], **_: Any) -> list[float]:
    """TRL reward function: 1.0 where the completion's answer matches the dataset's ``answer`` column, else 0.0."""
    texts = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
    return [float(grade(text, gold).correct) for text, gold in zip(texts, answer, strict=True)]
