"""Held-out accuracy of each kind of problem against optimizer step: which skill a schedule trained when."""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.kinds import accuracy_by_kind
from analysis.runs import Runs
from gainrl.runs.experiment import Experiment
from paper_figures import learning_curves, style

MOST_CELLS = 6
"""More lines than that in one panel cannot be told apart."""


def data(experiment: Experiment, runs: Runs) -> pd.DataFrame:
    """Columns benchmark, kind, cell, schedule (its label), seed, step, accuracy in percent; of benchmarks with few cells."""
    accuracy = accuracy_by_kind(runs)
    few = accuracy.groupby("benchmark").cell.transform("nunique") <= MOST_CELLS
    grids = [
        learning_curves.on_one_grid(curves).assign(benchmark=str(benchmark), kind=str(kind))
        for (benchmark, kind), curves in accuracy[few].groupby(["benchmark", "kind"], sort=False)
    ]
    if not grids:
        return pd.DataFrame()
    frame = pd.concat(grids, ignore_index=True)
    return frame.assign(schedule=frame.cell.map(experiment.labels), accuracy=100 * frame.accuracy)


def plot(experiment: Experiment, frame: pd.DataFrame) -> Figure:
    """A panel a kind, a line a cell: mean over seeds. One benchmark."""
    style.use()
    kinds = list(frame.kind.unique())
    limits = (0, frame.step.max()), (0, learning_curves.TOP)
    figure, axes = style.panels(len(kinds), height=1.3, limits=limits, words="optimizer step")
    labels = [label for label in experiment.labels.values() if label in set(frame.schedule)]
    palette = style.colours(list(experiment.labels.values()))
    for ax, kind in zip(axes, kinds, strict=True):
        sns.lineplot(
            frame[frame.kind == kind], x="step", y="accuracy", hue="schedule", palette=palette, hue_order=labels,
            errorbar=None, legend=False, ax=ax,
        )  # fmt: skip
        ax.set(xlabel=ax.get_xlabel() and "optimizer step", ylabel="")
        style.panel_title(ax, kind)
    lines = [Line2D([], [], color=palette[label]) for label in labels]
    figure.legend(lines, labels, loc="outside lower center", ncols=2, fontsize=7)
    figure.supylabel("held-out accuracy, greedy (%)", fontsize=8)
    title = f"{frame.benchmark.iloc[0]} by kind, mean over {style.seeds_of(frame)}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure
