"""Commands that run experiments, and the list of what there is."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gainrl.cli.reporting import write_figure, write_table
from gainrl.cli.shared import Name, RunsDir, app, load_plan, runs_folder
from gainrl.config import SlurmOptions
from gainrl.errors import InputError

if TYPE_CHECKING:
    from gainrl.config import Experiment
    from gainrl.launch import Launcher


@dataclass(frozen=True)
class Changes:
    """What the command line changes in every cell of an experiment."""

    generation: Annotated[
        Literal["transformers", "vllm"] | None,
        tyro.conf.arg(help="Engine that samples completions, instead of the cells' own. Part of what a run is."),
    ] = None
    vllm_server: Annotated[
        str | None,
        tyro.conf.arg(
            help="Address of a running `trl vllm-serve` that samples instead, http://host:port; one run at a time."
        ),
    ] = None
    report_to: Annotated[
        tuple[str, ...], tyro.conf.arg(help="TRL's trackers, if any: trackio, tensorboard, wandb. None is needed.")
    ] = ()

    def of(self, plan: "Experiment", gpus: int | None = None) -> "Experiment":
        """The experiment with them; ``gpus`` a run, where the command line says so too."""
        cells = plan.cells
        if self.generation is not None:
            cells = {
                name: cell.model_copy(
                    update={"training": cell.training.model_copy(update={"generation": self.generation})}
                )
                for name, cell in cells.items()
            }
        if self.vllm_server is not None and any(cell.training.generation != "vllm" for cell in cells.values()):
            raise InputError(f"cells of {plan.name} sample with transformers; --vllm-server needs --generation vllm")
        changes = {
            **({"report_to": self.report_to} if self.report_to else {}),
            **({"vllm_mode": "server", "vllm_server": self.vllm_server} if self.vllm_server is not None else {}),
            **({"gpus": gpus} if gpus is not None else {}),
        }
        execution = {name: plan.execution_of(name).model_copy(update=changes) for name in cells}
        return plan.model_copy(update={"cells": cells, "execution": execution})

    def arguments(self) -> list[str]:
        """The same changes for another command."""
        arguments = [] if self.generation is None else ["--generation", self.generation]
        arguments += [] if self.vllm_server is None else ["--vllm-server", self.vllm_server]
        return arguments + (["--report-to", *self.report_to] if self.report_to else [])


NONE = Changes()
ChangesArg = Annotated[Changes, tyro.conf.arg(name="")]
DEFAULT_SLURM = SlurmOptions()


@app.command
def reproduce(
    experiment: Name,
    seeds: int = 1,
    scale: str = "tiny",
    runs_dir: RunsDir = None,
    launcher: Literal["debug", "local", "slurm"] = "debug",
    jobs: int = 1,
    slurm: SlurmOptions = DEFAULT_SLURM,
    dry_run: bool = False,
    changes: ChangesArg = NONE,
    overwrite: bool = False,
) -> None:
    """Run every cell of an experiment, then write and print its table and figure.

    Finished runs are skipped, unfinished ones go on. A run that fails is reported and does not stop the others; the
    exit code is then 1.

    Args:
        experiment: Name of the experiment, or all; `gainrl list` shows them.
        seeds: How many seeds a cell: 0 to seeds - 1. Three or more give intervals.
        scale: tiny (CPU, minutes) or, where the experiment has it, paper.
        launcher: In this process, in processes of this machine, or as job arrays of Slurm.
        jobs: How many runs at once with --launcher local; they share out the cores.
        slurm: What Slurm is asked for with --launcher slurm.
        dry_run: Print what is finished, what would run, where and how long, and do nothing.
        overwrite: Run finished cells anew, also where their config has changed.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; at least 1 is needed")
    if jobs < 1:
        raise InputError(f"--jobs is {jobs}; at least 1 is needed")
    if changes.vllm_server is not None and (launcher == "slurm" or (launcher == "local" and jobs > 1)):
        raise InputError(
            "a vLLM server has the weights of one run at a time; use --launcher debug, or no --vllm-server"
        )
    from experiments.base import experiment_names, scales

    everything = [name for name in experiment_names() if scale in scales(name)]
    root, where = runs_folder(runs_dir, scale), _launcher(launcher, jobs, slurm)
    failed = 0
    for name in everything if experiment == "all" else [experiment]:
        plan = changes.of(load_plan(name, scale), slurm.gpus if launcher == "slurm" else None)
        arguments = ["--scale", scale, *changes.arguments()]
        failed += _reproduce(plan, root, seeds, where, arguments, dry_run, overwrite)
    if failed:
        print(f"gainrl: {failed} runs failed, as told above; the same command tries them again", file=sys.stderr)
        sys.exit(1)


def _reproduce(
    plan: "Experiment", root: Path, seeds: int, where: "Launcher", arguments: list[str], dry_run: bool, overwrite: bool
) -> int:
    """Runs, table and figure of what is finished, and what is measured after the runs; how many runs failed."""
    from experiments.base import follow_up
    from gainrl.launch import bar, describe, plan_runs, run_all

    runs = plan_runs(plan, cells=list(plan.cells), seeds=range(seeds), runs_dir=root, arguments=arguments)
    if dry_run:
        print(f"{plan.name}: {plan.title}\n\n{describe(runs, where, overwrite, Path('results'))}\n")
        return 0
    failures = run_all(runs, where, overwrite)
    if any(run.is_finished() for run in runs):
        figure_path = write_figure(plan, root)
        print(write_table(plan, root))
        print(f"figure: {figure_path}")
    if (measure := follow_up(plan.name)) is not None and not failures:
        with bar() as report:
            print(measure(plan, root, report))
    return len(failures)


@app.command
def train(
    experiment: Name,
    cell: str,
    seed: int = 0,
    scale: str = "tiny",
    runs_dir: RunsDir = None,
    changes: ChangesArg = NONE,
    overwrite: bool = False,
) -> None:
    """Train one run of an experiment in this process, or in as many as it has GPUs.

    Args:
        experiment: Name of the experiment.
        cell: Name of the cell; `gainrl list` shows them.
        seed: Seed of the run: warm-up, problems, schedule and training.
        scale: tiny or paper.
        overwrite: Run it anew if it is finished.
    """
    plan, root = changes.of(load_plan(experiment, scale)), runs_folder(runs_dir, scale)
    plan.cell(cell)
    from gainrl.launch import plan_runs, train_here

    arguments = ["--scale", scale, *changes.arguments()]
    (run,) = plan_runs(plan, cells=[cell], seeds=[seed], runs_dir=root, arguments=arguments)
    train_here(run, overwrite, worker=int(os.environ.get("RANK", "0")) > 0)
    print(run.path)


def _launcher(name: str, jobs: int, slurm: SlurmOptions) -> "Launcher":
    from gainrl.launch import Debug, Local, Slurm

    launchers: dict[str, Launcher] = {"debug": Debug(), "local": Local(jobs), "slurm": Slurm(slurm)}
    return launchers[name]


@app.command(name="list")
def list_names() -> None:
    """Experiments with their cells, models, problem sets, schedules and orders."""
    from experiments.base import experiment_names, load_experiment, scales
    from gainrl.benchmarks import BENCHMARKS
    from gainrl.models import MODELS
    from gainrl.problems import problem_sets
    from gainrl.schedules import ORDERS, SCHEDULES

    print("experiments")
    for name in experiment_names():
        plans = {scale: load_experiment(name, scale) for scale in scales(name)}
        print(f"  {name} ({', '.join(plans)}): {plans[scales(name)[0]].title}")
        for cells in dict.fromkeys(", ".join(plan.cells) for plan in plans.values()):
            print(f"    cells: {cells}")
    for title, names in {
        "models": MODELS,
        "problem sets": problem_sets(),
        "benchmarks": BENCHMARKS,
        "schedules": SCHEDULES,
        "orders": [*ORDERS, "random"],
    }.items():
        print(f"{title}\n  {', '.join(names)}")
