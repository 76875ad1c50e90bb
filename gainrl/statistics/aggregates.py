"""Statistics over several runs and tasks at once, as in rliable (Agarwal et al. 2021, NeurIPS, arXiv 2108.13264).

Runs come in strata: the runs on one family of problems, say. As there, resamples are drawn within each stratum, so that each
of them has as many runs of every stratum as the data have (stratified bootstrap).
Departs: a run that has scores on several tasks is resampled whole, as these are not independent; the percentiles are those of
the expanded level (`gainrl.statistics.intervals`), without which intervals of ten runs or fewer are too short.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import trim_mean

from gainrl.statistics.intervals import FEWEST_SEEDS, Floats, Summary, interval, resamples

Statistic = Callable[[Sequence[NDArray[np.int64]]], Floats]
"""From the chosen runs of each stratum, (R, S) each, to a number a resample: (R,)."""


def interquartile_mean(*strata_SK: ArrayLike, seed: int = 0) -> Summary:
    """Mean of the middle half of all scores: moved less by an outlier than the mean is, and less noisy than the median.

    Args:
        strata_SK: scores of S runs on K tasks each; S and K may differ between strata. Scores must be comparable.
    """
    strata = [np.atleast_2d(np.asarray(scores, dtype=float)) for scores in strata_SK]

    def statistic(chosen: Sequence[NDArray[np.int64]]) -> Floats:
        flat = [
            scores_SK[chosen_RS].reshape(len(chosen_RS), -1)
            for scores_SK, chosen_RS in zip(strata, chosen, strict=True)
        ]
        return np.asarray(trim_mean(np.hstack(flat), 0.25, axis=1))

    return _stratified(statistic, [len(scores) for scores in strata], seed)


def probability_of_improvement(*strata: tuple[ArrayLike, ArrayLike], seed: int = 0) -> Summary:
    """Chance that a run of the method scores higher than a run of the baseline, ties counting half; mean over tasks.

    Mann and Whitney's U / S^2 on each task.

    Args:
        strata: (method, baseline), the scores of the same S seeds on the same K tasks, (S, K) each; a seed's two runs are
            resampled together.
    """
    wins, tasks = [], []
    for pair in strata:
        method, baseline = (np.atleast_2d(np.asarray(scores, dtype=float)) for scores in pair)
        if method.shape != baseline.shape:
            raise ValueError(f"scores of shape {method.shape} and {baseline.shape}; the same runs and tasks are needed")
        wins_SSK = (method[:, None] > baseline[None]) + 0.5 * (method[:, None] == baseline[None])
        wins.append(wins_SSK.mean(axis=2))
        tasks.append(method.shape[1])

    def statistic(chosen: Sequence[NDArray[np.int64]]) -> Floats:
        each = [_mean_wins(wins_SS, chosen_RS) for wins_SS, chosen_RS in zip(wins, chosen, strict=True)]
        return np.asarray(np.average(each, axis=0, weights=tasks))

    return _stratified(statistic, [len(wins_SS) for wins_SS in wins], seed)


def _mean_wins(wins_SS: Floats, chosen_RS: NDArray[np.int64]) -> Floats:
    """Mean over all pairs of chosen runs: (R,)."""
    times_RS = (chosen_RS[:, :, None] == np.arange(len(wins_SS))).sum(axis=1)  # how often each run was drawn
    return np.asarray(((times_RS @ wins_SS) * times_RS).sum(axis=1) / len(wins_SS) ** 2)


def _stratified(statistic: Statistic, sizes: Sequence[int], seed: int) -> Summary:
    """The statistic of all runs and its interval; its seeds are those of the smallest stratum."""
    value = float(statistic([np.arange(size)[None] for size in sizes])[0])
    if min(sizes) < FEWEST_SEEDS:
        return Summary(value, None, None, min(sizes))
    chosen = [resamples(size, seed, stratum) for stratum, size in enumerate(sizes)]
    return Summary(value, *interval(statistic(chosen), *sizes), min(sizes))
