"""The report page over more and more runs: seconds from run folders to the HTML file.

Run folders are made up (what is in them has a real run's size); making them is not counted.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from rich.progress import track

from experiments import load_experiment
from gainrl.cli.reporting import write_report
from gainrl.rng import generator
from gainrl.runs.experiment import Experiment
from gainrl.runs.records import RunFolder, environment
from speed.report import publish

MODELS = 5
STEPS, EVERY, DRAWN, EPOCHS = 120, 5, 64, 30


def made_up(name: str) -> Experiment:
    """An experiment of twenty cells: quickstart's four schedules on five models."""
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


def write_runs(plan: Experiment, seeds: int, root: Path, machine: dict[str, object]) -> None:
    for number, (cell, run) in enumerate(plan.cells.items()):
        sliding = run.schedule.name == "gaussian"
        for seed in range(seeds):
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
            fixed = {"seconds": 0.4, "reward": 0.5, "accuracy": 0.5, "angle": 0.3, "loss": 0.01, "grad_norm": 0.2}
            metrics = [
                {
                    "step": step,
                    "epoch": step // 4,
                    "problems_seen": 16 * step,
                    "completion_tokens": 2000 * step,
                    **fixed,
                }
                | ({"mu": 6.0 * step} if sliding else {})
                for step in range(1, STEPS + 1)
            ]
            for name, rows in (("evals.jsonl", evals), ("metrics.jsonl", metrics)):
                (folder.path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
            folder.write_draws(_draws(rng, sliding))
            folder.finish()


def _draws(rng: np.random.Generator, sliding: bool) -> pd.DataFrame:
    epoch = np.repeat(np.arange(EPOCHS), DRAWN)
    rank = np.clip(rng.normal(25 * epoch, 64), 0, 1023).astype(int)
    frame = {
        "epoch": epoch,
        "problem_id": [f"problem {n}" for n in rank],
        "rank": pd.array(rank if sliding else [None] * 1920, dtype="Int64"),
    }
    return pd.DataFrame({**frame, "pass_rate": rng.random(len(rank)), "angle": rng.random(len(rank))})


def _cpu_seconds() -> float:
    """Of this process and those that it waited for."""
    return sum(os.times()[:4])


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1))


def main(seeds: tuple[int, ...] = (5, 10, 25, 50), experiments: int = 10) -> None:
    """Measure and publish.

    Args:
        seeds: Of every cell of the one experiment that a page is about; twenty cells.
        experiments: Of as many runs together as the largest of those pages has, on one more page.
    """
    machine, rows = environment(), []
    several = [(made_up(f"part_{number}"), max(seeds) // experiments) for number in range(experiments)]
    pages = [[(made_up(f"seeds_{number}"), number)] for number in sorted(seeds)] + [several]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, parts in enumerate(track(pages, description="pages")):
            for plan, of in parts:
                write_runs(plan, of, root, machine)
            plans = [plan for plan, _ in parts]
            if not number:
                write_report(plans, root, root / "warm.html")
            began, used = time.perf_counter(), _cpu_seconds()
            size = write_report(plans, root, root / "report.html").stat().st_size
            seconds, used = time.perf_counter() - began, _cpu_seconds() - used
            runs = sum(of * len(plan.cells) for plan, of in parts)
            rows.append({"experiments": len(plans), "runs": runs, "seconds": seconds, "CPU seconds": used,
                         "CPU milliseconds a run": 1000 * used / runs, "page, MiB": size / 2**20})  # fmt: skip
    note = (
        f"{4 * MODELS} cells an experiment, {STEPS} steps a run. What is left where there are few runs are the figures."
    )
    publish("report_page", "The report page over many runs", pd.DataFrame(rows), note)


if __name__ == "__main__":
    tyro.cli(main)
