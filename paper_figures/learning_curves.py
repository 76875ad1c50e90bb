"""Accuracy against step for every cell, and below it where each sliding schedule stood: mu against epoch."""

from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.runs import Runs, baseline_of
from gainrl.runs.experiment import Experiment
from paper_figures import style

POINTS = 25
TOP = 101
"""Where an axis of accuracies ends, in %: Student's interval does not know that none is above 100."""
MOST_TOGETHER = 4
"""More cells than that are drawn in panels of their own, each over its baseline."""


def data(experiment: Experiment, runs: Runs) -> pd.DataFrame:
    """Columns panel (accuracy, in percent | mu), x (step | epoch), y, cell, schedule (its label), seed.

    Accuracy is the mean over the benchmarks, where there are several; runs are evaluated at steps of their own, so it is
    read off each run's curve, at `POINTS` steps at most.
    """
    accuracy = on_one_grid(runs.headline).rename(columns={"step": "x", "accuracy": "y"}).assign(panel="accuracy")
    panels = [accuracy.assign(y=100 * accuracy.y)]
    training = runs.training
    if "mu" in training:
        mu = training.dropna(subset="mu").drop_duplicates(["cell", "seed", "epoch"])
        panels.append(mu.rename(columns={"epoch": "x", "mu": "y"}).assign(panel="mu"))
    frame = pd.concat(panels, ignore_index=True)
    return frame.assign(schedule=frame.cell.map(experiment.labels))[["panel", "x", "y", "cell", "schedule", "seed"]]


def on_one_grid(curves: pd.DataFrame) -> pd.DataFrame:
    """The accuracy of each run, interpolated between its evaluations, at the same steps: cell, seed, step, accuracy."""
    steps = np.unique(curves.step)
    common = set.intersection(*(set(curve.step) for _, curve in curves.groupby(["cell", "seed"])))
    if len(common) < len(steps):
        steps = np.unique(np.linspace(0, steps.max(), POINTS).round())
    return pd.concat(
        [
            pd.DataFrame(
                {"cell": cell, "seed": seed, "step": steps, "accuracy": np.interp(steps, curve.step, curve.accuracy)}
            )
            for (cell, seed), curve in curves.groupby(["cell", "seed"])
        ],
        ignore_index=True,
    )


def plot(experiment: Experiment, frame: pd.DataFrame) -> Figure:
    """Mean over seeds, with a 95 % interval where there are three or more."""
    style.use()
    if frame.cell.nunique() > MOST_TOGETHER:
        return _panels(experiment, frame[frame.panel == "accuracy"])
    sliding = (frame.panel == "mu").any()
    figure, axes = plt.subplots(
        2 if sliding else 1, 1, figsize=(style.COLUMN_INCHES, 5.0 if sliding else 3.5),
        height_ratios=(3, 1.4) if sliding else None, layout="constrained", squeeze=False,
    )  # fmt: skip
    top = axes[0, 0]
    _together(experiment, frame, "accuracy", top)
    _targets(experiment, top)
    top.set(xlabel="optimizer step", ylabel="held-out accuracy, greedy (%)", xlim=(0, None))
    top.set_ylim(top=min(top.get_ylim()[1], TOP))
    top.set_title(style.title(experiment, frame), loc="left")
    if sliding:
        _together(experiment, frame, "mu", axes[1, 0])
        axes[1, 0].get_legend().remove()
        axes[1, 0].set(xlabel="epoch", ylabel="mu (rank)", xlim=(0, None), ylim=(0, None))
    top.legend(title=None)
    return figure


def _together(experiment: Experiment, frame: pd.DataFrame, panel: str, ax: Axes) -> None:
    palette = style.colours(list(experiment.labels.values()))
    markers = dict(zip(palette, cycle(style.MARKERS), strict=False))
    sns.lineplot(
        frame[frame.panel == panel], x="x", y="y", hue="schedule", style="schedule", palette=palette, markers=markers,
        hue_order=[label for label in palette if label in set(frame.schedule)], dashes=False, ms=4, errorbar=style.band,
        seed=0, ax=ax,
    )  # fmt: skip


def _panels(experiment: Experiment, frame: pd.DataFrame) -> Figure:
    cells = [cell for cell in experiment.labels if cell in set(frame.cell) and baseline_of(experiment, cell) != cell]
    curves = {cell: _mean_curve(group) for cell, group in frame.groupby("cell")}
    lowest, highest = (
        min(curve.low.min() for curve in curves.values()),
        max(curve.high.max() for curve in curves.values()),
    )
    limits = (0, frame.x.max()), (lowest - 3, min(highest + 3, TOP))
    figure, axes = style.panels(len(cells), height=1.5, limits=limits, words="optimizer step")
    for ax, cell in zip(axes, cells, strict=True):
        for name, colour in ((baseline_of(experiment, cell), "0.55"), (cell, sns.color_palette("colorblind")[0])):
            if name in curves:
                curve = curves[name]
                ax.fill_between(curve.index, curve.low, curve.high, color=colour, alpha=0.2, lw=0)
                ax.plot(curve.index, curve["mean"], color=colour)
        _targets(experiment, ax)
        style.panel_title(ax, experiment.labels[cell])
    figure.supylabel("held-out accuracy (%)", fontsize=8)
    figure.suptitle(f"{style.title(experiment, frame)}; grey: baseline", x=0.01, ha="left", fontsize=9)
    return figure


def _mean_curve(runs: pd.DataFrame) -> pd.DataFrame:
    """A row a step: mean over seeds, low, high."""
    rows = {x: (values.mean(), *style.band(values.tolist())) for x, values in runs.groupby("x").y}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])


def _targets(experiment: Experiment, ax: Axes) -> None:
    for target in experiment.targets:
        ax.axhline(100 * target, color="0.75", lw=0.7, ls=":", zorder=0)
