"""The suite's grader as a reward of verl's: ``custom_reward_function``, path ``pkg://gainrl.verl.reward``."""

from typing import Any

from gainrl.grading import grade


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, float]:
    """Reward and correctness (both 1 or 0) of one completion, and whether it holds no answer that can be read.

    Args:
        ground_truth: the gold answer, as `gainrl.grading.grade` takes it.
    """
    verdict = grade(solution_str, str(ground_truth))
    correct = float(verdict.correct)
    return {"score": correct, "acc": correct, "unparseable": float(verdict.reason in ("no_answer", "truncated"))}
