"""Commands on experiments: run, tabulate, draw, publish, list."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gainrl.cli.shared import Name, RunsDir, app, runs_folder
from gainrl.errors import InputError

if TYPE_CHECKING:
    from gainrl.config import Experiment

Source = Annotated[Literal["runs", "results"], tyro.conf.arg(name="from", help="Which run folders to read.")]


@app.command
def reproduce(
    experiment: Name,
    seeds: int = 1,
    scale: str = "tiny",
    runs_dir: RunsDir = None,
    overwrite: bool = False,
) -> None:
    """Run every cell of an experiment, then write and print its table and figure.

    Finished runs are skipped, unfinished ones started again.

    Args:
        experiment: Name of the experiment; `gainrl list` shows them.
        seeds: How many seeds a cell: 0 to seeds - 1. Three or more give intervals.
        scale: tiny (CPU, minutes) or, where the experiment has it, paper.
        overwrite: Run finished cells anew, also where their config has changed.
    """
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; at least 1 is needed")
    plan, root = _load(experiment, scale), runs_folder(runs_dir)
    print("gainrl: loading torch, TRL and lm-eval", file=sys.stderr)
    from gainrl.launch import run_experiment

    run_experiment(plan, cells=list(plan.cells), seeds=range(seeds), runs_dir=root, overwrite=overwrite)
    figure_path = _write_figure(plan, root)
    print(_write_table(plan, root))
    print(f"figure: {figure_path}")


@app.command
def train(
    experiment: Name, cell: str, seed: int = 0, scale: str = "tiny", runs_dir: RunsDir = None, overwrite: bool = False
) -> None:
    """Train one run of an experiment in this process.

    Args:
        experiment: Name of the experiment.
        cell: Name of the cell; `gainrl list` shows them.
        seed: Seed of the run: warm-up, problems, schedule and training.
        scale: tiny or paper.
        overwrite: Run it anew if it is finished.
    """
    plan, root = _load(experiment, scale), runs_folder(runs_dir)
    plan.cell(cell)
    from gainrl.launch import run_experiment, run_path

    run_experiment(plan, cells=[cell], seeds=[seed], runs_dir=root, overwrite=overwrite)
    print(run_path(root, plan.name, cell, seed))


@app.command
def table(experiment: Name, source: Source = "runs", scale: str = "tiny", runs_dir: RunsDir = None) -> None:
    """Write an experiment's table (Markdown and CSV) beside its runs, from the finished ones, and print it.

    Args:
        experiment: Name of the experiment.
        scale: tiny or paper.
    """
    print(_write_table(_load(experiment, scale), _root(source, runs_dir)))


@app.command
def figure(experiment: Name, source: Source = "runs", scale: str = "tiny", runs_dir: RunsDir = None) -> None:
    """Draw an experiment's figure (PNG, SVG, PDF) beside its runs, from the finished ones.

    Args:
        experiment: Name of the experiment.
        scale: tiny or paper.
    """
    print(_write_figure(_load(experiment, scale), _root(source, runs_dir)))


@app.command
def publish(experiment: Name, scale: str = "tiny", runs_dir: RunsDir = None) -> None:
    """Put an experiment's table, figure and its finished runs' small files into results/, to be committed.

    Args:
        experiment: Name of the experiment.
        scale: tiny or paper.
    """
    from analysis.runs import common_seeds, finished_runs

    plan, results = _load(experiment, scale), Path("results")
    runs = finished_runs(plan, runs_folder(runs_dir))
    if missing := [cell for cell, by_seed in runs.items() if sorted(by_seed) != common_seeds(runs)]:
        raise InputError(
            f"every cell must have the same seeds to be published; gainrl reproduce first: {', '.join(missing)}"
        )
    for cell, by_seed in runs.items():
        for seed, run in by_seed.items():
            run.copy_small_files(results / plan.name / cell / f"seed-{seed}")
    _write_table(plan, results)
    print(_write_figure(plan, results).parent)


@app.command(name="list")
def list_names() -> None:
    """Experiments with their cells, models, problem sets, schedules and orders."""
    from experiments.base import experiment_names, load_experiment
    from gainrl.benchmarks import BENCHMARKS
    from gainrl.models import MODELS
    from gainrl.problems import problem_sets
    from gainrl.schedules import ORDERS, SCHEDULES

    print("experiments")
    for name in experiment_names():
        plan = load_experiment(name)
        print(f"  {name}: {plan.title}")
        print(f"    cells: {', '.join(plan.cells)}")
    for title, names in {
        "models": MODELS,
        "problem sets": problem_sets(),
        "benchmarks": BENCHMARKS,
        "schedules": SCHEDULES,
        "orders": [*ORDERS, "random"],
    }.items():
        print(f"{title}\n  {', '.join(names)}")


def _load(experiment: str, scale: str) -> "Experiment":
    from experiments.base import load_experiment

    return load_experiment(experiment, scale)


def _root(source: str, runs_dir: Path | None) -> Path:
    return runs_folder(runs_dir) if source == "runs" else Path("results")


def _write_table(plan: "Experiment", root: Path) -> str:
    from analysis.comparison import compare, markdown
    from analysis.runs import finished_runs
    from gainrl.records import write_atomically

    comparison = compare(plan, finished_runs(plan, root))
    text = markdown(plan, comparison)
    write_atomically(root / plan.name / "table.csv", lambda path: comparison.to_csv(path, index=False))
    write_atomically(root / plan.name / "table.md", lambda path: path.write_text(text))
    return text


def _write_figure(plan: "Experiment", root: Path) -> Path:
    from analysis.runs import finished_runs
    from paper_figures import learning_curves, style

    frame = learning_curves.data(plan, finished_runs(plan, root))
    return style.save_all(learning_curves.plot(plan, frame), root / plan.name / "learning_curves")
