"""What is measured on models beside training them, and the folders that it leaves: for the commands and for follow-ups."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch

from analysis import angle_gradient, gradient_parts
from analysis.runs import finished_runs
from gainrl.config import Experiment, RunConfig
from gainrl.correlate import Measured, Settings, cosine_matrices
from gainrl.models.loading import LoadedModel, load_model
from gainrl.probe.sites import layer_count
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt
from gainrl.records import RunFolder, write_atomically
from gainrl.train import training_problems
from paper_figures import angle_scatter, cosine_layers, layer_profile, rank_matrix, style, training_patterns

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def each_run(plan: Experiment, runs_dir: Path) -> Iterator[tuple[str, RunFolder, RunConfig]]:
    """(its name in files, folder, config) of every finished run, by cell and seed."""
    for cell, by_seed in finished_runs(plan, runs_dir).items():
        for seed, run in by_seed.items():
            yield f"{cell}-seed-{seed}", run, run.config()


def load_of_run(config: RunConfig, source: Path | str, cache: Path) -> LoadedModel:
    """A model of the run (a checkpoint's folder, or the name that it began with), where and in what it was trained."""
    loaded = load_model(
        str(source),
        cache=cache,
        seed=config.seed,
        revision=config.model.revision if str(source) == config.model.name else None,
        dtype=torch.bfloat16 if config.training.bf16 else torch.float32,
    )
    loaded.model.to(DEVICE)
    return loaded


def first_problems(config: RunConfig, loaded: LoadedModel, most: int) -> ProblemSet:
    """The first so many of the run's training problems."""
    problems = training_problems(config, loaded)
    return problems.head(min(most, len(problems)))


def write_correlation(
    out: Path,
    measured: Measured,
    loaded: LoadedModel,
    problems: ProblemSet,
    prompt: Prompt,
    settings: Settings,
    resamples: int = 1000,
) -> str:
    """Tables, figures and report.md of a measurement of angle against gradient; report.md last. Returns the verdict."""
    layer = settings.signal.layer % layer_count(loaded.model)
    table = angle_gradient.correlations(measured.table, probed_layer=layer, seed=settings.seed, resamples=resamples)
    shares = gradient_parts.shares(measured.parts, seed=settings.seed, resamples=resamples)
    size = f"{sum(p.numel() for p in loaded.model.parameters()):,} parameters"
    name = f"{loaded.name}, {size}, weights {loaded.version}"
    verdict = angle_gradient.verdict(
        table, model=name, problems=problems.name, probed_layer=layer, what=settings.signal.site
    )
    notes = gradient_parts.notes(measured.table, measured.parts, shares)
    figures = {
        "angle_scatter": angle_scatter.plot(angle_scatter.data(measured.table, layer), table),
        "layer_profile": layer_profile.plot(layer_profile.data(table)),
        "rank_matrix": rank_matrix.plot(rank_matrix.data(measured.table, layer, seed=settings.seed)),
    }
    if settings.signal.site != "final_norm":
        shown = cosine_matrices(loaded.model, loaded.tokenizer, problems.problems[0], prompt, settings.signal)
        figures["cosine_layers"] = cosine_layers.plot(*shown, title=f"Cosines between tokens, {loaded.name}")
    text = angle_gradient.markdown(table, verdict, notes) + "".join(f"\n![{name}]({name}.png)\n" for name in figures)
    write_atomically(out / "correlations.parquet", lambda path: table.to_parquet(path, index=False))
    write_atomically(out / "correlations.csv", lambda path: table.to_csv(path, index=False))
    write_atomically(out / "variance_shares.csv", lambda path: shares.to_csv(path, index=False))
    for name, figure in figures.items():
        style.save_all(figure, out / name)
    write_atomically(out / "report.md", lambda path: path.write_text(text))
    return verdict


def write_patterns(out: Path, frame: pd.DataFrame, seed: int) -> str:
    """Summary, figure and report.md of problems followed along training; report.md last. Returns what it says."""
    summary = training_patterns.summary(frame, seed=seed)
    said = training_patterns.words(summary)
    text = (
        f"{said}\n\n{summary.to_markdown(index=False, floatfmt='.3g')}\n\n![training_patterns](training_patterns.png)\n"
    )
    write_atomically(out / "patterns.parquet", lambda path: frame.to_parquet(path, index=False))
    write_atomically(out / "summary.csv", lambda path: summary.to_csv(path, index=False))
    style.save_all(training_patterns.plot(training_patterns.data(frame)), out / "training_patterns")
    write_atomically(out / "report.md", lambda path: path.write_text(text))
    return said
