"""What experiments measure after their runs: patterns along training, angle against gradient, the cost of scoring, and what
training on one kind of problems does to another benchmark.

What is finished is not made again.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from analysis.angle_gradient.summary import side_by_side
from analysis.elsewhere import before_and_after
from analysis.patterns import over_seeds
from analysis.runs import finished_runs
from experiments import angle_gradient, main_table, patterns, scoring_cost
from gainrl.cli.studies import write_correlation, write_patterns
from gainrl.columns import Column, Rows, read_csv
from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import load_benchmark
from gainrl.evaluation.heldout import HeldOut
from gainrl.files import write_atomically, write_text
from gainrl.models.generation.hf import hf_backend
from gainrl.models.loading import LoadedModel, load_model
from gainrl.problems import ProblemSet
from gainrl.progress import Report
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Experiment
from gainrl.runs.plan import run_path
from gainrl.runs.records import RunFolder
from gainrl.scoring import score_problems
from gainrl.studies.angle_gradient import Settings, cosine_matrices, measure_into
from gainrl.studies.patterns import checkpoints, trace
from gainrl.training.inputs import training_problems
from paper_figures import cosine_layers, style

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def measure_patterns(plan: Experiment, runs_dir: Path, report: Report) -> str:
    """The patterns of every finished run, in <experiment>/patterns/<cell>-seed-<k>/, and summary.md over seeds beside them."""
    lines = []
    for name, run, config in _each_run(plan, runs_dir):
        out = runs_dir / plan.name / "patterns" / name
        if not (out / "report.md").exists():
            folders = checkpoints(run.checkpoints)
            first = _load(config, folders[min(folders)], runs_dir)
            problems = _first_problems(config, first, patterns.followed(config.model.name))
            for step in (min(folders), max(folders)):
                _draw_layers(config, folders[step], out / f"cosine_layers_step-{step}")
            frame = trace(
                folders,
                problems,
                out,
                config.prompt,
                signal=config.signal,
                max_completion_tokens=config.training.max_completion_tokens,
                device=DEVICE,
                dtype=first.model.dtype,
                bf16=config.training.bf16,
                report=report,
            )
            write_patterns(out, frame, config.seed)
        lines.append(f"- {name}: {(out / 'report.md').read_text().splitlines()[0]} ({out / 'report.md'})")
    folder = runs_dir / plan.name / "patterns"
    return "\n".join(["Patterns along training:", "", *lines, "", over_seeds(folder), str(folder / "summary.md")])


def measure_angle_gradient(plan: Experiment, runs_dir: Path, report: Report) -> str:
    """A measurement a kept checkpoint, in <experiment>/gradients/<cell>-seed-<k>-step-<n>/, and summary.md beside them."""
    measured = []
    for name, run, config in _each_run(plan, runs_dir):
        for step, folder in checkpoints(run.checkpoints).items():
            out = runs_dir / plan.name / "gradients" / f"{name}-step-{step}"
            if not (out / "report.md").exists():
                _correlate(config, folder, out, report)
            measured.append(out)
    return f"{side_by_side(measured)}\n{measured[0].parent / 'summary.md'}"


def measure_scoring_cost(plan: Experiment, runs_dir: Path, report: Report) -> str:
    """A row a finished run in <experiment>/scoring.csv and .md: scoring on this machine beside the run's own steps."""
    folder = runs_dir / plan.name
    path = folder / "scoring.csv"
    finished = {row["run"]: row for row in _kept(path, TIMED)}
    rows: list[dict[Any, Any]] = []
    for name, run, config in _each_run(plan, runs_dir):
        if name not in finished:
            size, seconds = _seconds_of_scoring(config, runs_dir / "shared" / "models", report)
            step_seconds, all_seconds = run.metrics().seconds.median(), run.metrics().seconds.sum()
            finished[name] = {
                "run": name,
                "problems": size,
                "scoring (s)": seconds,
                "median step (s)": step_seconds,
                "scoring in steps": seconds / step_seconds,
                "share of all steps (%)": 100 * seconds / all_seconds,
            }
        rows.append(finished[name])
    table = pd.DataFrame(rows)
    text = (
        f"{table.to_markdown(index=False, floatfmt='.3g')}\n\nScoring: median of {scoring_cost.REPEATS} in one process on "
        f"this machine's {DEVICE}; steps as the runs recorded them, evaluation apart.\n"
    )
    write_atomically(path, lambda file: table.to_csv(file, index=False))
    write_text(folder / "scoring.md", text)
    return f"{text}\n{folder / 'scoring.md'}"


TIMED = Rows(
    {"run": Column("text"), "problems": Column("whole number", low=1)}
    | dict.fromkeys(("scoring (s)", "median step (s)", "scoring in steps", "share of all steps (%)"), Column(low=0)),
    unique=("run",),
)


def _kept(path: Path, rows: Rows) -> list[dict[Any, Any]]:
    """The rows of a table that was perhaps begun. Raises InputError: the file is damaged."""
    return list(read_csv(path, rows).to_dict("records")) if path.exists() else []


def measure_elsewhere(plan: Experiment, runs_dir: Path, report: Report, data_dir: Path | None = None) -> str:
    """A benchmark that no run trains on, before and after: <experiment>/elsewhere.csv, a row a model, and .md. Greedy.

    Of runs that keep models; the same weights are asked once. Where the hub does not have the benchmark, that is
    said. Raises InputError: ``data_dir`` does not have it.
    """
    if all(run.training.keep_every is None for run in plan.cells.values()):
        return ""
    try:
        problems = load_benchmark(main_table.ELSEWHERE, data_dir, limit=main_table.ELSEWHERE_PROBLEMS)
    except InputError as error:
        if data_dir is not None:
            raise
        return f"{main_table.ELSEWHERE} was not asked: {error}; --data-dir reads it from a folder of files"
    path = runs_dir / plan.name / "elsewhere.csv"
    rows = _kept(path, ELSEWHERE)
    asked = {(row["run"], row["step"]) for row in rows}
    for name, run, config in _each_run(plan, runs_dir):
        if not any(run.checkpoints.glob("step-*")):  # a published run that was restored has no models
            continue
        folders = checkpoints(run.checkpoints)
        for step in sorted({min(folders), max(folders)} - {step for of, step in asked if of == name}):
            loaded = _load(config, folders[step], runs_dir)
            same = next((row for row in rows if row["weights"] == loaded.version), None)
            found = same or _ask(loaded, problems, config, report)
            rows.append({**found, "run": name, "step": step, "weights": loaded.version})
            write_atomically(path, lambda file: pd.DataFrame(rows).to_csv(file, index=False))
    if not rows:
        return f"{main_table.ELSEWHERE} was not asked: no run has kept its models"
    text = before_and_after(
        pd.DataFrame(rows), plan.labels, main_table.ELSEWHERE, tokens=main_table.ELSEWHERE_COMPLETION
    )
    write_text(path.with_suffix(".md"), text)
    return f"{text}\n{path.with_suffix('.md')}"


ELSEWHERE = Rows(
    {
        "run": Column("text"),
        "step": Column("whole number", low=0),
        "weights": Column("text"),
        "accuracy": Column(low=0, high=1),
        "stderr": Column(low=0),
        "n": Column("whole number", low=1),
        "truncated": Column(low=0, high=1),
        "unparseable": Column(low=0, high=1),
    },
    unique=("run", "step"),
)


def _ask(loaded: LoadedModel, problems: ProblemSet, config: RunConfig, report: Report) -> dict[str, float]:
    report(f"asking {problems.name}", 0, len(problems))
    held_out = HeldOut(
        problems,
        problems.prompt,
        loaded.tokenizer,
        context=loaded.context,
        max_completion_tokens=main_table.ELSEWHERE_COMPLETION,
        batch_size=config.evaluation.batch_size,
    )
    with torch.autocast(DEVICE, torch.bfloat16, enabled=config.training.bf16):
        found = held_out.evaluate(hf_backend(loaded.model, loaded.tokenizer, held_out.batch_tokens))
    return {
        "accuracy": found.value,
        **{name: getattr(found, name) for name in ("stderr", "n", "truncated", "unparseable")},
    }


FOLLOW_UPS: dict[str, Callable[..., str]] = {
    "main_table": measure_elsewhere,
    "patterns": measure_patterns,
    "angle_gradient": measure_angle_gradient,
    "scoring_cost": measure_scoring_cost,
}
"""By experiment; each is given the plan and the folder of its runs, and returns Markdown that says where the files are.
`main_table`'s takes a folder of problem files too."""


def _each_run(plan: Experiment, runs_dir: Path) -> Iterator[tuple[str, RunFolder, RunConfig]]:
    """(its name in files, folder, config) of every finished run, by cell and seed."""
    for cell, by_seed in finished_runs(plan, runs_dir).items():
        for seed in by_seed:
            run = RunFolder(run_path(runs_dir, plan.name, cell, seed))
            yield f"{cell}-seed-{seed}", run, run.config()


def _load(config: RunConfig, source: Path | str, cache: Path) -> LoadedModel:
    """A model of the run (a checkpoint's folder, or the name that it began with), where it was trained."""
    loaded = load_model(
        str(source),
        cache=cache,
        seed=config.seed,
        revision=config.model.revision if str(source) == config.model.name else None,
    )
    loaded.model.to(DEVICE)
    return loaded


def _first_problems(config: RunConfig, loaded: LoadedModel, most: int) -> ProblemSet:
    """The first so many of the run's training problems."""
    problems = training_problems(config, loaded)
    return problems.head(min(most, len(problems)))


def _draw_layers(config: RunConfig, folder: Path, stem: Path) -> None:
    loaded = _load(config, folder, folder)
    (problem,) = _first_problems(config, loaded, 1).problems
    shown = cosine_matrices(loaded.model, loaded.tokenizer, problem, config.prompt, config.signal)
    style.save_all(cosine_layers.plot(*shown, title=f"Cosines between tokens, {folder.name}"), stem)


def _correlate(config: RunConfig, folder: Path, out: Path, report: Report) -> None:
    loaded = _load(config, folder, folder)
    problems = _first_problems(config, loaded, angle_gradient.PROBLEMS)
    settings = Settings(
        config.signal,
        angle_gradient.SAMPLES,
        config.training.temperature,
        config.training.max_completion_tokens,
        config.seed,
    )
    out.mkdir(parents=True, exist_ok=True)
    measured = measure_into(out, loaded, problems, config.prompt, settings, None, report)
    write_correlation(out, measured, loaded, problems, config.prompt, settings)


def _seconds_of_scoring(config: RunConfig, cache: Path, report: Report) -> tuple[int, float]:
    """Number of problems, and seconds from the loaded model to all scores."""
    loaded = _load(config, config.model.name, cache)
    problems, seconds = training_problems(config, loaded), []
    for repeat in range(scoring_cost.REPEATS):
        report("timing the scoring", repeat, scoring_cost.REPEATS)
        began = time.perf_counter()
        score_problems(loaded.model, loaded.tokenizer, problems, config.prompt, signal=config.signal)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return len(problems), float(np.median(seconds))
