"""Correlations of all columns of a table at once, over the data and its bootstrap resamples together.

A resample is how often each problem was drawn, so that ranks of all resamples come from one sort.

Shapes: R samples (row 0 the data, the others its resamples), N problems, K columns.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gainrl.rng import generator

Floats = NDArray[np.float64]

FEWEST = 10
"""Nothing is computed from fewer problems; a difficulty level with fewer is left out."""
_CHUNK = 500_000
_NOTHING = 1e-9


class Estimate(NamedTuple):
    """A correlation with its interval, from n problems."""

    value: float
    low: float
    high: float
    n: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves 0 out, else 0."""
        return int(self.low > 0) - int(self.high < 0)

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def spearman(table: pd.DataFrame, *, seed: int = 0, resamples: int = 1000, confidence: float = 0.95) -> pd.DataFrame:
    """Rank correlation of every pair of columns over complete rows: first, second, value, low, high, n."""
    sample = complete(table)
    if len(sample) < FEWEST or sample.shape[1] < 2:
        return pd.DataFrame(columns=["first", "second", "value", "low", "high", "n"])
    values_RKK = correlation(products(sample.to_numpy(), counts(len(sample), seed, resamples), ranked=True))
    return pairs(values_RKK, sample.columns, confidence).assign(n=len(sample))


def complete(table: pd.DataFrame) -> pd.DataFrame:
    """Columns that vary, rows that have them all."""
    numbers = table.astype(float)
    return numbers.loc[:, numbers.min() < numbers.max()].dropna()


def counts(size: int, seed: int, resamples: int) -> Floats:
    """How often each problem is in each sample, (R, N): once in the data, then as drawn with replacement."""
    drawn = generator(seed, "bootstrap").multinomial(size, np.full(size, 1 / size), size=resamples)
    return np.vstack([np.ones(size), drawn])


def products(values_NK: Floats, counts_RN: Floats, *, ranked: bool) -> Floats:
    """Sums over each sample of products of centred values, or of centred midranks in that sample: (R, K, K)."""
    chunks = np.array_split(counts_RN, 1 + counts_RN.shape[0] * values_NK.size // _CHUNK)
    return np.concatenate([_cross(_midranks(values_NK, c) if ranked else values_NK.T[None], c) for c in chunks])


def _cross(values_RKN: Floats, counts_RN: Floats) -> Floats:
    size_R = at_least_one(counts_RN.sum(1))
    centred_RKN = values_RKN - (values_RKN @ counts_RN[:, :, None]) / size_R[:, None, None]
    return np.asarray((centred_RKN * counts_RN[:, None]) @ centred_RKN.swapaxes(1, 2))


def _midranks(values_NK: Floats, counts_RN: Floats) -> Floats:
    """Mean rank of each problem's value in each sample, (R, K, N). A problem drawn c times is c equal values."""
    ranks = []
    for column_N in values_NK.T:
        order_N = np.argsort(column_N)
        starts = np.flatnonzero(np.diff(column_N[order_N], prepend=-np.inf))
        tied_RG = np.add.reduceat(counts_RN[:, order_N], starts, axis=1)
        rank_RG = tied_RG.cumsum(axis=1) - (tied_RG - 1) / 2
        ranks.append(rank_RG[:, np.searchsorted(column_N[order_N][starts], column_N)])
    return np.stack(ranks, axis=1)


def correlation(products_RKK: Floats) -> Floats:
    """NaN where a column does not vary."""
    spread_RK = np.diagonal(products_RKK, axis1=1, axis2=2)
    scale_RK = np.sqrt(np.where(spread_RK > _NOTHING, spread_RK, np.nan))
    return np.asarray(products_RKK / scale_RK[:, :, None] / scale_RK[:, None, :])


def partial(correlation_RKK: Floats, controls: NDArray[np.intp]) -> Floats:
    """Correlations of what the controls leave: C - C_xc C_cc^-1 C_cx, whose inverse is a block of the inverse of C."""
    whole_RKK = np.nan_to_num(correlation_RKK)
    cross_RKC = whole_RKK[:, :, controls]
    inverse_RCC = np.linalg.pinv(cross_RKC[:, controls], hermitian=True)
    return correlation(whole_RKK - cross_RKC @ inverse_RCC @ cross_RKC.swapaxes(1, 2))


def pairs(values_RKK: Floats, names: pd.Index, confidence: float) -> pd.DataFrame:
    """A row a pair of columns that has a value in the data: first, second, value, low, high."""
    first, second = np.triu_indices(len(names), k=1)
    known = np.isfinite(values_RKK[0, first, second])
    first, second = first[known], second[known]
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.nanquantile(values_RKK[1:, first, second], tails, axis=0)
    value = values_RKK[0, first, second]
    return pd.DataFrame({"first": names[first], "second": names[second], "value": value, "low": low, "high": high})


def at_least_one(size_R: Floats) -> Floats:
    return np.maximum(size_R, 1.0)
