"""From run folders to data frames."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from gainrl.config import Experiment
from gainrl.errors import InputError
from gainrl.records import RunFolder

Runs = dict[str, dict[int, RunFolder]]
"""cell -> seed -> finished run"""


def finished_runs(experiment: Experiment, root: Path) -> Runs:
    """The finished runs of an experiment under ``root`` (runs or results), cells in the experiment's order.

    Raises InputError if there is none.
    """
    runs: Runs = {}
    for cell in experiment.cells:
        folders = {
            int(path.name.removeprefix("seed-")): path for path in (root / experiment.name / cell).glob("seed-*")
        }
        finished = {seed: RunFolder(folders[seed]) for seed in sorted(folders)}
        runs[cell] = {seed: run for seed, run in finished.items() if run.status()[0] == "finished"}
    if not any(runs.values()):
        raise InputError(
            f"no finished run of {experiment.name} under {root}; gainrl reproduce {experiment.name} makes them"
        )
    return runs


def common_seeds(runs: Runs) -> list[int]:
    """Seeds that every cell with a finished run has: what comparisons are paired on."""
    return sorted(set.intersection(*(set(by_seed) for by_seed in runs.values() if by_seed)))


def accuracy_curves(runs: Runs) -> pd.DataFrame:
    """A row a (cell, seed, evaluated step): accuracy, stderr, and the problems and completion tokens spent by then."""
    return _stack(runs, _accuracy_curve)


def training_curves(runs: Runs) -> pd.DataFrame:
    """A row a (cell, seed, optimizer step): what metrics.jsonl holds."""
    return _stack(runs, RunFolder.metrics)


def _accuracy_curve(run: RunFolder) -> pd.DataFrame:
    evals = run.evals()
    accuracy = evals[evals.metric == "accuracy"][["step", "value", "stderr", "n"]].rename(columns={"value": "accuracy"})
    spent = run.metrics()[["step", "problems_seen", "completion_tokens"]]
    return accuracy.merge(spent, on="step", how="left").fillna({"problems_seen": 0, "completion_tokens": 0})


def _stack(runs: Runs, read: Callable[[RunFolder], pd.DataFrame]) -> pd.DataFrame:
    frames = [read(run).assign(cell=cell, seed=seed) for cell, by_seed in runs.items() for seed, run in by_seed.items()]
    return pd.concat(frames, ignore_index=True)
