"""Commands that run experiments, and the list of what there is."""

import sys

from gainrl.cli.reporting import write_figure, write_table
from gainrl.cli.shared import Name, RunsDir, app, load_plan, runs_folder
from gainrl.errors import InputError


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
    plan, root = load_plan(experiment, scale), runs_folder(runs_dir)
    print("gainrl: loading torch, TRL and lm-eval", file=sys.stderr)
    from experiments.base import follow_up
    from gainrl.launch import bar, run_experiment

    run_experiment(plan, cells=list(plan.cells), seeds=range(seeds), runs_dir=root, overwrite=overwrite)
    figure_path = write_figure(plan, root)
    print(write_table(plan, root))
    print(f"figure: {figure_path}")
    if (measure := follow_up(experiment)) is not None:
        with bar() as report:
            print(measure(plan, root, report))


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
    plan, root = load_plan(experiment, scale), runs_folder(runs_dir)
    plan.cell(cell)
    from gainrl.launch import run_experiment, run_path

    run_experiment(plan, cells=[cell], seeds=[seed], runs_dir=root, overwrite=overwrite)
    print(run_path(root, plan.name, cell, seed))


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
