"""Runs on their way: planned, estimated, trained here, in local processes or on Slurm, and watched."""

from collections.abc import Sequence
from pathlib import Path

from gainrl.config import Experiment
from gainrl.launch.bar import bar
from gainrl.launch.estimate import describe
from gainrl.launch.failure import Failure
from gainrl.launch.launchers import Debug, Launcher, Local
from gainrl.launch.plan import Run, plan_runs, run_path
from gainrl.launch.run import run_all, train_here
from gainrl.launch.slurm import Slurm

__all__ = [
    "Debug",
    "Failure",
    "Launcher",
    "Local",
    "Run",
    "Slurm",
    "bar",
    "describe",
    "plan_runs",
    "run_all",
    "run_experiment",
    "run_path",
    "train_here",
]


def run_experiment(
    experiment: Experiment, *, cells: Sequence[str], seeds: Sequence[int], runs_dir: Path, overwrite: bool = False
) -> list[Failure]:
    """Every (seed, cell) in this process, one after the other."""
    return run_all(plan_runs(experiment, cells=cells, seeds=seeds, runs_dir=runs_dir), Debug(), overwrite)
