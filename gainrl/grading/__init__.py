"""The one grader, used by the reward and by every benchmark. math-verify does the mathematics.

It runs in a worker process with a time limit and a memory limit (`gainrl.grading.worker`), because what a model writes can
keep sympy busy forever. Answers that their text or exact arithmetic decides never get that far (`quick_verdict`).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from gainrl.grading import worker
from gainrl.grading.gold import Gold
from gainrl.grading.notation import clean, quick_verdict

__all__ = ["TIME_LIMIT_SECONDS", "Gold", "Reason", "Verdict", "accuracy_reward", "grade", "last_boxed"]

Reason = Literal["match", "differs", "no_answer", "unparseable_gold", "timeout", "truncated"]
TIME_LIMIT_SECONDS = 5.0
"""Wall-clock time that one comparison may take, however many alternatives or parts its gold answer has."""
LONGEST_ANSWER = 5_000
"""Characters; ten times the longest gold answer of the benchmarks. Nothing longer is compared as mathematics."""
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)


class Verdict(NamedTuple):
    correct: bool
    reason: Reason


def grade(
    completion: str, gold: str | Gold, *, truncated: bool = False, time_limit: float = TIME_LIMIT_SECONDS
) -> Verdict:
    """Compare the last ``\\boxed{...}`` of a completion with the gold answer. Never raises for what a model wrote.

    Works in any thread and in forked and spawned processes. Verdicts are cached, timeouts included.

    Args:
        gold: as `Problem.answer` holds it: one answer, or several as `Gold` writes them.
        truncated: the completion was cut at its token limit; then that is the reason for a missing answer.
        time_limit: seconds. A comparison that takes longer, or more memory than the worker has, is a ``timeout``.
    """
    answer = last_boxed(completion)
    if answer is None:
        return Verdict(False, "truncated" if truncated else "no_answer")
    gold = str(gold).strip()
    if len(answer) > LONGEST_ANSWER and answer != gold:
        return Verdict(False, "differs")
    return _compare(answer, gold, time_limit)


def last_boxed(text: str) -> str | None:
    """Content of the last ``\\boxed{...}``, braces balanced; None if there is no box, or it is empty or not closed."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for brace in BRACES.finditer(text, begin):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return text[begin : brace.start()].strip() or None
    return None


@lru_cache(maxsize=20_000)
def _compare(answer: str, gold: str, time_limit: float) -> Verdict:
    if not gold:
        return Verdict(False, "unparseable_gold")
    if answer == gold:
        return Verdict(True, "match")
    accepted = Gold.parse(gold)
    written = clean(answer)
    quick = [quick_verdict(written, clean(text)) for text in accepted.answers if accepted.need == "any"]
    if any(quick):
        return Verdict(True, "match")
    if accepted.is_plain and quick == [False]:
        return Verdict(False, "differs")
    reason: Reason = worker.ask(answer, gold, time_limit)
    return Verdict(reason == "match", reason)


def accuracy_reward(completions: Sequence[Any], answer: Sequence[str], **_: Any) -> list[float]:
    """TRL reward function: 1.0 where the completion's answer matches the dataset's ``answer`` column, else 0.0."""
    texts = [completion if isinstance(completion, str) else completion[-1]["content"] for completion in completions]
    return [float(grade(text, gold).correct) for text, gold in zip(texts, answer, strict=True)]
