"""Commands that score problems, and that make a model to score them with where there is none."""

from pathlib import Path
from typing import Literal

from gainrl.cli.loading import Dtype, load_on_device
from gainrl.cli.shared import Name, RunsDir, app
from gainrl.errors import InputError, unknown_name


@app.command
def score(
    model: Name,
    data: Name,
    out: Path,
    definition: Literal["paper", "off-diagonal", "released"] = "paper",
    site: Literal["mlp_input", "neurons", "residual", "final_norm"] = "mlp_input",
    layer: int = -1,
    layers: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    prompt: str | None = None,
    batch_tokens: int | None = None,
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
        site: Where hidden states are read: the MLP's input, its neurons (hidden units), the residual stream, or after the
            final norm.
        layer: Index of the layer; -1 is the last.
        layers: Several layers in one pass, a row a (problem, layer): all, or numbers such as 0,5,-1.
        limit: Score the first so many problems only.
        seed: Of a tiny model and of generated problems.
        prompt: JSON file with another prompt (system, example).
        batch_tokens: Most question tokens of a batch, padding included; 1,024 on a CPU and 16,384 on a GPU if not given.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: auto is bfloat16 on a GPU and float32 on a CPU.
        skip_too_long: Leave out problems whose prompt does not fit the model's context (the number is told).
        drop_null_answers: Leave out rows whose answer is null or empty (the number is told).
    """
    from gainrl.problems import load_problems

    chosen = _layers(layers)
    out.parent.mkdir(parents=True, exist_ok=True)  # a place that cannot be written to fails now, not after the work
    problems = load_problems(data, limit=limit, seed=seed, drop_null_answers=drop_null_answers)
    from gainrl.config import SignalConfig
    from gainrl.launch import bar
    from gainrl.probe import score_problems
    from gainrl.prompts import load_prompt

    with bar() as report:
        loaded = load_on_device(model, device, dtype, seed, runs_dir, report)
        scores = score_problems(
            loaded.model,
            loaded.tokenizer,
            problems,
            load_prompt(prompt),
            signal=SignalConfig(definition=definition, site=site, layer=layer),
            layers=chosen,
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
def make_model(
    data: Name,
    out: Path,
    shape: str = "small",
    vocabulary: int = 4096,
    steps: int = 0,
    seed: int = 0,
    limit: int | None = None,
    drop_null_answers: bool = False,
) -> None:
    """A small model folder made from a problem file alone, to try the other commands where no hub is at hand.

    Its tokenizer is learnt from the problems; its weights are random, or briefly trained on the questions.

    Args:
        data: Registered problem set, or a JSON, JSONL or Parquet file with problem (or question) and answer.
        out: The folder to write.
        shape: small, or a Qwen2.5 model's sizes: qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b.
        vocabulary: Most tokens of the tokenizer.
        steps: Of language modelling on the questions and answers, 16 problems each; 0 leaves the weights random.
        seed: Of weights and training.
        limit: Learn from the first so many problems only.
        drop_null_answers: Leave out rows whose answer is null or empty.
    """
    from gainrl.models import SHAPES
    from gainrl.problems import load_problems

    if shape not in SHAPES:
        raise unknown_name("shape", shape, SHAPES)
    if out.exists():
        raise InputError(f"{out} is there already; choose another --out")
    problems = load_problems(data, limit=limit, seed=seed, drop_null_answers=drop_null_answers)
    from gainrl.launch import bar
    from gainrl.models.text import text_model

    with bar() as report:
        model, tokenizer = text_model(
            problems,
            SHAPES[shape],
            vocabulary=vocabulary,
            steps=steps,
            seed=seed,
            progress=lambda done, of: report("training", done, of),
        )
    unfinished = out.with_name(f".{out.name}.unfinished")
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(out)
    print(f"{out}: {sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer):,} tokens")


def _layers(text: str | None) -> list[int] | Literal["all"] | None:
    if text is None or text == "all":
        return text  # type: ignore[return-value]
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(f"--layers is {text!r}; valid: all, or numbers such as 0,5,-1") from error
