"""What a row of the leaderboard opens: a method's mean curves, and how its draws went, each beside the baseline's."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.leaderboard import families
from analysis.runs import RUN, Runs
from gainrl.runs.experiment import Experiment

POINTS = 30
"""Of a curve, at most."""
ACCURACY, ROLLOUTS = "held-out accuracy, % against step", "held-out accuracy, % against thousands of rollouts"
PASS_RATE, FLAT = "pass rate of the drawn problems, % against step", "drawn without a gradient, % against step"
RANK = "median rank of the drawn problems against step"

Curve = list[list[float]]


def method_details(experiment: Experiment, runs: Runs) -> dict[str, Any]:
    """``curves``: cell -> caption -> [[x, y], ...], means over seeds; ``baselines``: cell -> the one it is compared with."""
    accuracy = dict(iter(runs.headline.groupby("cell", sort=False)))
    draws = dict(iter(runs.draws.groupby("cell", sort=False)))
    members = {cell: family.baseline for family in families(experiment) for cell in family.cells.values()}
    curves = {
        cell: _accuracies(accuracy[cell]) | (_draws(experiment, cell, draws[cell]) if cell in draws else {})
        for cell in members
        if cell in accuracy
    }
    return {
        "curves": curves,
        "baselines": {cell: baseline for cell, baseline in members.items() if cell in curves},
        "labels": {cell: experiment.labels[cell] for cell in curves},
    }


def _accuracies(accuracy: pd.DataFrame) -> dict[str, Curve]:
    """Evaluations of runs are at steps of their own: the mean is of the lines between them, as far as all have come."""
    by_seed = [run for _, run in accuracy.groupby("seed")]
    result = {}
    for caption, cost, unit in ((ACCURACY, "step", 1), (ROLLOUTS, "rollouts", 1000)):
        grid = np.linspace(0, min(run[cost].iloc[-1] for run in by_seed), POINTS)
        mean = np.mean([np.interp(grid, run[cost], run.accuracy) for run in by_seed], axis=0)
        result[caption] = _curve(grid / unit, 100 * mean)
    return result


def _draws(experiment: Experiment, cell: str, draws: pd.DataFrame) -> dict[str, Curve]:
    """An epoch's values stand where it ends; epochs are taken together in `POINTS` blocks at most."""
    training = experiment.cells[cell].training
    trained = draws.dropna(subset="pass_rate")
    flat = trained.assign(flat=trained.pass_rate.isin((0, 1)))
    epochs = (
        flat.groupby([*RUN, "epoch"]).agg(rate=("pass_rate", "mean"), flat=("flat", "mean")).groupby("epoch").mean()
    )
    steps = (epochs.index.to_numpy() + 1) * training.prompts_per_epoch / training.prompts_per_step
    curves = {
        PASS_RATE: _blocks(steps, 100 * epochs.rate.to_numpy()),
        FLAT: _blocks(steps, 100 * epochs.flat.to_numpy()),
    }
    if trained["rank"].notna().any():
        medians = trained.astype({"rank": float}).groupby("epoch")["rank"].median()
        curves[RANK] = _blocks(steps, medians.to_numpy())
    return {caption: curve for caption, curve in curves.items() if curve}


def _blocks(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Curve:
    if not len(x):
        return []
    places = np.array_split(np.arange(len(x)), min(POINTS, len(x)))
    return _curve(np.array([x[place[-1]] for place in places]), np.array([y[place].mean() for place in places]))


def _curve(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Curve:
    return [[float(f"{a:.4g}"), float(f"{b:.4g}")] for a, b in zip(x, y, strict=True)]
