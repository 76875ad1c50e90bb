"""The report page over more and more runs: seconds from run folders to the HTML file.

Run folders are made up (their content has a real run's size), quickstart's four schedules for several models, five seeds each;
the page has an experiment for every hundred runs. Making the folders is not counted.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from rich.progress import track

from experiments.base import load_experiment
from gainrl.cli.reporting import write_report
from gainrl.config import Experiment
from gainrl.records import RunFolder, environment
from gainrl.seeding import generator
from speed.report import publish

SEEDS, MODELS = 5, 5
STEPS, EVERY, DRAWN, EPOCHS = 120, 5, 64, 30


def made_up(name: str) -> Experiment:
    """An experiment of a hundred runs: quickstart's four schedules on five models."""
    plan = load_experiment("quickstart")
    cells = {
        f"{model}-{cell}": run.model_copy(update={"model": run.model.model_copy(update={"name": f"model {model}"})})
        for model in range(MODELS)
        for cell, run in plan.cells.items()
    }
    labels = {
        f"{model}-{cell}": f"Model {model}, {label}" for model in range(MODELS) for cell, label in plan.labels.items()
    }
    update = {"name": name, "title": f"Made-up runs, {name}", "cells": cells, "labels": labels, "baseline": "0-grpo"}
    return plan.model_copy(update=update)


def write_runs(plan: Experiment, root: Path, machine: dict[str, object]) -> None:
    for number, (cell, run) in enumerate(plan.cells.items()):
        for seed in range(SEEDS):
            folder = RunFolder(root / plan.name / cell / f"seed-{seed}")
            folder.path.mkdir(parents=True)
            rng = generator(seed, f"{plan.name} {cell}")
            slow = (20 + 5 * (number % 4)) * float(np.exp(rng.normal(0, 0.2)))
            _write_json(folder.path / "config.json", run.with_seed(seed).model_dump(mode="json"))
            _write_json(folder.path / "environment.json", machine)
            evals = [
                {"step": step, "benchmark": "arithmetic", "metric": "accuracy", "stderr": 0.02, "n": 600, "truncated": 0.0,
                 "unparseable": 0.0, "value": 0.9 - 0.6 * float(np.exp(-step / slow))}
                for step in range(0, STEPS + 1, EVERY)
            ]  # fmt: skip
            metrics = [
                {"step": step, "epoch": step // 4, "seconds": 0.4, "problems_seen": 16 * step, "completion_tokens": 2000 * step,
                 "reward": 0.5, "accuracy": 0.5, "angle": 0.3, "loss": 0.01, "grad_norm": 0.2, "mu": 6.0 * step}
                for step in range(1, STEPS + 1)
            ]  # fmt: skip
            for name, rows in (("evals.jsonl", evals), ("metrics.jsonl", metrics)):
                (folder.path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
            folder.write_draws(_draws(rng))
            folder.finish()


def _draws(rng: np.random.Generator) -> pd.DataFrame:
    epoch = np.repeat(np.arange(EPOCHS), DRAWN)
    rank = np.clip(rng.normal(25 * epoch, 64), 0, 1023).astype(int)
    frame = {"epoch": epoch, "problem_id": [f"problem {n}" for n in rank], "rank": pd.array(rank, dtype="Int64")}
    return pd.DataFrame({**frame, "pass_rate": rng.random(len(rank)), "angle": rng.random(len(rank))})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def main(runs: tuple[int, ...] = (100, 200, 500, 1000)) -> None:
    """Measure and publish.

    Args:
        runs: How many runs the page is about; multiples of 100.
    """
    machine, plans = environment(), [made_up(f"made_up_{number}") for number in range(max(runs) // 100)]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for plan in track(plans, description="run folders"):
            write_runs(plan, root, machine)
        write_report(plans[:1], root, root / "warm.html")
        for number in track(sorted(runs), description="pages"):
            began = time.perf_counter()
            path = write_report(plans[: number // 100], root, root / "report.html")
            seconds = time.perf_counter() - began
            size = path.stat().st_size / 2**20
            rows.append(
                {"runs": number, "seconds": seconds, "milliseconds a run": 1000 * seconds / number, "page, MiB": size}
            )
    note = f"{SEEDS} seeds a cell, {4 * MODELS} cells an experiment, an experiment for every 100 runs; {STEPS} steps a run."
    publish("report_page", "The report page over many runs", pd.DataFrame(rows), note)


if __name__ == "__main__":
    tyro.cli(main)
