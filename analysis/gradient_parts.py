"""What makes one gradient larger than another: the parts of `gainrl.studies.gradients.decompose`, in a table and in words."""

import numpy as np
import pandas as pd

from gainrl.rng import generator
from gainrl.studies.gradients import variance_shares

FEWEST = 10
"""No share is computed from fewer problems."""


def shares(parts: pd.DataFrame, *, seed: int = 0, resamples: int = 1000) -> pd.DataFrame:
    """Columns layer, part, share, low, high, n: the part of the variance of log |grad|^2 between problems that each part
    makes up, with a seeded 95 % bootstrap interval over problems. The shares of a layer sum to 1.
    """
    rows = []
    for layer, mine in parts.groupby("layer"):
        if len(mine) < FEWEST or mine.log_squared_norm.nunique() < 2:
            continue
        rng = generator(seed, "bootstrap")
        drawn = [variance_shares(mine.iloc[rng.integers(len(mine), size=len(mine))]) for _ in range(resamples)]
        bounds = pd.DataFrame(drawn).quantile([0.025, 0.975])
        rows += [
            {"layer": layer, "part": part, "share": share, "low": bounds[part].iloc[0], "high": bounds[part].iloc[1]}
            | {"n": len(mine)}
            for part, share in variance_shares(mine).items()
        ]
    return pd.DataFrame(rows, columns=["layer", "part", "share", "low", "high", "n"])


def notes(measured: pd.DataFrame, parts: pd.DataFrame, shares: pd.DataFrame) -> list[str]:
    """Sentences that the numbers decide, for the report."""
    supervised = measured[measured.loss == "supervised"]
    sentences = [_question_share(supervised), _identity(supervised, parts)]
    sentences += [_shares(layer, mine) for layer, mine in shares.groupby("layer")]
    grpo = measured[(measured.loss == "grpo") & (measured.layer == measured.layer.min())]
    if len(grpo):
        sentences.append(
            f"mean pass rate {100 * grpo.pass_rate.mean():.1f} %; {(grpo.gradient_model == 0).sum():,} of {len(grpo):,} "
            "problems give the GRPO loss no gradient, since all their completions have the same reward"
        )
    return [sentence for sentence in sentences if sentence]


def _question_share(supervised: pd.DataFrame) -> str:
    share = supervised.dropna(subset="question_share").groupby("layer").question_share.mean()
    if share.empty:
        return ""
    by_layer = ", ".join(f"layer {layer} {100 * value:.2g} %" for layer, value in share.items())
    last = (
        "; in the last layer no question token can have any, as nothing after that layer hands it on to the completion"
        if share.iloc[-1] == 0
        else ""
    )
    return (
        "share of the projections' squared gradient norm (supervised loss, mean over problems) that pairs of question "
        f"tokens make up, which are the pairs whose cosines C_intra averages: {by_layer}{last}"
    )


def _identity(supervised: pd.DataFrame, parts: pd.DataFrame) -> str:
    if parts.empty:
        return ""
    both = parts.merge(supervised, on=["layer", "problem_id"])
    error = float(np.abs(np.exp(both.log_squared_norm) / both.gradient_projection**2 - 1).max())
    return (
        "|grad_W|^2 = sum_ij |x_i||x_j| cos(i,j) <g_i,g_j>, summed over all pairs in 64 bits, agrees with the measured norm "
        f"to a relative error of at most {error:.1g} ({len(both):,} gradients)"
    )


def _shares(layer: object, mine: pd.DataFrame) -> str:
    by_part = mine.set_index("part")
    cells = ", ".join(
        f"{label} {round(100 * row.share)} % [{round(100 * row.low)}, {round(100 * row.high)}]"
        for part, label in _LABELS.items()
        for row in [by_part.loc[part]]
    )
    return (
        f"variance between {mine.n.iloc[0]:,} problems of the log gradient norm of layer {layer}'s reading projections "
        f"(supervised loss): {cells}"
    )


_LABELS = {
    "tokens": "number of tokens",
    "norms": "norms |x_i|",
    "cosines": "cosines cos(i,j)",
    "gradients": "inner products <g_i,g_j>",
}
