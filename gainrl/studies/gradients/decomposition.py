"""Why the gradient of one sample is larger than another's: more tokens, longer states, closer angles, larger gradients.

For a linear layer a = x W and g = dL/da (as in arXiv 2506.02281),

    |grad_W|^2 = S = sum_ij |x_i| |x_j| cos(i,j) <g_i, g_j>

Shapes: B samples, T tokens of a sample, D features into the layer, E features out of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, combinations, permutations

import pandas as pd
import torch
from torch import Tensor

_FACTORS = ("norms", "cosines", "gradients")
_PARTS = ("tokens", *_FACTORS)
_ROUNDING = 1e-12
"""A sum this far below the sum of its terms' sizes is taken to be 0."""


@dataclass(frozen=True)
class Gram:
    """All that S depends on, of one sample, in 64 bits on the CPU."""

    norms_T: Tensor
    """|x_i|"""
    cos_TT: Tensor
    """cos(i,j)"""
    inner_TT: Tensor
    """<g_i, g_j>"""


def pairwise_norm(x_TD: Tensor, g_TE: Tensor) -> Tensor:
    """S from its T x T matrices: a scalar, or (B,) of x_BTD and g_BTE; in 64 bits."""
    norms_T, cos_TT, inner_TT = _factors(x_TD, g_TE)
    return (norms_T[..., :, None] * norms_T[..., None, :] * cos_TT * inner_TT).sum((-2, -1))


def gram(x_TD: Tensor, g_TE: Tensor) -> Gram:
    """The factors of one sample. Tokens whose g is exactly 0, which add nothing to S, are left out."""
    kept_T = (g_TE != 0).any(-1)
    return Gram(*(factor.cpu() for factor in _factors(x_TD[kept_T], g_TE[kept_T])))


def _factors(x_TD: Tensor, g_TE: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x_TD, g_TE = x_TD.double(), g_TE.double()
    unit_TD = torch.nn.functional.normalize(x_TD, dim=-1)
    return x_TD.norm(dim=-1), unit_TD @ unit_TD.mT, g_TE @ g_TE.mT


def decompose(grams: Sequence[Gram]) -> pd.DataFrame:
    """log S of each sample as a sum of four parts: tokens + norms + cosines + gradients = log_squared_norm.

    A factor that is left out takes a neutral value, the same for all samples: a norm the root mean square of all
    norms; a cosine 1 for i = j, else the mean over all i != j; an inner product the mean over all i = j, else the mean
    over all i != j. Means over i != j are clipped to [0, the value for i = j], so that no sum is negative. With v(F) the
    log of the sum in which the factors F have their true values and the others neutral ones,

        tokens = v(none), which depends on the number of tokens alone
        norms, cosines, gradients = the Shapley values of v: the change by adding the factor, mean over the 3! orders

    Returns:
        One row per sample that has a gradient; the index is the position in ``grams``. Natural logarithms.

    Raises:
        ValueError: a sample's sum is not finite (the error gives its position).
    """
    totals = [_total(sample) for sample in grams]
    for row, total in enumerate(totals):
        if not math.isfinite(total):
            raise ValueError(f"the squared gradient norm of sample {row} is {total}")
    kept = {row: sample for row, sample in enumerate(grams) if totals[row] > 0}
    if not kept:
        return pd.DataFrame(columns=["log_squared_norm", *_PARTS], dtype=float)
    neutral = _Neutral.of(list(kept.values()))
    return pd.DataFrame([_attribute(sample, neutral) for sample in kept.values()], index=list(kept))


def variance_shares(parts: pd.DataFrame) -> pd.Series:
    """Cov(part, log S) / Var(log S) over the rows of `decompose`, for its four parts; their sum is 1."""
    log_square = parts["log_squared_norm"]
    shares: pd.Series = parts[list(_PARTS)].apply(lambda part: part.cov(log_square)) / log_square.var()
    return shares


@dataclass(frozen=True)
class _Neutral:
    norm: float
    cosine: float
    diagonal: float
    inner: float

    @classmethod
    def of(cls, grams: Sequence[Gram]) -> "_Neutral":
        norms = torch.cat([sample.norms_T for sample in grams])
        diagonal = float(torch.cat([sample.inner_TT.diagonal() for sample in grams]).mean())
        cosine = _off_diagonal_mean([sample.cos_TT for sample in grams])
        inner = _off_diagonal_mean([sample.inner_TT for sample in grams])
        return cls(float(norms.square().mean().sqrt()), min(cosine, 1.0), diagonal, min(inner, diagonal))

    def gram(self, tokens: int) -> Gram:
        ones_TT = torch.ones(tokens, tokens, dtype=torch.float64)
        cos_TT = (self.cosine * ones_TT).fill_diagonal_(1.0)
        inner_TT = (self.inner * ones_TT).fill_diagonal_(self.diagonal)
        return Gram(self.norm * ones_TT[0], cos_TT, inner_TT)


def _off_diagonal_mean(matrices: Sequence[Tensor]) -> float:
    """Over all matrices together, at least 0; 0 if there is no such entry."""
    total = sum(float(matrix.sum() - matrix.trace()) for matrix in matrices)
    count = sum(len(matrix) * (len(matrix) - 1) for matrix in matrices)
    return max(total / count, 0.0) if count else 0.0


def _attribute(sample: Gram, neutral: _Neutral) -> dict[str, float]:
    value = _log_totals(sample, neutral.gram(len(sample.norms_T)))
    parts = dict.fromkeys(_FACTORS, 0.0)
    orders = list(permutations(_FACTORS))
    for order in orders:
        for count, factor in enumerate(order):
            change = value[frozenset(order[: count + 1])] - value[frozenset(order[:count])]
            parts[factor] += change / len(orders)
    return {"log_squared_norm": value[frozenset(_FACTORS)], "tokens": value[frozenset()], **parts}


def _log_totals(true: Gram, neutral: Gram) -> dict[frozenset[str], float]:
    """v(F) for each set of factors F."""
    values = {}
    for chosen in chain.from_iterable(combinations(_FACTORS, count) for count in range(len(_FACTORS) + 1)):
        norms, cosines, gradients = (true if factor in chosen else neutral for factor in _FACTORS)
        total = _total(Gram(norms.norms_T, cosines.cos_TT, gradients.inner_TT))
        values[frozenset(chosen)] = math.log(total) if total > 0 else -math.inf
    return values


def _total(sample: Gram) -> float:
    terms_TT = sample.norms_T[:, None] * sample.norms_T * sample.cos_TT * sample.inner_TT
    total, size = float(terms_TT.sum()), float(terms_TT.abs().sum())
    return 0.0 if total <= _ROUNDING * size else total
