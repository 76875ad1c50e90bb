"""Commands that score problems, and that make a model to score them with if you have none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gainrl.cli.options import (
    DEVICE,
    PROBLEMS,
    DataName,
    Device,
    LargeCount,
    LargeCountOrZero,
    Layer,
    ModelName,
    Problems,
    RunsDir,
    SiteName,
    command,
    file_to_write,
    folder_to_write,
)
from gainrl.errors import InputError, unknown_name
from gainrl.files import whole_folder


@command
def score(
    model: ModelName,
    data: DataName,
    out: Path,
    definition: Literal["paper", "off-diagonal", "released"] = "paper",
    site: SiteName = "mlp_input",
    layer: Layer = -1,
    layers: str | None = None,
    options: Problems = PROBLEMS,
    batch_tokens: LargeCount | None = None,
    device: Device = DEVICE,
    skip_too_long: bool = False,
    runs_dir: RunsDir = None,
) -> None:
    """Write the angle concentration of every problem, from one prefill, into a Parquet file: one row a problem.

    An interrupted scoring, even a killed one, resumes with the same command. A scores file of other problems, of another
    model, prompt or signal is not replaced.

    Args:
        out: The scores file to write.
        definition: paper counts i = j in c_intra; off-diagonal leaves it out; released is what the authors' script computes.
        layer: Index of the layer; -1 is the last.
        layers: Several layers in one pass, a row for each problem and layer: all, or numbers such as 0,5,-1.
        batch_tokens: Most question tokens in a batch, padding included. Default: 1,024 on a CPU, 16,384 on a GPU.
        skip_too_long: Leave out problems whose prompt does not fit the model's context, and say how many.
    """
    chosen = _layers(layers)
    file_to_write(out)
    replaced = _metadata_of(out)
    problems = options.load(data)
    from gainrl.progress import bar
    from gainrl.runs.config import SignalConfig
    from gainrl.scoring import score_problems

    with bar() as report:
        loaded = device.load_model(model, options.seed, runs_dir, report)
        scores = score_problems(
            loaded.model,
            loaded.tokenizer,
            problems,
            options.load_prompt(problems),
            signal=SignalConfig(definition=definition, site=site, layer=layer),
            layers=chosen,
            model_version=loaded.version,
            batch_tokens=batch_tokens,
            skip_too_long=skip_too_long,
            unfinished=out.with_name(f"{out.name}.unfinished"),
            replaces=replaced,
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


@command
def make_model(
    data: DataName,
    out: Path,
    shape: str = "small",
    vocabulary: LargeCount = 4096,
    steps: LargeCountOrZero = 0,
    options: Problems = PROBLEMS,
) -> None:
    """Make a small model from a problem file alone, to try the other commands without a hub.

    Its tokenizer is learnt from the problems; its weights are random, or briefly trained on the questions.

    Args:
        data: Registered problem set, or a JSON, JSONL or Parquet file with problem (or question) and answer.
        out: The folder to write.
        shape: small, or a Qwen2.5 model's sizes: qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b.
        vocabulary: Most tokens that the tokenizer may have.
        steps: Steps of language modelling on questions and answers, 16 problems each; 0 leaves the weights random.
    """
    from gainrl.models import SHAPES

    if shape not in SHAPES:
        raise unknown_name("shape", shape, SHAPES)
    if out.exists():
        raise InputError(f"{out} already exists; choose another --out")
    folder_to_write(out.parent)
    problems = options.load(data)
    from gainrl.models.text import text_model
    from gainrl.progress import bar

    with bar() as report:
        model, tokenizer = text_model(
            problems,
            SHAPES[shape],
            vocabulary=vocabulary,
            steps=steps,
            seed=options.seed,
            progress=lambda done, of: report("training", done, of),
        )
    with whole_folder(out) as unfinished:
        model.save_pretrained(unfinished)
        tokenizer.save_pretrained(unfinished)
    print(f"{out}: {sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer):,} tokens")


def _metadata_of(out: Path) -> Mapping[str, str] | None:
    """What the scores depend on that lie at ``out``; None where nothing does. Raises InputError for any other file there."""
    if not out.exists():
        return None
    from gainrl.scoring import Scores

    try:
        return Scores.load(out).metadata
    except InputError as error:
        raise InputError(f"{out} exists and is not a scores file; choose another --out") from error


def _layers(text: str | None) -> list[int] | Literal["all"] | None:
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(f"--layers is {text!r}; valid: all, or numbers such as 0,5,-1") from error
