"""Commands that look into the signal: correlate, patterns."""

from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from gainrl.cli.options import (
    DEVICE,
    PROBLEMS,
    Count,
    CountOrZero,
    DataName,
    Device,
    LargeCount,
    Layer,
    ModelName,
    Problems,
    RunsDir,
    SiteName,
    Temperature,
    command,
    folder_to_write,
)
from gainrl.errors import InputError
from gainrl.files import write_atomically, write_text

if TYPE_CHECKING:
    import pandas as pd

    from gainrl.models.loading import LoadedModel
    from gainrl.problems import ProblemSet
    from gainrl.prompts import Prompt
    from gainrl.studies.angle_gradient import Measured, Settings


@command
def correlate(
    model: ModelName,
    data: DataName,
    out: Path,
    site: SiteName = "mlp_input",
    layer: Layer = -1,
    samples: CountOrZero = 8,
    temperature: Temperature = 1.0,
    max_completion_tokens: LargeCount = 256,
    completions: Path | None = None,
    options: Problems = PROBLEMS,
    resamples: Count = 1000,
    batch_tokens: LargeCount = 2048,
    device: Device = DEVICE,
    runs_dir: RunsDir = None,
) -> None:
    """Measure angle against gradient norm, problem by problem: tables, figures, and a verdict computed from the numbers.

    Correlations have intervals, plain and with length and difficulty held fixed. An interrupted measurement resumes with
    the same command.

    Args:
        out: The folder to write.
        layer: Layer that tables and verdict are about; -1 is the last. All are measured (with final_norm, the last alone).
        samples: Completions of each problem for the GRPO loss and the pass rate; 0 leaves both out.
        temperature: Temperature of these completions.
        max_completion_tokens: Longest of these completions.
        completions: JSONL file with problem_id and completion for the supervised loss. Default: the worked solution,
            where the set has one, with the answer in a box.
        resamples: Resamples of the bootstrap.
        batch_tokens: Most tokens in a batch, padding included.
    """
    from analysis.angle_gradient.resampling import FEWEST
    from gainrl.progress import bar
    from gainrl.runs.config import SignalConfig
    from gainrl.studies.angle_gradient import Settings, measure_into, read_completions

    if samples == 1:
        raise InputError("--samples is 1; a group of completions needs at least 2, and 0 leaves the GRPO loss out")
    folder_to_write(out)
    problems = options.load(data)
    prompt = options.load_prompt(problems)
    if len(problems) < FEWEST:
        raise InputError(f"{data} has {len(problems)} problems; correlations need at least {FEWEST}")
    given = None if completions is None else read_completions(completions)
    settings = Settings(
        SignalConfig(site=site, layer=layer), samples, temperature, max_completion_tokens, options.seed, batch_tokens
    )
    with bar() as report:
        loaded = device.load_model(model, options.seed, runs_dir, report)
        measured = measure_into(out, loaded, problems, prompt, settings, given, report)
    verdict = write_correlation(out, measured, loaded, problems, prompt, settings, resamples)
    print(f"{verdict}\n{out / 'report.md'}")


@command
def patterns(
    checkpoints: tyro.conf.Positional[Path],
    data: DataName,
    out: Path,
    site: SiteName = "mlp_input",
    layer: Layer = -1,
    max_completion_tokens: LargeCount = 256,
    options: Problems = PROBLEMS,
    device: Device = DEVICE,
) -> None:
    """Follow problems along a run: do C_intra and C_inter rise, is high angle learnt first, do neurons grow alike?

    An interrupted measurement resumes with the same command; finished checkpoints are kept.

    Args:
        checkpoints: Folder with model folders step-N (this suite's) or checkpoint-N (transformers').
        out: The folder to write: a row for each step and problem, a summary, a figure.
        layer: Index of the layer; -1 is the last.
        max_completion_tokens: Longest of the greedy answers.
    """
    from gainrl.progress import bar
    from gainrl.runs.config import SignalConfig
    from gainrl.studies.patterns import checkpoints as find_checkpoints
    from gainrl.studies.patterns import trace

    folders = find_checkpoints(checkpoints)
    folder_to_write(out)
    problems = options.load(data)
    prompt = options.load_prompt(problems)
    place, dtype = device.resolve()
    with bar() as report:
        frame = trace(
            folders,
            problems,
            out,
            prompt,
            signal=SignalConfig(site=site, layer=layer),
            max_completion_tokens=max_completion_tokens,
            device=place,
            dtype=dtype,
            report=report,
        )
    print(f"{write_patterns(out, frame, options.seed)}\n{out / 'report.md'}")


def write_correlation(
    out: Path,
    measured: "Measured",
    loaded: "LoadedModel",
    problems: "ProblemSet",
    prompt: "Prompt",
    settings: "Settings",
    resamples: int = 1000,
) -> str:
    """Tables, figures and report.md of a measurement of angle against gradient; report.md last. Returns the verdict."""
    from analysis import angle_gradient, gradient_parts
    from gainrl.scoring.hooks import layer_number
    from gainrl.studies.angle_gradient import cosine_matrices
    from paper_figures import angle_scatter, cosine_layers, layer_profile, rank_matrix, style

    layer = layer_number(loaded.model, settings.signal.layer)
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
    write_text(out / "report.md", text)
    return verdict


def write_patterns(out: Path, frame: "pd.DataFrame", seed: int) -> str:
    """Summary, figure and report.md of problems followed along training; report.md last. Returns what it says."""
    from analysis import patterns
    from paper_figures import style, training_patterns

    summary = patterns.summary(frame, seed=seed)
    verdict = patterns.words(summary)
    text = f"{verdict}\n\n{summary.to_markdown(index=False, floatfmt='.3g')}\n\n![training_patterns](training_patterns.png)\n"
    write_atomically(out / "patterns.parquet", lambda path: frame.to_parquet(path, index=False))
    write_atomically(out / "summary.csv", lambda path: summary.to_csv(path, index=False))
    style.save_all(training_patterns.plot(training_patterns.data(frame)), out / "training_patterns")
    write_text(out / "report.md", text)
    return verdict
