"""Means and other statistics over seeds, with 95 % intervals.

A mean has Student's interval, and from `STUDENTIZED_FROM` seeds on the studentized bootstrap's (Efron and Tibshirani 1993,
An Introduction to the Bootstrap, section 12.5). Of the intervals that we simulated (docs/statistics.md) these hold the mean
most often: Student's with few seeds, the other with more, where it follows the skew of the data.
Other statistics have percentile intervals at an expanded level, the one at which the interval of normal data would be Student's
(Hesterberg 2015, "What teachers should know about the bootstrap", The American Statistician 69(4), section 3.2).
No interval has zero width: where all resamples agree there is none.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from gainrl.rng import generator

Floats = NDArray[np.float64]

FEWEST_SEEDS = 3
"""No interval is computed from fewer."""
STUDENTIZED_FROM = 10
"""Seeds; with fewer, some resamples hold one value alone, or nearly so."""
NEARLY_EQUAL = 0.05
"""Part of the spread of all values that those of a resample have, if the bootstrap's t says nothing of it."""
RESAMPLES = 9999
Ends = tuple[float | None, float | None]


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


def summarize(values: Sequence[float], *, seed: int = 0, confidence: float = 0.95, rounding: float = 0.0) -> Summary:
    """Mean and interval over seeds.

    Args:
        rounding: standard deviation of what is not known of each value, as it was measured in steps; the spread over seeds
            is taken to be at least this.
    """
    sample_S = _sample(values)
    return Summary(float(sample_S.mean()), *mean_interval(sample_S, seed, confidence, rounding), len(sample_S))


def mean_interval(sample_S: Floats, seed: int = 0, confidence: float = 0.95, rounding: float = 0.0) -> Ends:
    """Interval of the mean; none for fewer than three values, or for values that are all equal and exact.

    Student's, not the studentized bootstrap's, where so many values nearly agree that resamples of these alone make up a tail.
    """
    size, seen = len(sample_S), float(sample_S.std(ddof=min(1, len(sample_S) - 1)))
    spread = max(seen, rounding)
    if size < FEWEST_SEEDS or spread <= 1e-12 * max(1.0, float(np.abs(sample_S).max())):
        return None, None
    error, tails = spread / size**0.5, np.array([(1 + confidence) / 2, (1 - confidence) / 2])
    drawn_RS = sample_S[resamples(size, seed)]
    seen_R, least = drawn_RS.std(axis=1, ddof=1), max(rounding, 1e-3 * spread)
    agree = (np.maximum(seen_R, rounding) < NEARLY_EQUAL * spread).mean()
    if size < STUDENTIZED_FROM or seen <= rounding or agree > (1 - confidence) / 4:
        high_t, low_t = t.ppf(tails, size - 1)
    else:
        spread_R = np.maximum(seen_R, least)
        high_t, low_t = np.quantile((drawn_RS.mean(axis=1) - sample_S.mean()) * size**0.5 / spread_R, tails)
    return float(sample_S.mean() - high_t * error), float(sample_S.mean() - low_t * error)


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
    over_problems = norm.ppf((1 + confidence) / 2) * float(np.nan_to_num(np.asarray(stderrs, dtype=float)).mean())
    low, high = (over_seeds.mean if end is None else end for end in (over_seeds.low, over_seeds.high))
    if shared and over_seeds.seeds >= FEWEST_SEEDS:
        low = over_seeds.mean - math.hypot(over_seeds.mean - low, over_problems)
        high = over_seeds.mean + math.hypot(high - over_seeds.mean, over_problems)
    return replace(over_seeds, low=max(0.0, low), high=min(1.0, high)) if low < high else over_seeds


@cache
def resamples(size: int, seed: int, stratum: int = 0) -> NDArray[np.int64]:
    """``RESAMPLES`` draws of S of S rows with replacement, the same for the same seed and stratum: (R, S)."""
    name = f"bootstrap of stratum {stratum}" if stratum else "bootstrap"
    return generator(seed, name).integers(size, size=(RESAMPLES, size))


def interval(statistic_R: Floats, *sizes: int, confidence: float = 0.95) -> Ends:
    """Percentile interval of a bootstrapped statistic, at the expanded level; none of zero width.

    Args:
        sizes: how many values each stratum has, all of which have the same weight; one where there are no strata.
    """
    expanded = _expanded(sum(sizes) / len(sizes), sum(sizes) - len(sizes), (1 - confidence) / 2)
    low, high = np.quantile(statistic_R, [expanded, 1 - expanded], method="inverted_cdf")
    return (float(low), float(high)) if low < high else (None, None)


@cache
def _expanded(size: float, freedom: int, tail: float) -> float:
    """The level of a percentile at which the interval of normal data would be Student's."""
    return float(norm.cdf((size / (size - 1)) ** 0.5 * t.ppf(tail, freedom)))


def _sample(values: Sequence[float]) -> Floats:
    sample_S = np.asarray(values, dtype=float)
    if not len(sample_S):
        raise ValueError("nothing to summarize")
    return sample_S
