"""What the commands share: the app that they are entered in, and what several of them take."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from gainrl.config import Experiment

app = tyro.extras.SubcommandApp()

Name = tyro.conf.Positional[str]
RunsDir = Annotated[Path | None, tyro.conf.arg(help="Where runs work. Default: $GAINRL_RUNS, or runs/ here.")]


def runs_folder(given: Path | None) -> Path:
    """Where runs work."""
    return given or Path(os.environ.get("GAINRL_RUNS") or "runs")


def load_plan(experiment: str, scale: str) -> "Experiment":
    """An experiment by name."""
    from experiments.base import load_experiment

    return load_experiment(experiment, scale)
