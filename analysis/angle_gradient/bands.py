"""Simultaneous bands: intervals of several estimates (layers) that hold all at once with the stated confidence.

Shapes: R resamples, K estimates.
"""

from typing import NamedTuple

import numpy as np

from analysis.angle_gradient.resampling import Floats

_LARGEST = 1 - 1e-9


class Band(NamedTuple):
    """Lower and upper limits, (K,) each."""

    low: Floats
    high: Floats


def simultaneous(values_K: Floats, draws_RK: Floats, confidence: float = 0.95) -> Band:
    """The sup-t band of estimates whose bootstrap draws come from the same resamples:

        value_k -+ c * s_k,   c = the ``confidence`` quantile over resamples of max_k |draw_rk - value_k| / s_k

    with s_k the draws' standard deviation. All K true values lie inside together with that confidence, whatever the estimates'
    dependence; single intervals, of which c is 1.96, promise that of each alone. Source: Montiel Olea and Plagborg-Moller,
    "Simultaneous confidence bands", J. Applied Econometrics 34 (2019), 1-17, algorithm 2; the same max-t of Romano and Wolf,
    JASA 100 (2005), 94-108.

    An estimate that does not vary over resamples, or has no value, has no limits (NaN) and takes no part in c.
    """
    spread_K = np.nanstd(draws_RK, axis=0, ddof=1)
    known_K = np.isfinite(values_K) & np.isfinite(spread_K) & (spread_K > 0)
    scale_K = np.where(known_K, spread_K, np.nan)
    if not known_K.any():
        return Band(scale_K, scale_K)
    largest_R = np.nanmax(np.abs(draws_RK - values_K)[:, known_K] / spread_K[known_K], axis=1)
    critical = np.nanquantile(largest_R, confidence)
    return Band(values_K - critical * scale_K, values_K + critical * scale_K)


def simultaneous_correlations(values_K: Floats, draws_RK: Floats, confidence: float = 0.95) -> Band:
    """`simultaneous` on Fisher's scale, z = artanh(r), where correlations spread alike whatever they are; turned back."""
    z_K, z_RK = (np.arctanh(np.clip(values, -_LARGEST, _LARGEST)) for values in (values_K, draws_RK))
    return Band(*(np.tanh(limit) for limit in simultaneous(z_K, z_RK, confidence)))


def pointwise(draws_RK: Floats, confidence: float = 0.95) -> Band:
    """Percentiles of the draws, for each estimate alone; NaN where it has no draw."""
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    empty_K = ~np.isfinite(draws_RK).any(axis=0)
    low, high = np.nanquantile(np.where(empty_K, 0.0, draws_RK), tails, axis=0)
    return Band(np.where(empty_K, np.nan, low), np.where(empty_K, np.nan, high))
