"""What the order costs: the time to score a run's training problems once, against the time of its optimizer steps."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.cells import assemble, cell, methods
from gainrl.config import Experiment

if TYPE_CHECKING:
    from gainrl.config import RunConfig
    from gainrl.records import Report

REPEATS = 3
"""Scorings, of which the median counts."""


def experiment(scale: str = "tiny") -> Experiment:
    cells = {
        name: (label, cell(scale, schedule)) for name, (label, schedule) in methods(scale).items() if name != "adarft"
    }
    return assemble(scale, "scoring_cost", "Cost of the order", cells, baseline="grpo")


def follow_up(plan: Experiment, runs_dir: Path, report: "Report") -> str:
    """A row a finished run in <experiment>/scoring.csv and .md: scoring on this machine beside the run's own steps."""
    import pandas as pd

    from experiments.measurements import DEVICE, each_run
    from gainrl.records import write_atomically

    folder = runs_dir / plan.name
    path = folder / "scoring.csv"
    finished = {row["run"]: row for row in pd.read_csv(path).to_dict("records")} if path.exists() else {}
    rows: list[dict[str, Any]] = []
    for name, run, config in each_run(plan, runs_dir):
        if name not in finished:
            size, seconds = _seconds_of_scoring(config, runs_dir / "shared" / "models", report)
            of_step, of_all = run.metrics().seconds.median(), run.metrics().seconds.sum()
            finished[name] = {
                "run": name,
                "problems": size,
                "scoring (s)": seconds,
                "median step (s)": of_step,
                "scoring in steps": seconds / of_step,
                "share of all steps (%)": 100 * seconds / of_all,
            }
        rows.append(finished[name])
    table = pd.DataFrame(rows)
    text = (
        f"{table.to_markdown(index=False, floatfmt='.3g')}\n\nScoring: median of {REPEATS} in one process on this machine's "
        f"{DEVICE}; steps as the runs recorded them, evaluation apart.\n"
    )
    write_atomically(path, lambda file: table.to_csv(file, index=False))
    write_atomically(folder / "scoring.md", lambda file: file.write_text(text))
    return f"{text}\n{folder / 'scoring.md'}"


def _seconds_of_scoring(config: "RunConfig", cache: Path, report: "Report") -> tuple[int, float]:
    """Number of problems, and seconds from the loaded model to all scores."""
    import numpy as np
    import torch

    from experiments.measurements import load_of_run
    from gainrl.probe import score_problems
    from gainrl.train import training_problems

    loaded = load_of_run(config, config.model.name, cache)
    problems, seconds = training_problems(config, loaded), []
    for repeat in range(REPEATS):
        report("timing the scoring", repeat, REPEATS)
        began = time.perf_counter()
        score_problems(loaded.model, loaded.tokenizer, problems, config.prompt, signal=config.signal)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return len(problems), float(np.median(seconds))
