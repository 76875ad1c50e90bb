"""Commands that make tables, figures and what is published from run folders."""

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from gainrl.cli.options import ExperimentName, RunsDir, Scale, app, load_plan, of_scale, runs_folder
from gainrl.errors import InputError
from gainrl.files import write_atomically, write_text

if TYPE_CHECKING:
    import pandas as pd

    from analysis.report import Section
    from analysis.runs import Runs
    from gainrl.runs.experiment import Experiment

Source = Annotated[Literal["runs", "results"], tyro.conf.arg(name="from", help="Which run folders to read.")]


@app.command
def table(
    experiment: ExperimentName,
    source: Source = "runs",
    scale: Scale = "tiny",
    running_mean: int = 1,
    runs_dir: RunsDir = None,
) -> None:
    """Write an experiment's table (Markdown, LaTeX and CSV) beside its runs, from the finished ones, and print it.

    Args:
        experiment: ExperimentName of the experiment.
        running_mean: A target counts as reached by the mean of so many evaluations.
    """
    if running_mean < 1:
        raise InputError(f"--running-mean is {running_mean}; at least 1 is needed")
    print(write_table(load_plan(experiment, scale), _root(source, runs_dir, scale), running_mean))


@app.command
def figure(
    experiment: ExperimentName, source: Source = "runs", scale: Scale = "tiny", runs_dir: RunsDir = None
) -> None:
    """Draw an experiment's figures (PNG, SVG, PDF) beside its runs, from the finished ones.

    Args:
        experiment: ExperimentName of the experiment.
    """
    print(write_figure(load_plan(experiment, scale), _root(source, runs_dir, scale)))


@app.command
def report(
    experiment: ExperimentName, source: Source = "runs", scale: Scale = "tiny", runs_dir: RunsDir = None
) -> None:
    """Write one HTML page that opens offline: verdict, figures, tables, every run, paper against ours and the release.

    Args:
        experiment: ExperimentName of the experiment, or all.
    """
    root = _root(source, runs_dir, scale)
    if experiment == "all":
        print(write_report(_all_with_runs(scale, root), root, root / "report.html"))
    else:
        print(write_report([load_plan(experiment, scale)], root, root / experiment / "report.html"))


@app.command
def publish(experiment: ExperimentName, scale: Scale = "tiny", runs_dir: RunsDir = None) -> None:
    """Put an experiment's table, figure and its finished runs' small files into results/, to be committed.

    Args:
        experiment: ExperimentName of the experiment.
    """
    from analysis.runs import common_seeds, finished_runs

    plan, results = load_plan(experiment, scale), of_scale(Path("results"), scale)
    runs = finished_runs(plan, runs_folder(runs_dir, scale))
    if missing := [cell for cell, by_seed in runs.items() if sorted(by_seed) != common_seeds(runs)]:
        raise InputError(
            f"every cell must have the same seeds to be published; gainrl reproduce first: {', '.join(missing)}"
        )
    for cell, by_seed in runs.items():
        for seed, run in by_seed.items():
            run.copy_small_files(results / plan.name / cell / f"seed-{seed}")
    if len(orders := kept_correlations(plan, runs, runs_folder(runs_dir, scale))):
        orders.to_csv(results / plan.name / "order_correlations.csv", index=False)
    write_table(plan, results)
    write_report([plan], results, results / plan.name / "report.html")
    print(write_figure(plan, results).parent)


def _root(source: str, runs_dir: Path | None, scale: str) -> Path:
    return runs_folder(runs_dir, scale) if source == "runs" else of_scale(Path("results"), scale)


def write_table(plan: "Experiment", root: Path, window: int = 1) -> str:
    """table.md, table.tex and table.csv beside the runs; returns the first's text."""
    from analysis.comparison import compare
    from analysis.control import against_control
    from analysis.paper import against_paper
    from analysis.rendering import latex, markdown
    from analysis.runs import finished_runs
    from analysis.tables import grids

    runs = finished_runs(plan, root)
    comparison = compare(plan, runs, window=window)
    tables = grids(plan, comparison, against_control(plan, runs), runs)
    text, folder = markdown(plan, comparison, tables), root / plan.name
    whole = against_paper(plan, comparison)
    write_atomically(folder / "table.csv", lambda path: whole.to_csv(path, index=False))
    write_text(folder / "table.md", text)
    write_text(folder / "table.tex", latex(plan, comparison, tables))
    return text


def write_figure(plan: "Experiment", root: Path) -> Path:
    """Every figure that there are data for, beside the runs; returns the first's PNG."""
    from analysis.comparison import compare
    from analysis.control import against_control
    from analysis.runs import finished_runs
    from paper_figures import of_experiment, style

    runs = finished_runs(plan, root)
    correlations = kept_correlations(plan, runs, root)
    figures = of_experiment.figures(plan, runs, compare(plan, runs), against_control(plan, runs), correlations)
    paths = [style.save_all(figure, root / plan.name / name) for name, figure in figures.items()]
    return paths[0]


def kept_correlations(plan: "Experiment", runs: "Runs", root: Path) -> "pd.DataFrame":
    """How alike the orders are: read from what the runs share, and kept beside them for where that is not at hand."""
    import pandas as pd

    from analysis.orders import order_correlations

    kept = root / plan.name / "order_correlations.csv"
    if len(correlations := order_correlations(runs, root / "shared")):
        write_atomically(kept, lambda path: correlations.to_csv(path, index=False))
    return pd.read_csv(kept) if kept.exists() else correlations


def write_report(plans: "list[Experiment]", root: Path, path: Path) -> Path:
    """The page about the experiments, from their finished runs under ``root``; each section in a process of its own."""
    from analysis.report import page

    if len(plans) > 1:  # spawned, since a copy of a process with threads may hang
        with ProcessPoolExecutor(min(len(plans), os.cpu_count() or 1), get_context("spawn")) as pool:
            sections = list(pool.map(partial(_section, root=root), plans))
    else:
        sections = [_section(plan, root) for plan in plans]
    text = page(sections)
    write_text(path, text)
    return path


def _section(plan: "Experiment", root: Path) -> "Section":
    from analysis.comparison import compare
    from analysis.control import against_control
    from analysis.report import section
    from analysis.runs import finished_runs, unfinished_runs
    from paper_figures import of_experiment

    runs = finished_runs(plan, root)
    comparison, controls = compare(plan, runs), against_control(plan, runs)
    figures = of_experiment.figures(plan, runs, comparison, controls, kept_correlations(plan, runs, root))
    return section(plan, runs, comparison, controls, of_experiment.pictures(figures), unfinished_runs(plan, root))


def _all_with_runs(scale: str, root: Path) -> "list[Experiment]":
    from analysis.runs import finished_runs
    from experiments import experiment_names

    plans = []
    for name in experiment_names():
        try:
            plans.append(load_plan(name, scale))
            finished_runs(plans[-1], root)
        except InputError:  # no such scale, or nothing finished
            plans = [plan for plan in plans if plan.name != name]
    if not plans:
        raise InputError(f"no experiment has a finished run under {root}; gainrl reproduce makes them")
    return plans
