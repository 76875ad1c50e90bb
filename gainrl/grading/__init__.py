"""The one grader, used by the reward and by every benchmark: answers by math-verify, programs by their tests.

A gold answer that holds tests (`gainrl.grading.programs.Tests`) asks for a program, which runs in the cage
(`gainrl.grading.cage`); all others are answers. math-verify runs in a worker process with a time limit and a memory limit
(`gainrl.grading.worker`), because what a model writes can keep sympy busy forever. Answers that their text or exact
arithmetic decides never get that far (`quick_verdict`).
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gainrl.errors import InputError
from gainrl.grading import worker
from gainrl.grading.gold import Gold
from gainrl.grading.notation import clean, quick_verdict
from gainrl.grading.programs import Tests, grade_program, grade_programs, is_program
from gainrl.grading.verdict import Reason, Verdict

__all__ = [
    "TIME_LIMIT_SECONDS", "Gold", "Reason", "Tests", "Verdict", "accuracy_reward", "grade", "grade_batch", "is_program",
    "last_boxed",
]  # fmt: skip

TIME_LIMIT_SECONDS = 5.0
"""Wall-clock time of one comparison, however many alternatives or parts its gold answer has, or of one test of a program."""
BATCH_SECONDS = 30.0
"""What the slow comparisons of one batch may take together, beyond `HURRIED_SECONDS` each."""
HURRIED_SECONDS = 0.5
"""Time limit of a comparison once its batch has used up its seconds; an ordinary one takes a tenth of it."""
LONGEST_ANSWER = 5_000
"""Characters; ten times the longest gold answer of the benchmarks. Nothing longer is compared as mathematics."""
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)


def grade(
    completion: str, gold: str | Gold, *, truncated: bool = False, time_limit: float = TIME_LIMIT_SECONDS
) -> Verdict:
    """Compare the last ``\\boxed{...}`` of a completion with the gold answer, or try its last fenced program on the tests.

    Never raises for what a model wrote. Works in any thread and in forked and spawned processes. Verdicts are cached, of
    answers also timeouts.

    Args:
        gold: as `Problem.answer` holds it: one answer, or several as `Gold` writes them, or `Tests`.
        truncated: the completion was cut at its token limit; then that is the reason for a missing answer.
        time_limit: seconds. A comparison that takes longer, or more memory than the worker has, is a ``timeout``; of
            programs see `gainrl.grading.programs.grade_program`.

    Raises InputError: the gold answer holds tests, and this machine has no cage.
    """
    if is_program(gold := str(gold)):
        return grade_program(completion, gold, truncated, time_limit=time_limit)
    answer = last_boxed(completion)
    if answer is None:
        return Verdict(False, "truncated" if truncated else "no_answer")
    gold = gold.strip()
    if len(answer) > LONGEST_ANSWER and answer != gold:
        return Verdict(False, "differs")
    return _compare(answer, gold, time_limit)


def grade_batch(
    completions: Sequence[str], golds: Sequence[str], truncated: Sequence[bool] | None = None
) -> list[Verdict]:
    """`grade` every completion, in a time that a step of training can afford whatever a model writes.

    What a comparison takes beyond `HURRIED_SECONDS` is charged to the batch. When `BATCH_SECONDS` are spent, the comparisons
    that follow get no more than `HURRIED_SECONDS`, and are a ``timeout`` if that is not enough: 128 answers of 5 s each take
    a minute and a half, not ten. A batch without slow comparisons is charged nothing, however large it is, so its verdicts are
    those of `grade`, in every run; so are the verdicts of a batch with a few. Verdicts in a hurry are cached apart from others.
    Programs run side by side, and have their time whatever the others take.

    Args:
        truncated: of each completion, as in `grade`; none is if left out.

    Raises InputError: as `grade` does.
    """
    truncated = truncated or [False] * len(completions)
    rows = list(zip(completions, golds, truncated, strict=True))
    programs = [place for place, (_, gold, _) in enumerate(rows) if is_program(gold)]
    tried = grade_programs([rows[place] for place in programs], TIME_LIMIT_SECONDS)
    found = dict(zip(programs, tried, strict=True))
    answers = iter(_grade_answers([row for place, row in enumerate(rows) if place not in found]))
    return [found[place] if place in found else next(answers) for place in range(len(rows))]


def _grade_answers(rows: Sequence[tuple[str, str, bool]]) -> list[Verdict]:
    left = BATCH_SECONDS
    verdicts = []
    for text, gold, cut in rows:
        before = worker.seconds_spent
        verdicts.append(
            grade(text, gold, truncated=cut, time_limit=TIME_LIMIT_SECONDS if left > 0 else HURRIED_SECONDS)
        )
        left -= max(0.0, worker.seconds_spent - before - HURRIED_SECONDS)
    return verdicts


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
    try:
        accepted = Gold.parse(gold)
    except InputError:
        return Verdict(False, "unparseable_gold")
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
    return [float(verdict.correct) for verdict in grade_batch(texts, answer)]
