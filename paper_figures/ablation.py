"""Every cell against its baseline, as dots with intervals: speed-up to each target, and accuracy gained.

Accuracy is that at the end, or where it decides (`Experiment.judged_by`) the average over a run.
"""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from analysis.comparison import headlines
from analysis.runs import baseline_of
from gainrl.runs.experiment import Experiment
from paper_figures import style

MARKS = {">": ">", "<": "<", "~": "x"}
"""Bound of a ratio -> its marker."""


def data(experiment: Experiment, comparison: pd.DataFrame) -> pd.DataFrame:
    """Columns panel (`panels`), cell, schedule (its label), target, value, low, high, bound, seeds, standout."""
    where = comparison.quantity.isin(panels(experiment)) & (
        comparison.benchmark == comparison.cell.map(headlines(comparison))
    )
    frame = comparison[where].rename(columns={"quantity": "panel", "mean": "value"})
    points = (frame.panel == "speed-up").map({True: 1.0, False: 100.0})
    frame = frame.assign(schedule=frame.cell.map(experiment.labels), standout=frame.p_holm < 0.05)
    frame[["value", "low", "high"]] = frame[["value", "low", "high"]].astype(float).mul(points, axis=0)
    return frame[["panel", "cell", "schedule", "target", "value", "low", "high", "bound", "seeds", "standout"]]


def panels(experiment: Experiment) -> dict[str, str]:
    """Quantities of the comparison -> what stands below them."""
    if experiment.judged_by == "speed-up":
        return {"speed-up": "speed-up", "accuracy gained": "points gained"}
    return {"speed-up": "speed-up", experiment.judged_by: "points gained on average"}


def plot(experiment: Experiment, frame: pd.DataFrame) -> Figure:
    """Full dots differ significantly from the baseline (Holm); triangles are bounds."""
    style.use()
    labels = [label for label in experiment.labels.values() if label in set(frame.schedule)]
    figure, axes = plt.subplots(
        1, 2, figsize=(style.COLUMN_INCHES, 1.3 + 0.4 * len(labels)), sharey=True, layout="constrained",
        width_ratios=(1.5, 1),
    )  # fmt: skip
    targets = sorted(set(frame.target.dropna()))
    shades = dict(zip(targets, sns.color_palette("crest", len(targets)), strict=True))
    for ax, (panel, words) in zip(axes, panels(experiment).items(), strict=True):
        mine = frame[frame.panel == panel]
        ax.axvline(1 if panel == "speed-up" else 0, color="0.6", lw=0.8, zorder=0)
        rows: Iterable[Any] = mine.itertuples()
        for row in rows:
            place = targets.index(row.target) - (len(targets) - 1) / 2 if row.target in shades else 0
            _dot(ax, row, labels.index(row.schedule) + 0.2 * place, shades.get(row.target, "black"))
        ax.set_xlabel(words, fontsize=8)
        ax.tick_params(axis="y", length=0)
    ratio_axis(axes[0])
    axes[0].set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.4, -0.6))
    for target, shade in shades.items():
        axes[0].plot([], [], "o", ms=4, color=shade, label=f"to {100 * target:.0f} %")
    figure.legend(
        loc="outside lower center", ncols=len(targets), fontsize=7, title_fontsize=7,
        title="full: significant after Holm's adjustment; triangle: a bound; cross: both have runs that did not reach it",
    )  # fmt: skip
    seeds = style.count(int(frame.seeds.min()), int(frame.seeds.max()))
    baselines = {baseline_of(experiment, cell) for cell in frame.cell}
    against = (
        experiment.labels[baselines.pop()] if len(baselines) == 1 else "the baseline of the same model and training set"
    )
    figure.suptitle(f"Against {against} ({seeds})", x=0.01, ha="left", fontsize=9)
    return figure


def _dot(ax: Axes, row: Any, y: float, colour: str | tuple[float, float, float]) -> None:
    if row.bound == "" and pd.notna(row.low):
        ax.plot([row.low, row.high], [y, y], color=colour, lw=1.2)
    face = colour if row.standout or row.bound == "~" else "white"
    ax.plot(row.value, y, MARKS.get(row.bound, "o"), ms=4.5, color=colour, mfc=face, mew=1)


def ratio_axis(ax: Axes) -> None:
    """Ratios on a logarithmic axis around 1."""
    ax.set_xscale("log", base=2)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, 0.7), max(high, 1.4))
    ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
