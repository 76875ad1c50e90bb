"""From run folders to data frames."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from gainrl.config import Experiment
from gainrl.errors import InputError
from gainrl.records import RunFolder

Runs = dict[str, dict[int, RunFolder]]
"""cell -> seed -> finished run"""
MEAN = "mean of the benchmarks"
"""Stands for a benchmark where there are several."""


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


def baseline_of(experiment: Experiment, cell: str) -> str:
    """The cell that another is compared with: the experiment's, or the one of its kind for the same model and training set."""

    def setting(name: str) -> tuple[str, str]:
        return experiment.cells[name].model.name, experiment.cells[name].problems.train

    kind = experiment.cells[experiment.baseline].schedule
    alike = [name for name, run in experiment.cells.items() if setting(name) == setting(cell) and run.schedule == kind]
    return experiment.baseline if experiment.baseline in alike or not alike else alike[0]


def accuracy_curves(runs: Runs) -> pd.DataFrame:
    """A row a (cell, seed, benchmark, evaluated step): accuracy, stderr, n, and what was spent by then.

    Spent are problems_seen, completion_tokens and training_seconds. Where a run has several benchmarks there is one more,
    `MEAN`, the plain mean over them.
    """
    return _stack(runs, _accuracy_curve)


def training_curves(runs: Runs) -> pd.DataFrame:
    """A row a (cell, seed, optimizer step): what metrics.jsonl holds."""
    return _stack(runs, RunFolder.metrics)


def drawn_problems(runs: Runs) -> pd.DataFrame:
    """A row a (cell, seed, drawn problem): what draws.parquet holds."""
    return _stack(runs, RunFolder.draws)


def read_json(run: RunFolder, name: str) -> dict[str, Any]:
    """config.json or environment.json as it stands, also where another version of the suite wrote it."""
    values: dict[str, Any] = json.loads((run.path / name).read_text())
    return values


def shares_problems(by_seed: dict[int, RunFolder], benchmark: str) -> bool:
    """Whether the seeds are asked the same problems; yes where the runs do not tell, as it gives the wider interval."""
    names = [benchmark] if benchmark != MEAN else None
    prints = []
    for run in by_seed.values():
        known = read_json(run, "environment.json").get("inputs", {}).get("heldout", {})
        prints.append(tuple(known.get(name, {}).get("fingerprint") for name in names or sorted(known)))
    return len(set(prints)) < len(prints) or any(None in one for one in prints)


def _accuracy_curve(run: RunFolder) -> pd.DataFrame:
    evals = run.evals()
    accuracy = evals[evals.metric == "accuracy"][["benchmark", "step", "value", "stderr", "n"]]
    accuracy = accuracy.rename(columns={"value": "accuracy"})
    if (benchmarks := accuracy.benchmark.nunique()) > 1:
        accuracy = pd.concat([accuracy, _mean_over_benchmarks(accuracy, benchmarks)])
    metrics = run.metrics()
    spent = metrics[["step", "problems_seen", "completion_tokens"]].assign(training_seconds=metrics.seconds.cumsum())
    costs = dict.fromkeys(spent.columns.drop("step"), 0)
    return accuracy.merge(spent, on="step", how="left").fillna(costs).sort_values(["benchmark", "step"])


def _mean_over_benchmarks(accuracy: pd.DataFrame, benchmarks: int) -> pd.DataFrame:
    """Steps at which all were asked; the standard error of a mean of independent accuracies."""
    squared = accuracy.assign(stderr=accuracy.stderr**2).groupby("step", as_index=False)
    mean = squared.agg(accuracy=("accuracy", "mean"), stderr=("stderr", "sum"), n=("n", "sum"), asked=("n", "size"))
    mean = mean[mean.asked == benchmarks].drop(columns="asked")
    return mean.assign(benchmark=MEAN, stderr=mean.stderr**0.5 / benchmarks)


def _stack(runs: Runs, read: Callable[[RunFolder], pd.DataFrame]) -> pd.DataFrame:
    frames = [read(run).assign(cell=cell, seed=seed) for cell, by_seed in runs.items() for seed, run in by_seed.items()]
    return pd.concat(frames, ignore_index=True)
