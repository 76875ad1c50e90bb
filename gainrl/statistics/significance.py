"""Whether a difference between cells is significant, alone and as one of many."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import ttest_1samp

FEWEST_PAIRS = 3


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of no difference: Student's t over paired seeds; None for fewer than three.

    If all seeds show the same difference (costs are multiples of the evaluation interval), t is undefined; the sign
    test's 2 / 2^n takes its place.
    """
    sample = np.asarray(differences, dtype=float)
    if len(sample) < FEWEST_PAIRS:
        return None
    if np.ptp(sample) <= 1e-12 * max(1.0, float(np.abs(sample).max())):
        return 1.0 if abs(sample[0]) <= 1e-12 else 2.0 ** (1 - len(sample))
    return float(ttest_1samp(sample, 0).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p adjusted for so many comparisons (Holm 1979): the chance of any false finding among them stays below it."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted.tolist()
