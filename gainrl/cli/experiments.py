"""Commands that run experiments, and those that list and show what there is."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from pydantic.dataclasses import dataclass

from experiments import of_scale
from gainrl.cli.options import (
    Count,
    ExperimentName,
    LargeCount,
    RunsDir,
    Sandbox,
    Scale,
    app,
    command,
    load_plan,
    runs_folder,
    share_with_others,
)
from gainrl.cli.reporting import write_figure, write_table
from gainrl.errors import InputError
from gainrl.files import replaced, replacing
from gainrl.runs.config import Seed
from gainrl.runs.experiment import SlurmOptions, Tracker, require_trackers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gainrl.launch import Launcher
    from gainrl.runs.config import RunConfig
    from gainrl.runs.experiment import Experiment
    from gainrl.runs.plan import Run
    from gainrl.runs.study import Study


@dataclass(frozen=True)
class Changes:
    """What the command line changes in every cell of an experiment."""

    generation: Annotated[
        Literal["transformers", "vllm"] | None,
        tyro.conf.arg(
            help="What writes completions, instead of the cells' own choice; with another, it is another run."
        ),
    ] = None
    vllm_server: Annotated[
        str | None,
        tyro.conf.arg(
            help="Address of a running `trl vllm-serve` that writes completions, http://host:port; for one run at a time."
        ),
    ] = None
    report_to: Annotated[
        tuple[Tracker, ...], tyro.conf.arg(help="Trackers of TRL, none by default: trackio, tensorboard, wandb.")
    ] = ()
    engine: Annotated[
        Literal["trl", "verl"],
        tyro.conf.arg(help="What trains; with verl it is another run. verl has an environment of its own: make verl."),
    ] = "trl"
    verl_python: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Python of verl's environment. Default: $GAINRL_VERL_PYTHON, or .venv-verl/bin/python here."
        ),
    ] = None
    verl_options: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help="More settings of verl, key=value as its own command takes them; they are no part of the run."
        ),
    ] = ()
    sandbox: Sandbox = None
    steps: Annotated[
        Count | None,
        tyro.conf.arg(help="A trial: at most so many optimizer steps, in the folder trial beside the other runs."),
    ] = None

    @property
    def parts(self) -> list[str]:
        """Folders below that of the other runs, where these work."""
        return ["verl"] * (self.engine == "verl") + ["trial"] * (self.steps is not None)

    def demand_sandbox(self, here: bool = True) -> None:
        """As `gainrl.grading.cage.demand` does."""
        from gainrl.grading import cage

        cage.demand(self.sandbox, here=here)

    def of(self, plan: "Experiment", scale: str = "tiny", gpus: int | None = None, nodes: int = 1) -> "Experiment":
        """The experiment with them; ``gpus`` and ``nodes`` a run, where the command line says so too.

        Raises InputError: the cells cannot be trained so.
        """
        if self.engine == "trl" and (self.verl_python or self.verl_options or nodes > 1):
            raise InputError("--verl-python, --verl-options and more than one node are verl's; add --engine verl")
        from experiments.cells import by_verl
        from gainrl.runs.verl import PYTHON, require_supported

        plan = plan if self.engine == "trl" else by_verl(plan, scale)
        cells = {name: self._of_cell(cell) for name, cell in plan.cells.items()}
        if self.vllm_server is not None and any(cell.training.generation != "vllm" for cell in cells.values()):
            raise InputError(f"cells of {plan.name} sample with transformers; --vllm-server needs --generation vllm")
        changes = {
            **({"report_to": self.report_to} if self.report_to else {}),
            **({"vllm_mode": "server", "vllm_server": self.vllm_server} if self.vllm_server is not None else {}),
            **({"gpus": gpus} if gpus is not None else {}),
            **({"nodes": nodes} if nodes > 1 else {}),
            **({"verl_options": self.verl_options} if self.verl_options else {}),
        }
        execution = {name: plan.execution_of(name).model_copy(update=changes) for name in cells}
        if self.engine == "verl":
            for name, cell in cells.items():
                require_supported(cell, execution[name])
        if self.verl_python is not None:
            os.environ[PYTHON] = str(self.verl_python.absolute())  # for this process and those that it starts
        return plan.model_copy(update={"cells": cells, "execution": execution})

    def _of_cell(self, cell: "RunConfig") -> "RunConfig":
        changes: dict[str, Any] = {} if self.generation is None else {"generation": self.generation}
        if self.steps is not None:
            changes |= {"steps": min(self.steps, cell.training.steps)}
        return cell.model_copy(update={"training": cell.training.model_copy(update=changes)})

    def arguments(self) -> list[str]:
        """The same changes for another command."""
        arguments = [] if self.generation is None else ["--generation", self.generation]
        arguments += [] if self.vllm_server is None else ["--vllm-server", self.vllm_server]
        arguments += [] if self.sandbox is None else ["--sandbox", self.sandbox]
        arguments += [] if self.steps is None else ["--steps", str(self.steps)]
        arguments += [] if self.engine == "trl" else ["--engine", self.engine]
        arguments += ["--verl-options", *self.verl_options] if self.verl_options else []
        return arguments + (["--report-to", *self.report_to] if self.report_to else [])


NONE = Changes()
ChangesArg = Annotated[Changes, tyro.conf.arg(name="")]
DEFAULT_SLURM = SlurmOptions()


@command
def reproduce(
    experiment: ExperimentName,
    seeds: Count = 1,
    cells: tuple[str, ...] = (),
    scale: Scale = "tiny",
    runs_dir: RunsDir = None,
    launcher: Literal["debug", "local", "slurm"] = "debug",
    jobs: Count = 1,
    slurm: SlurmOptions = DEFAULT_SLURM,
    dry_run: bool = False,
    changes: ChangesArg = NONE,
    data_dir: Path | None = None,
    limit: LargeCount | None = None,
    overwrite: bool = False,
) -> None:
    """Run every cell of an experiment (or of all), then write and print its table and figure.

    A study, which trains nothing, is measured instead, set by set, and its report written. Finished runs are skipped,
    unfinished ones resume. A failed run is reported and does not stop the others; the exit code is then 1.

    Args:
        experiment: Name of the experiment, or all; `gainrl list` shows them.
        seeds: How many seeds each cell has: 0 to seeds - 1. Intervals need three or more.
        cells: Only these cells of the experiment, such as those that get more seeds than the others. Default: all.
        launcher: Where runs are trained: debug in this process, local in processes of this machine, slurm as job arrays.
        jobs: How many runs at once with --launcher local; they share the cores.
        slurm: What Slurm is asked for with --launcher slurm.
        dry_run: Only print what is finished, what would run, where and how long.
        data_dir: Of a study, and of main_table at small: folder of problem files (gsm8k.json, ...) to read instead of the hub.
        limit: Of a study: a trial on at most so many problems of each set, in a folder of its own.
        overwrite: Run finished cells again, even where their config has changed.
    """
    if changes.vllm_server is not None and (launcher == "slurm" or (launcher == "local" and jobs > 1)):
        raise InputError(
            "a vLLM server has the weights of one run at a time; use --launcher debug, or no --vllm-server"
        )
    if launcher != "slurm" and not dry_run and changes.engine == "trl":
        require_trackers(changes.report_to)
    changes.demand_sandbox(here=launcher != "slurm" and not dry_run)
    from experiments import experiment_names, load_study, scales, study_names
    from gainrl.runs.plan import plan_runs

    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"--data-dir {data_dir} is not a folder")
    if experiment in study_names():
        if seeds != 1 or cells or launcher != "debug" or changes != NONE:
            raise InputError(
                f"{experiment} trains nothing; valid with it: --scale, --data-dir, --limit, --dry-run, --overwrite, --runs-dir"
            )
        study = load_study(experiment, scale)
        study = study if limit is None else study.trial(limit)
        return _measure(study, runs_folder(runs_dir, scale), data_dir, dry_run, overwrite)
    if limit is not None or (data_dir is not None and experiment != "main_table"):
        raise InputError(
            f"--limit is for studies, --data-dir for these and main_table; valid: {', '.join(study_names())}"
        )
    everything = [name for name in experiment_names() if scale in scales(name)]
    root, where = runs_folder(runs_dir, scale, *changes.parts), _launcher(launcher, jobs, slurm)
    if runs_dir is None and not dry_run:
        share_with_others(root, changes.parts)
    requested = (slurm.gpus, slurm.nodes) if launcher == "slurm" else ()
    names = everything if experiment == "all" else [experiment]
    plans = [changes.of(load_plan(name, scale), scale, *requested) for name in names]
    for plan in plans:
        for cell in cells:
            plan.cell(cell)  # refuses one that the experiment does not have
    published, failed = of_scale(Path("results"), scale), 0
    for plan in plans:
        runs = plan_runs(
            plan,
            cells=cells or list(plan.cells),
            seeds=range(seeds),
            runs_dir=root,
            arguments=["--scale", scale, *changes.arguments()],
            overwrite=overwrite,
        )
        failed += _reproduce(plan, root, runs, where, published, dry_run, data_dir)
    if failed:
        print(f"gainrl: {failed} runs failed (see above); the same command tries them again", file=sys.stderr)
        sys.exit(1)


def _measure(study: "Study", root: Path, data_dir: Path | None, dry_run: bool, overwrite: bool) -> None:
    from gainrl.cli.measuring import describe, measure

    if dry_run:
        return print(describe(study, root))
    place = root / study.name
    with replacing(
        place,
        goes_on=not overwrite or replaced(place).exists(),
        has_begun=lambda: any(place.rglob("*.parquet")),
    ):
        print(measure(study, root, data_dir))


def _reproduce(
    plan: "Experiment",
    root: Path,
    runs: "Sequence[Run]",
    where: "Launcher",
    published: Path,
    dry_run: bool,
    data_dir: Path | None,
) -> int:
    """Runs, table and figure of what is finished, and what is measured after the runs; how many runs failed."""
    from gainrl.launch import describe, run_all
    from gainrl.progress import bar
    from gainrl.runs.verl import preview

    if dry_run:
        print(f"{plan.name}: {plan.title}\n\n{describe(runs, where, published)}\n")
        for run in (run for run in runs if run.config.engine == "verl"):
            print(f"# {run.label}\n{preview(run.config, run.execution, run.home)}\n")
        return 0
    failures = run_all(runs, where)
    if any(run.is_finished() for run in runs):
        figure_path = write_figure(plan, root)
        print(write_table(plan, root))
        print(f"figure: {figure_path}")
    if failures:
        return len(failures)
    from gainrl.cli.follow_ups import FOLLOW_UPS

    if plan.name in FOLLOW_UPS:
        with bar() as report:
            said = FOLLOW_UPS[plan.name](plan, root, report, **({} if data_dir is None else {"data_dir": data_dir}))
        if said:
            print(said)
    return 0


@command
def train(
    experiment: ExperimentName,
    cell: str,
    seed: Seed = 0,
    scale: Scale = "tiny",
    runs_dir: RunsDir = None,
    changes: ChangesArg = NONE,
    overwrite: bool = False,
) -> None:
    """Train one run of an experiment, in this process or in one process for each of its GPUs.

    Args:
        experiment: Name of the experiment.
        cell: Name of the cell; `gainrl list` shows them.
        seed: Seed of the run: warm-up, problems, schedule and training.
        overwrite: Run it again if it is finished.
    """
    plan, root = changes.of(load_plan(experiment, scale), scale), runs_folder(runs_dir, scale, *changes.parts)
    plan.cell(cell)
    if changes.engine == "trl":
        require_trackers(changes.report_to)
    changes.demand_sandbox()
    from gainrl.launch.job import train as train_here
    from gainrl.launch.watch import Watch
    from gainrl.runs.plan import claim, plan_runs
    from gainrl.runs.records import RunFolder
    from gainrl.runs.whole import require_whole

    if runs_dir is None:
        share_with_others(root, changes.parts)
    arguments = ["--scale", scale, *changes.arguments()]
    (run,) = plan_runs(plan, cells=[cell], seeds=[seed], runs_dir=root, arguments=arguments, overwrite=overwrite)
    if int(os.environ.get("RANK", "0")):  # the first process of the run has made the link, and shows how it goes
        train_here(run)
    elif not overwrite and run.is_finished():
        claim(run)
        try:
            require_whole(RunFolder(run.path))
        except InputError as error:
            print(f"gainrl: the run is finished, but damaged; --overwrite trains it again: {error}", file=sys.stderr)
    else:
        claim(run)
        with Watch(run.experiment, [run]) as watch:
            train_here(run, watch.tick)
            watch.ended(run, failed=False)
    print(run.path)


def _launcher(name: str, jobs: int, slurm: SlurmOptions) -> "Launcher":
    from gainrl.launch import Debug, Local, Slurm

    launchers: dict[str, Launcher] = {"debug": Debug(), "local": Local(jobs), "slurm": Slurm(slurm)}
    return launchers[name]


@command
def show(experiment: ExperimentName, cell: str, scale: Scale = "tiny") -> None:
    """Print the whole config of a cell, beside the values of the authors' release where they are known.

    Args:
        cell: Name of the cell, or of a study's problem set; `gainrl list` shows them.
    """
    from analysis.paper import beside_paper
    from experiments import load_study, study_names

    if experiment in study_names():
        study = load_study(experiment, scale)
        print(f"{study.name}: {study.title}\n\nSet {cell}, which is measured:")
        for name, value in study.measurement(cell).model_dump(mode="json").items():
            print(f"  {name}: {value}")
        return
    plan = load_plan(experiment, scale)
    run = plan.cell(cell)
    print(f"{plan.name}, cell {cell}: {plan.labels[cell]} (run {run.hash} with seed 0)\n")
    print(beside_paper(run))
    print("\nExecution, which is no part of what the run is:")
    for name, value in plan.execution_of(cell).model_dump(mode="json").items():
        print(f"  {name}: {value}")
    print(f"\n{_shown_by_verl(plan, cell, scale)}")


def _shown_by_verl(plan: "Experiment", cell: str, scale: str) -> str:
    """The same cell's settings of verl, or why verl does not train it."""
    from gainrl.runs.verl import PLACEHOLDER, preview

    try:
        plan = Changes(engine="verl", generation="vllm").of(
            plan.model_copy(update={"cells": {cell: plan.cell(cell)}}), scale
        )
    except InputError as error:
        return f"Not by verl: {error}"
    run = plan.cell(cell)
    settings = preview(run, plan.execution_of(cell), PLACEHOLDER)
    return f"By verl (--engine verl --generation vllm), run {run.hash} with seed 0:\n\n{settings}"


@app.command(name="list")
def list_names() -> None:
    """List scales with what they need, experiments with cells, studies with sets, models, problem sets, benchmarks, schedules
    and orders.
    """
    from experiments import SCALES, experiment_names, load_experiment, load_study, scales, study_names
    from gainrl.evaluation.benchmarks import BENCHMARKS
    from gainrl.models import MODELS
    from gainrl.problems import problem_sets
    from gainrl.schedules import ORDERS, SCHEDULES

    print("scales")
    for scale, needs in SCALES.items():
        print(f"  {scale}: {needs}")
    print("experiments")
    for name in experiment_names():
        plans = {scale: load_experiment(name, scale) for scale in scales(name)}
        print(f"  {name} ({', '.join(plans)}): {plans[scales(name)[0]].title}")
        by_cells: dict[str, list[str]] = {}
        for scale, plan in plans.items():
            by_cells.setdefault(", ".join(plan.cells), []).append(scale)
        for cells, at in by_cells.items():
            print(f"    cells ({', '.join(at)}): {cells}")
    print("studies, which train nothing")
    for name in study_names():
        study = load_study(name, scales(name)[0])
        print(f"  {name} ({', '.join(scales(name))}): {study.title}\n    sets: {', '.join(study.measurements)}")
    for title, names in {
        "models": MODELS,
        "problem sets": [*problem_sets(), "gym:<task of reasoning-gym>"],
        "benchmarks": BENCHMARKS,
        "schedules": SCHEDULES,
        "orders": [*ORDERS, "random"],
    }.items():
        print(f"{title}\n  {', '.join(names)}")
