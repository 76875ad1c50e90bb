"""Accuracy against step for every schedule, and below it where each sliding schedule stood: mu against epoch."""

from itertools import cycle

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.runs import Runs, accuracy_curves, training_curves
from gainrl.config import Experiment
from gainrl.stats import FEWEST_SEEDS
from paper_figures import style


def data(experiment: Experiment, runs: Runs) -> pd.DataFrame:
    """Columns panel (accuracy | mu), x (step | epoch), y, schedule, seed."""
    accuracy = accuracy_curves(runs).rename(columns={"step": "x", "accuracy": "y"}).assign(panel="accuracy")
    panels = [accuracy.assign(y=100 * accuracy.y)]
    training = training_curves(runs)
    if "mu" in training:
        mu = training.dropna(subset="mu").drop_duplicates(["cell", "seed", "epoch"])
        panels.append(mu.rename(columns={"epoch": "x", "mu": "y"}).assign(panel="mu"))
    frame = pd.concat(panels, ignore_index=True)
    return frame.assign(schedule=frame.cell.map(experiment.labels))[["panel", "x", "y", "schedule", "seed"]]


def plot(experiment: Experiment, frame: pd.DataFrame) -> Figure:
    """Mean over seeds, with a 95 % bootstrap interval where there are three or more."""
    style.use()
    palette = style.colours(list(experiment.labels.values()))
    seeds = frame.seed.nunique()
    band = ("ci", 95) if seeds >= FEWEST_SEEDS else None
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(style.COLUMN_INCHES, 5.0), height_ratios=(3, 1.4), constrained_layout=True
    )
    common = {"x": "x", "y": "y", "hue": "schedule", "palette": palette, "errorbar": band, "seed": 0}
    markers = dict(zip(palette, cycle("os^DvPX*"), strict=False))
    sns.lineplot(
        frame[frame.panel == "accuracy"], **common, style="schedule", markers=markers, dashes=False, ms=4, ax=top
    )
    for target in experiment.targets:
        top.axhline(100 * target, color="0.75", lw=0.7, ls=":", zorder=0)
    top.set(xlabel="optimizer step", ylabel="held-out accuracy, greedy (%)", xlim=(0, None))
    top.legend(title=None)
    top.set_title(f"{experiment.title} ({seeds} seed{'s' if seeds > 1 else ''})", loc="left")

    sns.lineplot(
        frame[frame.panel == "mu"],
        **common,
        style="schedule",
        markers=markers,
        dashes=False,
        ms=4,
        ax=bottom,
        legend=False,
    )
    bottom.set(xlabel="epoch", ylabel="mu (rank)", xlim=(0, None), ylim=(0, None))
    return figure
