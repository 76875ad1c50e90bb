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


def runs_folder(given: Path | None, scale: str = "tiny") -> Path:
    """Where runs work; those of another scale than tiny have a folder of their own there, unless one is given."""
    return given or of_scale(Path(os.environ.get("GAINRL_RUNS") or "runs"), scale)


def of_scale(folder: Path, scale: str) -> Path:
    """The same cells at another scale are other runs."""
    return folder if scale == "tiny" else folder / scale


def load_plan(experiment: str, scale: str) -> "Experiment":
    """An experiment by name."""
    from experiments.base import load_experiment

    return load_experiment(experiment, scale)
