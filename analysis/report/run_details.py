"""What the page shows of single runs, small enough for a thousand of them."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import RUN, Runs
from gainrl.runs.experiment import Experiment

MOST_POINTS = 60
"""Of a training curve; longer ones are averaged in blocks."""
CURVES = ("accuracy", "mu", "target")
"""Columns of metrics.jsonl that are drawn, where they are."""


def run_details(experiment: Experiment, runs: Runs) -> dict[str, Any]:
    """``configs`` and ``environments``, each once, and ``runs`` that point to them: JSON for the page's script."""
    configs, environments = _Once(), _Once()
    evaluations = dict(iter(runs.evaluations[runs.evaluations.metric == "accuracy"].groupby(RUN)))
    training = dict(iter(runs.training.groupby(RUN)))
    rows = [
        {
            "cell": experiment.labels[cell],
            "seed": seed,
            "hash": run.hash,
            "config": configs.place({**run.read_json("config.json"), "seed": None}),
            "environment": environments.place(run.read_json("environment.json")),
            "evaluations": _evaluations(evaluations[cell, seed]),
            "training": _training(training[cell, seed]),
        }
        for cell, by_seed in runs.items()
        for seed, run in by_seed.items()
    ]
    return {"configs": configs.kept, "environments": environments.kept, "runs": rows}


class _Once:
    """Values, each kept once and known by its place."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.kept)
            self.kept.append(value)
        return self._places[key]


def _evaluations(accuracy: pd.DataFrame) -> dict[str, list[list[float]]]:
    """Benchmark -> [step, accuracy in percent], ..."""
    return {
        str(name): [
            [step, round(100 * value, 2)] for step, value in zip(group.step.tolist(), group["value"], strict=True)
        ]
        for name, group in accuracy.groupby("benchmark", sort=False)
    }


def _training(metrics: pd.DataFrame) -> dict[str, list[list[float]]]:
    """Curve -> [step, value], ...; accuracy in percent."""
    blocks = np.array_split(np.arange(len(metrics)), min(MOST_POINTS, len(metrics)))
    steps = metrics.step.to_numpy()
    curves = {}
    for name in CURVES:
        if name in metrics and metrics[name].notna().all():
            values = metrics[name].to_numpy(dtype=float) * (100 if name == "accuracy" else 1)
            curves[name] = [[int(steps[block[-1]]), float(f"{values[block].mean():.4g}")] for block in blocks]
    return curves
