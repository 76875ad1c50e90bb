"""The runs of an experiment: where they are stored, and which are still to be trained. Imports no torch.

A run is stored in ``shared/runs/<hash>``; ``<experiment>/<cell>/seed-<k>`` is a link to it, so equal cells share a run.
"""

import os
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gainrl.errors import InputError
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution, Experiment
from gainrl.runs.records import RunFolder, find_run
from gainrl.runs.verl import checkpoint_step

SEED = re.compile("0|[1-9][0-9]{0,9}")
"""A seed in a folder's name or an index: 32 bits have at most ten digits."""


def run_path(runs_dir: Path, experiment: str, cell: str, seed: int) -> Path:
    """The link to a run."""
    return runs_dir / experiment / cell / f"seed-{seed}"


def seed_paths(runs_dir: Path, experiment: str) -> dict[tuple[str, int], Path]:
    """(cell, seed) -> path of every folder, or link, where a run of an experiment belongs; sorted."""
    paths = sorted((runs_dir / experiment).glob("*/seed-*"))
    runs = [path for path in paths if SEED.fullmatch(path.name.removeprefix("seed-")) and not path.is_file()]
    return {(path.parent.name, int(path.name.removeprefix("seed-"))): path for path in runs}


def home_of(runs_dir: Path, run_hash: str) -> Path:
    """Where a run lies."""
    return runs_dir / "shared" / "runs" / run_hash


@dataclass(frozen=True)
class Run:
    """One seed of one cell; ``arguments`` are those of `gainrl train` beside experiment, cell and seed."""

    experiment: str
    cell: str
    seed: int
    config: RunConfig
    execution: Execution
    runs_dir: Path
    arguments: tuple[str, ...] = ()
    overwrite: bool = False
    """Train it again if it is finished, or cannot resume."""

    @cached_property
    def hash(self) -> str:
        return self.config.hash

    @property
    def path(self) -> Path:
        return run_path(self.runs_dir, self.experiment, self.cell, self.seed)

    @property
    def home(self) -> Path:
        """The folder that all runs of this config share."""
        return home_of(self.runs_dir, self.hash)

    @property
    def label(self) -> str:
        return f"{self.cell} seed {self.seed}"

    @property
    def train_arguments(self) -> list[str]:
        """The command line that trains this run in one process, after `gainrl`."""
        return [*self._named, "--runs-dir", str(self.runs_dir), *(["--overwrite"] if self.overwrite else [])]

    @property
    def _named(self) -> list[str]:
        return ["train", self.experiment, "--cell", self.cell, "--seed", str(self.seed), *self.arguments]

    @property
    def command(self) -> str:
        return shlex.join(["gainrl", *self.train_arguments])

    @property
    def record(self) -> str:
        """The same command without the runs folder, which is this machine's own; for environment.json."""
        return shlex.join(["gainrl", *self._named])

    def is_finished(self) -> bool:
        """Raises InputError: a finished run of another config is in the way."""
        return "finished" in (find_run(self.path, self.config), find_run(self.home, self.config))

    def checkpoint_step(self) -> int:
        """Step of the newest checkpoint, 0 if there is none."""
        if self.config.engine == "verl":
            return checkpoint_step(self.home) * self.config.training.steps_per_generation
        names = (path.name.removeprefix("checkpoint-") for path in (self.home / "checkpoints").glob("checkpoint-*"))
        return max((int(name) for name in names if name.isdecimal()), default=0)


def plan_runs(
    experiment: Experiment,
    *,
    cells: Sequence[str],
    seeds: Sequence[int],
    runs_dir: Path,
    arguments: Sequence[str] = (),
    overwrite: bool = False,
) -> list[Run]:
    """Every (seed, cell), seed by seed."""
    return [
        Run(
            experiment=experiment.name,
            cell=cell,
            seed=seed,
            config=experiment.cell(cell).with_seed(seed),
            execution=experiment.execution_of(cell),
            runs_dir=runs_dir,
            arguments=tuple(arguments),
            overwrite=overwrite,
        )
        for seed in seeds
        for cell in cells
    ]


def unfinished(runs: Iterable[Run]) -> list[Run]:
    """The runs that are still to be trained, one for all that have the same config.

    Raises InputError: a finished run of another config is in the way of one that does not overwrite.
    """
    todo = [run for run in runs if run.overwrite or not run.is_finished()]
    return list({run.hash: run for run in reversed(todo)}.values())[::-1]


def claim(run: Run) -> None:
    """Make the run's path a link to its home.

    Raises InputError: a folder that is no link is in the way; nothing in it is removed.
    """
    if run.path.is_dir() and not run.path.is_symlink():
        if not run.overwrite and RunFolder(run.path).status()[0] == "finished":
            return  # written there by an earlier version
        raise InputError(f"{run.path} is a folder where the link to a run belongs; move it away, then run this again")
    if run.path.is_file() and not run.path.is_symlink():
        raise InputError(f"{run.path} is a file where the link to a run belongs; move it away, then run this again")
    link(run.path, run.home)


def link(path: Path, home: Path) -> None:
    """Make ``path`` a link to the folder that all runs of a config share."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(home, path.parent))
    new.replace(path)


def sharers(runs_dir: Path) -> dict[str, list[str]]:
    """hash -> experiment/cell of every link to that run."""
    links: dict[str, list[str]] = {}
    for path in sorted(runs_dir.glob("*/*/seed-*")):
        if path.is_symlink():
            links.setdefault(path.readlink().name, []).append(f"{path.parent.parent.name}/{path.parent.name}")
    return links
