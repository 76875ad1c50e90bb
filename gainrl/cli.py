"""The `gainrl` command. Each subcommand imports what it needs, so that the light ones start at once."""

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import ValidationError

from gainrl.errors import InputError

if TYPE_CHECKING:
    from gainrl.config import Experiment
    from gainrl.models.loading import LoadedModel
    from gainrl.train import Report

app = tyro.extras.SubcommandApp()

Name = tyro.conf.Positional[str]
RunsDir = Annotated[Path | None, tyro.conf.arg(help="Where runs work. Default: $GAINRL_RUNS, or runs/ here.")]
Dtype = Literal["auto", "float32", "bfloat16", "float16"]
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
    plan, root = _load(experiment, scale), _runs_dir(runs_dir)
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
    plan, root = _load(experiment, scale), _runs_dir(runs_dir)
    plan.cell(cell)
    from gainrl.launch import run_experiment, run_path

    run_experiment(plan, cells=[cell], seeds=[seed], runs_dir=root, overwrite=overwrite)
    print(run_path(root, plan.name, cell, seed))


@app.command
def score(
    model: Name,
    data: Name,
    out: Path,
    definition: Literal["paper", "off-diagonal", "released"] = "paper",
    site: Literal["mlp_input", "residual", "final_norm"] = "mlp_input",
    layer: int = -1,
    layers: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    prompt: str | None = None,
    batch_tokens: int = 4096,
    device: str = "auto",
    dtype: Dtype = "auto",
    skip_too_long: bool = False,
    drop_null_answers: bool = False,
    runs_dir: RunsDir = None,
) -> None:
    """Angle concentration of every problem, from one prefill: a Parquet file, one row a problem.

    A broken-off scoring (also one that was killed) goes on when the same command is given again.

    Args:
        model: Registered name, hub id or folder.
        data: Registered problem set, or a JSON, JSONL or Parquet file with problem (or question) and answer.
        out: The scores file to write.
        definition: paper counts i = j in c_intra; off-diagonal leaves it out; released is what the authors' script computes.
        site: Where hidden states are read: the MLP's input, the residual stream, or after the final norm.
        layer: Index of the layer; -1 is the last.
        layers: Several layers in one pass, a row a (problem, layer): all, or numbers such as 0,5,-1.
        limit: Score the first so many problems only.
        seed: Of a tiny model and of generated problems.
        prompt: JSON file with another prompt (system, example).
        batch_tokens: Most question tokens of a batch, padding included.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: auto is bfloat16 on a GPU and float32 on a CPU.
        skip_too_long: Leave out problems whose prompt does not fit the model's context (the number is told).
        drop_null_answers: Leave out rows whose answer is null or empty (the number is told).
    """
    from gainrl.problems import load_problems

    out.parent.mkdir(parents=True, exist_ok=True)  # a place that cannot be written to fails now, not after the work
    problems = load_problems(data, limit=limit, seed=seed, drop_null_answers=drop_null_answers)
    from gainrl.config import SignalConfig
    from gainrl.launch import bar
    from gainrl.probe import score_problems
    from gainrl.prompts import load_prompt

    with bar() as report:
        loaded = _load_on_device(model, device, dtype, seed, runs_dir, report)
        scores = score_problems(
            loaded.model,
            loaded.tokenizer,
            problems,
            load_prompt(prompt),
            signal=SignalConfig(definition=definition, site=site, layer=layer),
            layers=_layers(layers),
            model_version=loaded.version,
            batch_tokens=batch_tokens,
            skip_too_long=skip_too_long,
            unfinished=out.with_name(f"{out.name}.unfinished"),
            progress=lambda done, of: report("scoring", done, of),
        )
    scores.save(out)
    scored = scores.table.problem_id.nunique()
    nan = int(scores.table["angle"].isna().sum())
    notes = [
        f"{dropped} {what}"
        for dropped, what in (
            (problems.source.get("dropped_null_answers", 0), "rows without an answer were left out"),
            (len(problems) - scored, "problems were left out: their prompts do not fit the model's context"),
            (nan, "angles are NaN, as in the release, and come first in its order"),
        )
        if dropped
    ]
    print("; ".join([f"{out}: {scored} problems, mean angle {scores.table['angle'].mean():.4f}", *notes]))


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
    runs = finished_runs(plan, _runs_dir(runs_dir))
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
        "schedules": SCHEDULES,
        "orders": [*ORDERS, "random"],
    }.items():
        print(f"{title}\n  {', '.join(names)}")


def _load(experiment: str, scale: str) -> "Experiment":
    from experiments.base import load_experiment

    return load_experiment(experiment, scale)


def _layers(text: str | None) -> list[int] | Literal["all"] | None:
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(f"--layers is {text!r}; valid: all, or numbers such as 0,5,-1") from error


def _load_on_device(
    name: str, device: str, dtype: str, seed: int, runs_dir: Path | None, report: "Report"
) -> "LoadedModel":
    import torch

    from gainrl.models.loading import load_model

    target = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if target.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"--device is {device}, but torch sees no CUDA device; valid here: cpu")
    chosen = ("bfloat16" if target.startswith("cuda") else "float32") if dtype == "auto" else dtype
    loaded = load_model(
        name,
        cache=_runs_dir(runs_dir) / "shared" / "models",
        seed=seed,
        dtype=getattr(torch, chosen),
        progress=lambda done, of: report("warm-up", done, of),
    )
    loaded.model.to(target)
    return loaded


def _runs_dir(given: Path | None) -> Path:
    return given or Path(os.environ.get("GAINRL_RUNS") or "runs")


def _root(source: str, runs_dir: Path | None) -> Path:
    return _runs_dir(runs_dir) if source == "runs" else Path("results")


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
    paths = [root / plan.name / f"learning_curves.{suffix}" for suffix in ("svg", "pdf", "png")]
    for path in paths:
        style.save(learning_curves.plot(plan, frame), path)
    return paths[-1]


def main() -> None:
    """Entry point: a user's mistake is one line on stderr and exit code 2."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # the suite draws its own progress bars
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    try:
        app.cli(prog="gainrl", description="Reproduction suite for GAIN-RL (arXiv 2506.02281).")
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}")
    except InputError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'file system'}: {error.strerror or error}")
    except KeyboardInterrupt:
        print("gainrl: broken off; finished runs are kept, the same command goes on with the others", file=sys.stderr)
        sys.exit(130)


def _fail(message: str) -> None:
    print(f"gainrl: {message}", file=sys.stderr)
    sys.exit(2)
