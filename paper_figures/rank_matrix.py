"""Rank correlations among all features and gradient norms at the probed layer, as a heat map with its numbers."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.angle_gradient import FEATURES, LABELS, LOSSES, WEIGHTS, Estimate, spearman, with_token_sums
from paper_figures import style


def data(measured: pd.DataFrame, probed_layer: int, *, seed: int = 0, resamples: int = 1000) -> pd.DataFrame:
    """Columns first, second, value, low, high, n: a row a pair of what varies, over problems that have all of it."""
    measured = with_token_sums(measured)
    layer = measured[measured.layer == probed_layer].set_index("problem_id").sort_index(kind="stable")
    losses = [loss for loss in LOSSES if (layer.loss == loss).any()]
    wide = layer.groupby(level=0)[list(FEATURES)].first().rename(columns=LABELS)
    for loss in losses:
        names = {column: f"|grad {weights}|, {LOSSES[loss]}" for weights, column in WEIGHTS.items()}
        wide = wide.join(layer[layer.loss == loss][list(names)].rename(columns=names))
    return spearman(wide, seed=seed, resamples=resamples)


def plot(frame: pd.DataFrame, *, title: str = "Rank correlations") -> Figure:
    """The lower triangle; a number whose interval contains 0 is grey and in italics."""
    style.use()
    names = list(dict.fromkeys([*frame["first"], *frame["second"]]))
    figure, ax = plt.subplots(figsize=(style.COLUMN_INCHES, 1.1 + 0.3 * len(names)), layout="constrained")
    bar = ax.inset_axes((0.5, 0.9, 0.45, 0.03))
    sns.heatmap(
        _triangle(frame, names), cmap="RdBu_r", vmin=-1, vmax=1, linewidths=0.5, ax=ax,
        cbar_ax=bar, cbar_kws={"orientation": "horizontal"},
    )  # fmt: skip
    pairs: Iterable[Any] = frame.itertuples()
    look: dict[str, Any]
    for pair in pairs:
        unsure = not Estimate(pair.value, pair.low, pair.high, pair.n).sign
        look = (
            {"color": "0.5", "style": "italic"} if unsure else {"color": "white" if abs(pair.value) > 0.6 else "black"}
        )
        place = names.index(pair.first) + 0.5, names.index(pair.second) - 0.5
        ax.text(*place, f"{pair.value:.2f}", ha="center", va="center", fontsize=6, **look)
    bar.set_xlabel("rank correlation\ngrey, in italics: interval contains 0", fontsize=7)
    bar.tick_params(labelsize=7)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(labelsize=7, length=0)
    ax.tick_params(axis="x", rotation=90)
    figure.suptitle(f"{title} ({frame.n.max():,} problems)", x=0.01, ha="left", fontsize=10)
    return figure


def _triangle(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    wide = frame.pivot_table(index="second", columns="first", values="value", aggfunc="first")
    return wide.reindex(index=names[1:], columns=names[:-1])
