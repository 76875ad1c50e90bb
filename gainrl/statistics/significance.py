"""Whether a difference between cells is significant, alone and as one of many."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import ttest_1samp

FEWEST_PAIRS = 5
"""No p is given for fewer."""
FEWEST_FOR_A_STAR = 6
"""Five pairs cannot give less than 2 / 2^5 = 0.0625."""
MOST_EXACT = 20


def paired_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of no difference between paired cells: the exact test by sign flips; None for fewer than five pairs.

    If neither cell is better, each difference is as likely to have the other sign. p is the share of all 2^n choices of
    signs whose sum is at least as far from 0 as the one that was seen (Fisher 1935, The Design of Experiments, section 21).
    For more than 20 pairs it is Student's, which differs little from then on.
    """
    sample = np.asarray(differences, dtype=float)
    if len(sample) < FEWEST_PAIRS:
        return None
    if not sample.any():
        return 1.0
    if len(sample) > MOST_EXACT:
        return float(ttest_1samp(sample, 0).pvalue)
    sums = np.zeros(1)
    for difference in sample:
        sums = np.concatenate([sums + difference, sums - difference])
    return float(np.mean(np.abs(sums) >= abs(sample.sum()) - 1e-9 * np.abs(sample).sum()))


def holm(p: Sequence[float]) -> list[float]:
    """p adjusted for so many comparisons (Holm 1979): the chance of any false finding among them stays below it."""
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(np.asarray(p, dtype=float)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1)
    return adjusted.tolist()
