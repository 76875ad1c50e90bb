"""Steps to each target, a bar a cell and target; a run that never reached it counts as longer than its bar is."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.comparison import when_reached
from analysis.runs import Runs
from gainrl.runs.experiment import Experiment
from gainrl.statistics import Reached, summarize_reached
from paper_figures import style


def data(experiment: Experiment, runs: Runs) -> pd.DataFrame:
    """Columns cell, schedule (its label), target, seed, steps, censored, grid; by the mean of several benchmarks."""
    rows = []
    curves: Iterable[Any] = runs.headline.groupby(["cell", "seed"])
    for (cell, seed), curve in curves:
        for target in experiment.targets:
            when = when_reached(curve, "steps", target)
            rows.append((cell, experiment.labels[cell], target, seed, when.at, when.censored, when.grid))
    return pd.DataFrame(rows, columns=["cell", "schedule", "target", "seed", "steps", "censored", "grid"])


def plot(experiment: Experiment, frame: pd.DataFrame) -> Figure:
    """Bars: mean over seeds; lines: 95 % intervals; dots: seeds, arrows those that never reached the target."""
    style.use()
    labels = [label for label in experiment.labels.values() if label in set(frame.schedule)]
    targets = sorted(set(frame.target))
    figure, ax = plt.subplots(figsize=(style.COLUMN_INCHES, 1.0 + 0.42 * len(labels)), layout="constrained")
    shades = sns.color_palette("crest", len(targets))
    height = 0.8 / len(targets)
    for place, (target, shade) in enumerate(zip(targets, shades, strict=True)):
        mine = frame[frame.target == target]
        y = mine.schedule.map(labels.index) + (place - (len(targets) - 1) / 2) * height
        _bars(ax, mine.assign(y=y), 0.9 * height, shade)
    ax.set(yticks=range(len(labels)), yticklabels=labels, xlabel="optimizer steps", xlim=(0, None))
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    keys = [Patch(color=shade, label=f"to {100 * target:.0f} %") for target, shade in zip(targets, shades, strict=True)]
    if frame.censored.any():
        keys.append(
            Patch(
                facecolor="white", edgecolor="0.4", hatch="////", label="at least: not reached by every seed (arrows)"
            )
        )
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), fontsize=7)
    figure.suptitle(f"Steps to target accuracy ({style.seeds_of(frame)})", x=0.01, ha="left", fontsize=9)
    return figure


def _bars(ax: Axes, runs: pd.DataFrame, height: float, shade: tuple[float, float, float]) -> None:
    """One target's; ``runs`` has a row a run, with the place ``y`` of its cell's bar."""
    whole: list[tuple[Any, ...]] = []
    bound: list[tuple[Any, ...]] = []
    for y, mine in runs.groupby("y"):
        reached = [Reached(*run) for run in zip(mine.steps, mine.censored, mine.steps, mine.grid, strict=True)]
        summary = summarize_reached(reached)
        (bound if summary.censored else whole).append((y, summary.mean, summary.low, summary.high))
    if whole:
        places, means, lows, highs = zip(*whole, strict=True)
        ax.barh(places, means, height, lw=0.8, color=shade)
        for place, low, high in zip(places, lows, highs, strict=True):
            if low is not None:
                ax.plot([low, high], [place, place], color="black", lw=1)
    if bound:
        places, means, *_ = zip(*bound, strict=True)
        ax.barh(places, means, height, lw=0.8, hatch="////", color="white", edgecolor=shade)
    whole_runs = runs[~runs.censored]
    ax.plot(whole_runs.steps, whole_runs.y, "o", ms=2.2, color="black", mfc="white", mew=0.6)
    if len(never := runs[runs.censored]):
        ax.plot(never.steps, never.y, ">", ms=3.5, color="black", clip_on=False)
