"""The angle of every problem at the probed layer against the norm of the whole model's gradient, a panel a loss."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize
from matplotlib.figure import Figure

from analysis.angle_gradient import LOSSES, best_partial, find
from paper_figures import style

GROUPS = 20
"""The trend is the median of so many groups of equal size, by angle; of fewer where a group would be under thirty."""
MOST_LEVELS = 8
"""Difficulty with more levels is coloured as a scale."""
TREND = "black"


class Colouring(NamedTuple):
    """Which column the points are coloured by, and how."""

    column: str
    label: str
    norm: Normalize
    ticks: list[float]


def data(measured: pd.DataFrame, probed_layer: int) -> pd.DataFrame:
    """Columns loss, layer, problem_id, angle, log10_gradient (NaN where the norm is 0), difficulty, question_tokens."""
    frame = measured[measured.layer == probed_layer].dropna(subset=["angle", "gradient_model"])
    positive = frame.gradient_model.astype(float).where(frame.gradient_model > 0)
    frame = frame.assign(log10_gradient=np.log10(positive))
    columns = ["loss", "layer", "problem_id", "angle", "log10_gradient", "difficulty", "question_tokens"]
    return frame[columns].reset_index(drop=True)


def plot(frame: pd.DataFrame, correlations: pd.DataFrame, *, title: str = "Angle and gradient") -> Figure:
    """Points (grey: difficulty not known), their running median with its 95 % interval, and above each panel the
    correlations with theirs."""
    style.use()
    losses = [loss for loss in LOSSES if (frame.loss == loss).any()]
    figure, axes = plt.subplots(
        1, len(losses), figsize=(style.COLUMN_INCHES, 3.6), sharex=True, squeeze=False, layout="constrained"
    )
    colouring = _colouring(frame)
    for ax, loss in zip(axes[0], losses, strict=True):
        points = _panel(ax, frame[frame.loss == loss], colouring)
        ax.set_title(_heading(correlations, loss, int(frame.layer.iloc[0])), loc="left", fontsize=7)
        ax.set_xlabel(f"angle concentration, layer {frame.layer.iloc[0]}")
    axes[0, 0].set_ylabel("gradient norm, whole model (log10)")
    bar = figure.colorbar(points, ax=axes, aspect=30, pad=0.02, label=colouring.label)
    bar.set_ticks(colouring.ticks, labels=[f"{tick:.3g}" for tick in colouring.ticks], minor=False)
    bar.minorticks_off()
    figure.suptitle(f"{title} ({frame.problem_id.nunique():,} problems)", x=0.01, ha="left", fontsize=10)
    keys = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=2, fontsize=7.5)
    return figure


def _panel(ax: Axes, frame: pd.DataFrame, colouring: Colouring) -> PathCollection:
    known, zero = frame.dropna(subset="log10_gradient"), frame[frame.log10_gradient.isna()]
    points = ax.scatter(
        known.angle, known.log10_gradient, c=known[colouring.column], norm=colouring.norm,
        cmap=plt.get_cmap("viridis").with_extremes(bad="0.7"), plotnonfinite=True, s=6, alpha=0.7, linewidths=0,
        rasterized=True,
    )  # fmt: skip
    trend = _trend(known)
    ax.fill_between(trend.angle, trend.low, trend.high, color=TREND, alpha=0.25, lw=0)
    ax.plot(trend.angle, trend.median_, color=TREND, lw=1.4, label="running median, 95 % interval")
    if len(zero):
        ax.margins(y=0.1)
        label = f"gradient exactly 0: {len(zero):,} problems ({LOSSES[frame.loss.iloc[0]]})"
        ax.vlines(zero.angle, 0, 0.04, transform=ax.get_xaxis_transform(), color="0.35", lw=0.4, label=label)
    return points


def _trend(known: pd.DataFrame) -> pd.DataFrame:
    """A row a group of problems of like angle: its median angle, its median gradient, and between which two of the group's
    order statistics the latter lies in 95 of 100 cases (the normal approximation to the binomial)."""
    known, rows = known.sort_values(["angle", "problem_id"]), []
    for places in np.array_split(np.arange(len(known)), max(1, min(GROUPS, len(known) // 30))) if len(known) else []:
        group = known.iloc[places]
        half = 0.98 / np.sqrt(len(group))
        low, middle, high = group.log10_gradient.quantile([max(0, 0.5 - half), 0.5, min(1, 0.5 + half)])
        rows.append((group.angle.median(), low, middle, high))
    return pd.DataFrame(rows, columns=["angle", "low", "median_", "high"], dtype=float)


def _colouring(frame: pd.DataFrame) -> Colouring:
    levels = sorted(frame.difficulty.dropna().unique())
    if 2 <= len(levels) <= MOST_LEVELS:
        gaps = (np.array(levels[1:]) + np.array(levels[:-1])) / 2
        edges = [2 * levels[0] - gaps[0], *gaps, 2 * levels[-1] - gaps[-1]]
        return Colouring("difficulty", "difficulty (level)", BoundaryNorm(edges, 256), levels)
    if levels[1:]:
        return Colouring(
            "difficulty", "difficulty", Normalize(levels[0], levels[-1]), list(np.linspace(levels[0], levels[-1], 5))
        )
    shortest, longest = frame.question_tokens.min(), frame.question_tokens.max()
    nice = [step * 10.0**power for power in range(6) for step in (1, 2, 5)]
    ticks = [tick for tick in nice if shortest <= tick <= longest]
    return Colouring(
        "question_tokens", "question length (tokens)", LogNorm(shortest, max(longest, shortest + 1)), ticks
    )


def _heading(correlations: pd.DataFrame, loss: str, layer: int) -> str:
    lines = [LOSSES[loss][0].upper() + LOSSES[loss][1:]]
    if plain := find(correlations, loss, layer):
        lines.append(f"rank correlation {plain}")
    if partial := best_partial(correlations, loss, layer):
        lines.append(f"given {partial[0]} {partial[1]}")
    return "\n".join(lines)
