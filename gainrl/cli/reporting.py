"""Commands that make tables, figures and what is published from run folders."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments import of_scale
from gainrl.cli.measuring import publish as publish_study
from gainrl.cli.options import Count, ExperimentName, RunsDir, Scale, command, load_plan, runs_folder
from gainrl.columns import read_csv
from gainrl.errors import InputError
from gainrl.files import replace_folder, write_atomically, write_text

if TYPE_CHECKING:
    import pandas as pd

    from analysis.report import Section
    from analysis.runs import Runs
    from gainrl.runs.experiment import Experiment

Source = Annotated[
    Literal["runs", "results"], tyro.conf.arg(name="from", help="Which runs to read: those here, or what is published.")
]
MEASURED = ("patterns", "gradients")
"""Folders of what was measured after an experiment's runs, which hold a folder a measurement."""
SUMMARIES = (*(f"{kind}/summary.md" for kind in MEASURED), "scoring.*", "elsewhere.*")


@command
def table(
    experiment: ExperimentName,
    source: Source = "runs",
    scale: Scale = "tiny",
    running_mean: Count = 1,
    runs_dir: RunsDir = None,
) -> None:
    """Write an experiment's table (Markdown, LaTeX and CSV) beside its runs, from the finished ones, and print it.

    Args:
        running_mean: A target counts as reached by the mean of so many evaluations.
    """
    print(write_table(load_plan(experiment, scale), _root(source, runs_dir, scale), running_mean))


@command
def figure(
    experiment: ExperimentName, source: Source = "runs", scale: Scale = "tiny", runs_dir: RunsDir = None
) -> None:
    """Draw an experiment's figures beside its runs, from the finished ones: PNG, and in runs/ SVG and PDF too."""
    formats = ("png",) if source == "results" else ("svg", "pdf", "png")
    print(write_figure(load_plan(experiment, scale), _root(source, runs_dir, scale), formats))


@command
def report(
    experiment: ExperimentName, source: Source = "runs", scale: Scale = "tiny", runs_dir: RunsDir = None
) -> None:
    """Write one HTML page that opens offline: verdict, figures, tables, every run, paper against ours and the release.

    Args:
        experiment: Name of the experiment, or all.
    """
    root = _root(source, runs_dir, scale)
    if experiment == "all":
        print(write_report(_all_with_runs(scale, root), root, root / "report.html"))
    else:
        print(write_report([load_plan(experiment, scale)], root, root / experiment / "report.html"))


@command
def engines(
    experiment: ExperimentName, source: Source = "runs", scale: Scale = "tiny", runs_dir: RunsDir = None
) -> None:
    """Print, as Markdown, the same cells and seeds trained by TRL and by verl side by side, from the finished runs.

    Args:
        runs_dir: Folder of the runs by TRL; those by verl are in its folder verl/.
    """
    from analysis.engines import markdown, side_by_side
    from analysis.runs import finished_runs

    plan, root = load_plan(experiment, scale), _root(source, runs_dir, scale)
    print(markdown(side_by_side(plan, finished_runs(plan, root), finished_runs(plan, root / "verl"))))


@command
def publish(
    experiment: ExperimentName,
    scale: Scale = "tiny",
    engine: Literal["trl", "verl"] = "trl",
    runs_dir: RunsDir = None,
) -> None:
    """Put an experiment's tables, figures, page and all of its finished runs but the models into results/, to be committed.

    Runs go into a few Parquet files; `gainrl restore` makes a run's folder of them again. What is published already
    stays until all of it is written. Of a study, which trains nothing and has one scale: its report, figures, and tables of
    ids and numbers.

    Args:
        engine: What trained the runs; those by verl go into results/verl/.
    """
    from analysis.runs import common_seeds, finished_runs, unfinished_runs
    from experiments import load_study, scales, study_names

    if experiment in study_names():
        (only,) = scales(experiment)
        return print(publish_study(load_study(experiment, only), runs_folder(runs_dir, only), Path("results")))
    plan = load_plan(experiment, scale)
    parts = [] if engine == "trl" else [engine]
    source, results = runs_folder(runs_dir, scale, *parts), of_scale(Path("results"), scale)
    results = results if engine == "trl" else results / engine
    if source.resolve() == results.resolve():
        raise InputError(f"{source} is where runs are published; give the folder in which they work as --runs-dir")
    runs = finished_runs(plan, source)
    if runs.left_out:
        raise InputError(
            f"{len(runs.left_out)} runs of {plan.name} are damaged, nothing is published; train them again with --overwrite, "
            f"or move them away: {runs.left_out[0]}"
        )
    _warn(plan, (), runs.notes, unfinished_runs(plan, source))
    for cell in (cell for cell, by_seed in runs.items() if not by_seed):
        _say(f"{plan.name}: no finished run of {cell}; its rows are empty")
    missing = [cell for cell, by_seed in runs.items() if by_seed and sorted(by_seed) != common_seeds(runs)]
    if missing and not plan.leaderboard:  # a row of a leaderboard says how many seeds it has
        raise InputError(
            f"every cell that has runs must have the same seeds to be published; gainrl reproduce first: {', '.join(missing)}"
        )
    results.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".publishing-", dir=results) as name:
        beside = _as_it_is(results, plan.name, Path(name))
        _publish(plan, runs, source, results, beside)
        if engine == "verl":
            _compare_with_trl(plan, results.parent, runs, beside / plan.name / "engines.md")
        replace_folder(results / plan.name, beside / plan.name)
    print(results / plan.name)


def _as_it_is(results: Path, experiment: str, to: Path) -> Path:
    """All that is published, in another folder: a copy of the experiment without runs and figures, links to the others."""
    for folder in results.iterdir():
        if folder.is_dir() and folder.name != experiment:
            (to / folder.name).symlink_to(folder.resolve())
    if (results / experiment).exists():
        shutil.copytree(results / experiment, to / experiment, ignore=shutil.ignore_patterns("runs", "seed-*"))
    for figure_path in (to / experiment).glob("*.png"):
        figure_path.unlink()
    return to


def _publish(plan: "Experiment", runs: "Runs", source: Path, results: Path, to: Path) -> None:
    """Write everything about an experiment into ``to``/<experiment>; the other experiments are in ``to`` too."""
    from gainrl.runs.published import add_measurements, write_published

    measured, folder = source / plan.name, to / plan.name
    write_published(runs, plan.name, results, folder)
    add_measurements([path for kind in MEASURED for path in sorted((measured / kind).glob("*/"))], folder)
    for path in (path for pattern in SUMMARIES for path in measured.glob(pattern)):
        shutil.copyfile(path, folder / path.name)
    kept_correlations(plan, runs, source, folder)
    write_table(plan, to)
    write_report([plan], to, folder / "report.html")
    write_figure(plan, to, ("png",))


def _compare_with_trl(plan: "Experiment", results: Path, by_verl: "Runs", path: Path) -> None:
    """What `engines` prints, where some of the runs are published by TRL too."""
    from analysis.engines import markdown, side_by_side
    from analysis.runs import Runs, finished_runs

    by_trl = finished_runs(plan, results) if (results / plan.name).exists() else Runs()
    if any(by_trl.get(cell, {}).keys() & seeds.keys() for cell, seeds in by_verl.items()):
        write_text(path, markdown(side_by_side(plan, by_trl, by_verl)) + "\n")


@command
def restore(run: tyro.conf.Positional[str], scale: Scale = "tiny", runs_dir: RunsDir = None) -> None:
    """Make the folders of published runs again, where `gainrl train` and the others find them finished; without models.

    Of several, those that are there already stay as they are.

    Args:
        run: EXPERIMENT/CELL/seed-K or the run's hash; EXPERIMENT or EXPERIMENT/CELL for all of its runs, to go on with them.
    """
    from gainrl.runs.plan import home_of, link, run_path
    from gainrl.runs.published import indices, stored_runs, write_folder
    from gainrl.runs.whole import require_whole

    results, root = of_scale(Path("results"), scale), runs_folder(runs_dir, scale)
    entries = [(experiment, *entry) for experiment, known in indices(results).items() for entry in known]
    names = {f"{experiment}/{cell}/seed-{seed}": entry for entry in entries for experiment, cell, seed, _ in [entry]}
    hashes = {entry[-1]: entry for entry in reversed(entries)}
    one = [entry] if (entry := names.get(run) or hashes.get(run)) else []
    if not (chosen := one or [entry for name, entry in names.items() if name.startswith(f"{run}/")]):
        some = ", ".join([*names][:3]) or "none"
        raise InputError(
            f"no run {run!r} under {results}; valid: a hash, or one of {len(names)} names or what these begin with: {some}, ..."
        )
    stored = stored_runs(results)
    for experiment, cell, seed, run_hash in chosen:
        path, home = run_path(root, experiment, cell, seed), home_of(root, run_hash)
        if one and (existing := [place for place in (path, home) if place.exists()]):
            raise InputError(f"{existing[0]} already exists; remove it first")
        if path.exists():
            continue
        if not home.exists():
            if (published := stored.get(run_hash)) is None:
                raise InputError(f"run {run_hash} is in an index, but no {results}/*/runs/runs.parquet holds it")
            require_whole(published)
            write_folder(published, home)
        link(path, home)
        print(path)


def _root(source: str, runs_dir: Path | None, scale: str) -> Path:
    return runs_folder(runs_dir, scale) if source == "runs" else of_scale(Path("results"), scale)


def _finished(plan: "Experiment", root: Path) -> "Runs":
    """The finished runs; those left out, and those that are not finished, are named on stderr."""
    from analysis.runs import finished_runs, unfinished_runs

    runs = finished_runs(plan, root)
    _warn(plan, runs.left_out, runs.notes, unfinished_runs(plan, root))
    return runs


def _warn(plan: "Experiment", left_out: Iterable[str], notes: Iterable[str], unfinished: Sequence[str]) -> None:
    for line in left_out:
        _say(f"{plan.name}: left out: {line}")
    for line in notes:
        _say(line)
    if unfinished:
        more = ", ..." if len(unfinished) > 3 else ""
        _say(f"{plan.name}: not finished and not counted ({len(unfinished)}): {', '.join(unfinished[:3])}{more}")


@cache
def _say(line: str) -> None:
    """On stderr, once a command."""
    print(f"gainrl: {' '.join(line.split())}", file=sys.stderr)


def write_table(plan: "Experiment", root: Path, window: int = 1) -> str:
    """table.md, table.tex and table.csv beside the runs; returns the first's text."""
    from analysis.comparison import compare
    from analysis.control import against_control
    from analysis.leaderboard import leaderboards
    from analysis.paper import against_paper
    from analysis.rendering import latex, markdown
    from analysis.tables import grids
    from analysis.verdict import verdict

    runs = _finished(plan, root)
    comparison, controls = compare(plan, runs, window=window), against_control(plan, runs)
    tables = [*leaderboards(plan, comparison, runs), *grids(plan, comparison, controls, runs)]
    text, folder = markdown(plan, comparison, tables, verdict(plan, comparison, controls, runs)), root / plan.name
    whole = against_paper(plan, comparison)
    write_atomically(folder / "table.csv", lambda path: whole.to_csv(path, index=False))
    write_text(folder / "table.md", text)
    write_text(folder / "table.tex", latex(plan, comparison, tables))
    return text


def write_figure(plan: "Experiment", root: Path, formats: Sequence[str] = ("svg", "pdf", "png")) -> Path:
    """Every figure that there are data for, beside the runs; returns the first's PNG."""
    from analysis.comparison import compare
    from analysis.control import against_control
    from paper_figures import of_experiment, style

    runs = _finished(plan, root)
    correlations = kept_correlations(plan, runs, root)
    figures = of_experiment.figures(plan, runs, compare(plan, runs), against_control(plan, runs), correlations)
    paths = [style.save_all(figure, root / plan.name / name, formats) for name, figure in figures.items()]
    return paths[0]


def kept_correlations(plan: "Experiment", runs: "Runs", root: Path, folder: Path | None = None) -> "pd.DataFrame":
    """How alike the orders are: worked out from what the runs share, and kept for where that is not at hand.

    Args:
        folder: where it is kept; beside the runs.
    """
    import pandas as pd

    from analysis.orders import COLUMNS, ROWS, order_correlations

    path = (folder or root / plan.name) / "order_correlations.csv"
    kept = read_csv(path, ROWS) if os.path.lexists(path) else pd.DataFrame(columns=COLUMNS)
    try:
        correlations = order_correlations(runs, root / "shared", kept)
    except InputError as error:
        _say(f"{plan.name}: how alike the orders are is not worked out anew: {error}")
        return kept
    if len(correlations) and not correlations.equals(kept):
        write_atomically(path, lambda file: correlations.to_csv(file, index=False))
    return correlations


def write_report(plans: "list[Experiment]", root: Path, path: Path) -> Path:
    """The page about the experiments, from their finished runs under ``root``; each section in a process of its own."""
    from analysis.report import Section, page

    if len(plans) > 1:  # spawned, since a copy of a process with threads may hang
        with ProcessPoolExecutor(min(len(plans), os.cpu_count() or 1), get_context("spawn")) as pool:
            found = list(pool.map(partial(_section_or_reason, root=root), plans))
    else:
        found = [_section(plan, root) for plan in plans]
    for plan, section in zip(plans, found, strict=True):
        if isinstance(section, Section):
            _warn(plan, section.left_out, section.notes, section.unfinished)
        else:
            _say(f"{plan.name}: left out: {section}")
    sections = [section for section in found if isinstance(section, Section)]
    if not sections:
        raise InputError(f"no experiment has a finished run under {root} that can be used; gainrl reproduce makes them")
    text = page(sections)
    write_text(path, text)
    return path


def _section_or_reason(plan: "Experiment", root: Path) -> "Section | str":
    """The section, or why there can be none."""
    try:
        return _section(plan, root)
    except InputError as error:
        return str(error)


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
    """The experiments of which a run has begun or is published; those with a leaderboard come first."""
    from experiments import experiment_names, scales
    from gainrl.runs.plan import seed_paths
    from gainrl.runs.published import INDEX

    names = [name for name in experiment_names() if scale in scales(name)]
    begun = [name for name in names if os.path.lexists(root / name / INDEX) or seed_paths(root, name)]
    if not begun:
        raise InputError(f"no experiment has a finished run under {root}; gainrl reproduce makes them")
    return sorted((load_plan(name, scale) for name in begun), key=lambda plan: not plan.leaderboard)
