"""What tests share beside fixtures: the command line, small experiments, runs in this process."""

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import load_experiment
from gainrl.cli import main
from gainrl.launch import Debug, run_all
from gainrl.launch.outcome import Failure
from gainrl.models.loading import LoadedModel
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Experiment
from gainrl.runs.plan import plan_runs

TIMES = ["seconds", "choosing_seconds"]
"""Columns of metrics.jsonl that differ between equal runs."""


def metrics_row(step: int, **values: float) -> dict[str, float]:
    """A row of metrics.jsonl."""
    row = {"step": step, "epoch": 0, "seconds": 0.5, "problems_seen": step, "completion_tokens": step, "accuracy": 0.5}
    return row | values


def evals_row(step: int, value: float = 0.5, benchmark: str = "a") -> dict[str, object]:
    """A row of evals.jsonl."""
    return {"step": step, "benchmark": benchmark, "metric": "accuracy", "value": value, "stderr": 0.02, "n": 600}


def small_experiment(
    tiny: LoadedModel, folder: Path, *, steps: int = 4, cells: tuple[str, ...] = ("grpo", "gainrl")
) -> Experiment:
    """Cells of the quickstart that start from a random model in a folder, so that no process has to warm one up."""
    tiny.model.save_pretrained(folder / "model")
    tiny.tokenizer.save_pretrained(folder / "model")
    whole = load_experiment("quickstart")
    return Experiment(
        name="small",
        title="A small experiment",
        cells={name: _shrink(whole.cells[name], str(folder / "model"), steps) for name in cells},
        labels={name: whole.labels[name] for name in cells},
        baseline="grpo",
        targets=(0.5,),
    )


def _shrink(run: RunConfig, model: str, steps: int) -> RunConfig:
    changes = {
        "model": {"name": model},
        "problems": {"train": "arithmetic", "heldout": ["arithmetic"], "train_size": 12, "heldout_size": 8},
        "training": run.training.model_dump()
        | {"steps": steps, "prompts_per_step": 2, "generations": 2, "prompts_per_epoch": 4, "max_completion_tokens": 4},
        "evaluation": {"every": 3, "max_completion_tokens": 4},
    }
    return RunConfig.model_validate({**run.model_dump(), **changes})


def run_experiment(
    experiment: Experiment, *, cells: Sequence[str], seeds: Sequence[int], runs_dir: Path, overwrite: bool = False
) -> list[Failure]:
    """Every (seed, cell) in this process, one after the other."""
    return run_all(plan_runs(experiment, cells=cells, seeds=seeds, runs_dir=runs_dir, overwrite=overwrite), Debug())


def gainrl(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    monkeypatch.setattr(sys, "argv", ["gainrl", *arguments])
    try:
        main()
        code = 0
    except SystemExit as exit_:
        code = exit_.code
    out, err = capsys.readouterr()
    return code, out, err


def shrink(run: RunConfig) -> RunConfig:
    changes = {
        "problems": {"train": "arithmetic", "heldout": ["arithmetic"], "train_size": 12, "heldout_size": 8},
        "training": run.training.model_dump()
        | {"steps": 4, "prompts_per_step": 2, "generations": 2, "prompts_per_epoch": 4, "max_completion_tokens": 4},
        "evaluation": {"every": 3, "max_completion_tokens": 4},
    }
    return RunConfig.model_validate({**run.model_dump(), **changes})
