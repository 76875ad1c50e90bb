"""Intervals over seeds, steps to target with censoring, paired speed-ups. Pure functions of numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap

from gainrl.seeding import generator

FEWEST_SEEDS = 3
"""No interval is drawn from fewer."""


@dataclass(frozen=True)
class Summary:
    """A mean over seeds; ``low`` and ``high`` are None for fewer than three.

    ``censored`` counts the values that are only a bound, and ``bound`` tells which: '>' the true mean is larger,
    '<' smaller, '' it is exact.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int
    censored: int = 0
    bound: str = ""


@dataclass(frozen=True)
class Reached:
    """When a run reached a target: the value at the first evaluation that did, or censored at the last one."""

    at: float
    censored: bool


def reached(accuracy: Sequence[float], cost: Sequence[float], target: float) -> Reached:
    """The cost (steps, problems, tokens) at the first evaluation whose accuracy is at least the target.

    Args:
        accuracy, cost: one value an evaluation, in the order of training.
    """
    if not len(accuracy) or len(accuracy) != len(cost):
        raise ValueError(f"{len(accuracy)} accuracies and {len(cost)} costs; the same number, at least one, is needed")
    hits = np.flatnonzero(np.asarray(accuracy) >= target)
    return Reached(float(cost[hits[0]]), False) if len(hits) else Reached(float(cost[-1]), True)


def summarize(values: Sequence[float], *, seed: int = 0, confidence: float = 0.95) -> Summary:
    """Mean and percentile bootstrap interval (seeded) over seeds."""
    sample = np.asarray(values, dtype=float)
    if not len(sample):
        raise ValueError("nothing to summarize")
    low = high = None
    if len(sample) >= FEWEST_SEEDS:
        rng = generator(seed, "bootstrap")
        interval = bootstrap(
            (sample,), np.mean, confidence_level=confidence, method="percentile", rng=rng
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    return Summary(float(sample.mean()), low, high, len(sample))


def summarize_reached(runs: Sequence[Reached]) -> Summary:
    """Mean cost to target. A censored run enters with the cost it was cut at, so the mean is a lower bound ('>')."""
    censored = sum(run.censored for run in runs)
    if censored == 0:
        return summarize([run.at for run in runs])
    mean = float(np.mean([run.at for run in runs]))
    return Summary(mean, None, None, len(runs), censored, ">")


def speed_up(baseline: Sequence[Reached], method: Sequence[Reached]) -> Summary | None:
    """Mean over seeds of baseline cost / method cost, paired by position.

    Where only the baseline is censored the ratio is a lower bound, where only the method is, an upper one; with both
    the ratio says nothing, and None is returned.
    """
    lower = sum(base.censored for base in baseline)
    upper = sum(run.censored for run in method)
    if lower and upper:
        return None
    ratios = [base.at / run.at for base, run in zip(baseline, method, strict=True)]
    if not (lower or upper):
        return summarize(ratios)
    return Summary(float(np.mean(ratios)), None, None, len(ratios), lower + upper, ">" if lower else "<")
