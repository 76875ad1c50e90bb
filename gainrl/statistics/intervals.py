"""Means and other statistics over seeds, with seeded bootstrap intervals.

The intervals are percentile intervals at an expanded level. With few seeds the plain one is too narrow, as it omits
the factor sqrt(n/(n-1)) and takes the normal's quantiles for Student's; the level is therefore raised to the one at which
the interval of normal data would be Student's (Hesterberg 2015, "What teachers should know about the bootstrap",
The American Statistician 69(4), section 3.2). No bootstrap of the mean reaches beyond the smallest and the largest value, so
the interval of three seeds covers the mean of a symmetric distribution in three of four cases only, of four in seven of eight.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, t, trim_mean

from gainrl.rng import generator

Floats = NDArray[np.float64]

FEWEST_SEEDS = 3
"""No interval is computed from fewer."""
RESAMPLES = 9999


@dataclass(frozen=True)
class Summary:
    """A statistic over seeds; ``low`` and ``high`` are None for fewer than three.

    ``censored`` counts the values that are only a bound, and ``bound`` says what that makes of the statistic: '>' the true
    value is larger, '<' smaller, '~' either, '' it is exact. ``p``: of no difference, where two cells are compared.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int
    censored: int = 0
    bound: str = ""
    p: float | None = None


def summarize(values: Sequence[float], *, seed: int = 0, confidence: float = 0.95) -> Summary:
    """Mean and bootstrap interval (seeded) over seeds."""
    sample_S = _sample(values)
    if len(sample_S) < FEWEST_SEEDS:
        return Summary(float(sample_S.mean()), None, None, len(sample_S))
    low, high = interval(sample_S[resamples(len(sample_S), seed)].mean(axis=1), len(sample_S), confidence)
    return Summary(float(sample_S.mean()), low, high, len(sample_S))


def summarize_accuracy(
    accuracies: Sequence[float], stderrs: Sequence[float], *, shared: bool, seed: int = 0, confidence: float = 0.95
) -> Summary:
    """Mean accuracy over seeds, with an interval over both seeds and problems.

    If every seed has problems of its own, the differences between seeds include both, and resampling seeds is enough
    (Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8). If all have the same problems, the
    choice of problems moves all seeds together: half-widths of the two levels are then added in quadrature (Zou and Donner
    2008, Statistics in Medicine 27:1693), as if all seeds solved the same problems, the widest that the second can be.

    Args:
        accuracies, stderrs: one per seed; the standard error over the problems of the benchmark.
        shared: whether the seeds are evaluated on the same problems.
    """
    over_seeds = summarize(accuracies, seed=seed, confidence=confidence)
    if not shared or over_seeds.low is None or over_seeds.high is None:
        return over_seeds
    over_problems = norm.ppf((1 + confidence) / 2) * float(np.nan_to_num(np.asarray(stderrs, dtype=float)).mean())
    low = over_seeds.mean - math.hypot(over_seeds.mean - over_seeds.low, over_problems)
    high = over_seeds.mean + math.hypot(over_seeds.high - over_seeds.mean, over_problems)
    return replace(over_seeds, low=max(0.0, low), high=min(1.0, high))


def interquartile_mean(scores_SK: ArrayLike, *, seed: int = 0) -> Summary:
    """Mean of the middle half of all scores of S runs on K tasks (Agarwal et al. 2021, arXiv 2108.13264).

    Departure from the source: runs are resampled whole, as one run's scores on several tasks are not independent.
    """
    scores = np.atleast_2d(np.asarray(scores_SK, dtype=float))

    def statistic(chosen_RS: NDArray[np.int64]) -> Floats:
        return np.asarray(trim_mean(scores[chosen_RS].reshape(len(chosen_RS), -1), 0.25, axis=1))

    return _over_runs(statistic, len(scores), seed)


def probability_of_improvement(method_SK: ArrayLike, baseline_SK: ArrayLike, *, seed: int = 0) -> Summary:
    """Chance that a run of the method scores higher than a run of the baseline, ties counting half; mean over K tasks.

    Mann and Whitney's U / S^2 on each task (Agarwal et al. 2021). Both have the same S seeds, which are resampled together.
    """
    method, baseline = (np.atleast_2d(np.asarray(scores, dtype=float)) for scores in (method_SK, baseline_SK))
    if method.shape != baseline.shape:
        raise ValueError(f"scores of shape {method.shape} and {baseline.shape}; the same runs and tasks are needed")
    wins_SSK = (method[:, None] > baseline[None]) + 0.5 * (method[:, None] == baseline[None])
    wins_SS = wins_SSK.mean(axis=2)

    def statistic(chosen_RS: NDArray[np.int64]) -> Floats:
        times_RS = (chosen_RS[:, :, None] == np.arange(len(method))).sum(axis=1)  # how often each run was drawn
        return np.asarray(((times_RS @ wins_SS) * times_RS).sum(axis=1) / len(method) ** 2)

    return _over_runs(statistic, len(method), seed)


@cache
def resamples(size: int, seed: int) -> NDArray[np.int64]:
    """``RESAMPLES`` draws of S of S rows with replacement, the same for the same seed: (R, S)."""
    return generator(seed, "bootstrap").integers(size, size=(RESAMPLES, size))


def interval(statistic_R: Floats, size: int, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile interval of a bootstrapped statistic of ``size`` values, at the expanded level."""
    expanded = _expanded(size, (1 - confidence) / 2)
    low, high = np.quantile(statistic_R, [expanded, 1 - expanded], method="inverted_cdf")
    return float(low), float(high)


@cache
def _expanded(size: int, tail: float) -> float:
    """The level of a percentile at which the interval of normal data would be Student's."""
    return float(norm.cdf((size / (size - 1)) ** 0.5 * t.ppf(tail, size - 1)))


def _over_runs(statistic: Callable[[NDArray[np.int64]], Floats], size: int, seed: int) -> Summary:
    value = float(statistic(np.arange(size)[None])[0])
    if size < FEWEST_SEEDS:
        return Summary(value, None, None, size)
    return Summary(value, *interval(statistic(resamples(size, seed)), size), size)


def _sample(values: Sequence[float]) -> Floats:
    sample_S = np.asarray(values, dtype=float)
    if not len(sample_S):
        raise ValueError("nothing to summarize")
    return sample_S
