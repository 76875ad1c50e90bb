"""How well the angle's parts, read at each layer, tell the size of the gradient: rank correlation against layer."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.angle_gradient import ANGLES, LABELS, LOSSES, best_partial
from paper_figures import style

PANELS = {"model": "whole model", "projection": "reading projections"}
FEW_LAYERS = 6
"""Up to so many, intervals are drawn as bars, side by side; beyond, as bands."""
PARTIAL = "angle, given "


def data(correlations: pd.DataFrame) -> pd.DataFrame:
    """Columns loss, layer, weights (`PANELS`), curve (a feature, or the angle given the controls), value, low, high, n."""
    table = correlations[(correlations.subset == "all") & correlations.weights.isin(PANELS)]
    plain = table[(table.statistic == "spearman") & table.feature.isin(ANGLES)]
    rows = plain.assign(curve=plain.feature.map(LABELS))
    keys = plain[["loss", "layer", "weights"]].drop_duplicates().itertuples(index=False)
    partials = [
        {"loss": loss, "layer": layer, "weights": weights, "curve": PARTIAL + found[0], **found[1]._asdict()}
        for loss, layer, weights in keys
        if (found := best_partial(correlations, loss, layer, weights=weights))
    ]
    columns = ["loss", "layer", "weights", "curve", "value", "low", "high", "n"]
    return pd.concat([rows[columns], pd.DataFrame(partials, columns=columns)], ignore_index=True)


def plot(frame: pd.DataFrame, *, title: str = "Rank correlation with the gradient norm, layer by layer") -> Figure:
    """A row a loss, a column a choice of weights; bands (bars for few layers) are the table's intervals."""
    style.use()
    losses = [loss for loss in LOSSES if (frame.loss == loss).any()]
    figure, axes = plt.subplots(
        len(losses), len(PANELS), figsize=(style.COLUMN_INCHES, 1.1 + 1.9 * len(losses)),
        sharex=True, sharey=True, squeeze=False, layout="constrained",
    )  # fmt: skip
    curves = list(dict.fromkeys(frame.curve))
    colour = style.colours([curve for curve in curves if not curve.startswith(PARTIAL)])
    for row, loss in zip(axes, losses, strict=True):
        for ax, (weights, words) in zip(row, PANELS.items(), strict=True):
            mine = frame[(frame.loss == loss) & (frame.weights == weights)]
            ax.axhline(0, color="0.6", lw=0.8, zorder=0)
            for place, curve in enumerate(curves):
                _curve(ax, mine[mine.curve == curve], curve, colour, place - (len(curves) - 1) / 2)
            ax.set_title(f"{LOSSES[loss][0].upper()}{LOSSES[loss][1:]}: {words}", loc="left", fontsize=7.5)
        row[0].set_ylabel("rank correlation")
    layers = sorted(set(frame.layer))
    for ax in axes[-1]:
        ax.set(xlabel="layer", xticks=layers[:: -(-len(layers) // 8)], xlim=(layers[0] - 0.5, layers[-1] + 0.5))
    n = f"{frame.n.min():,}" if frame.n.min() == frame.n.max() else f"{frame.n.min():,} to {frame.n.max():,}"
    figure.suptitle(f"{title} ({n} problems)", x=0.01, ha="left", fontsize=10)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=7.5,
        title="with bootstrap intervals over problems", title_fontsize=7.5,
    )  # fmt: skip
    return figure


def _curve(
    ax: Axes, frame: pd.DataFrame, curve: str, colour: dict[str, tuple[float, float, float]], place: float
) -> None:
    frame, partial = frame.sort_values("layer"), curve.startswith(PARTIAL)
    look: dict[str, Any] = {
        "color": "black" if partial else colour[curve],
        "ls": "--" if partial else "-",
        "lw": 1.2,
        "label": curve,
    }
    if frame.layer.nunique() > FEW_LAYERS:
        ax.fill_between(frame.layer, frame.low, frame.high, color=look["color"], alpha=0.15, lw=0)
        ax.plot(frame.layer, frame.value, **look)
        return
    reach = np.maximum(0, [frame.value - frame.low, frame.high - frame.value])
    ax.errorbar(frame.layer + 0.08 * place, frame.value, reach, marker="o", ms=3, elinewidth=1, **look)
