"""Commands that look into the signal: correlate, patterns."""

from pathlib import Path
from typing import Literal

import tyro

from gainrl.cli.loading import Dtype, load_on_device, resolve
from gainrl.cli.shared import Name, RunsDir, app


@app.command
def correlate(
    model: Name,
    data: Name,
    out: Path,
    site: Literal["mlp_input", "neurons", "residual", "final_norm"] = "mlp_input",
    layer: int = -1,
    samples: int = 8,
    temperature: float = 1.0,
    max_completion_tokens: int = 256,
    completions: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    prompt: str | None = None,
    resamples: int = 1000,
    batch_tokens: int = 2048,
    device: str = "auto",
    dtype: Dtype = "auto",
    drop_null_answers: bool = False,
    runs_dir: RunsDir = None,
) -> None:
    """Angle against gradient norm, problem by problem: tables, figures, and a verdict computed from the numbers.

    Correlations with intervals, plain and with length and difficulty held fixed. What is finished in the folder is
    kept; the same command goes on from there.

    Args:
        model: Registered name, hub id or folder.
        data: Registered problem set, or a JSON, JSONL or Parquet file with problem (or question) and answer.
        out: The folder to write.
        site: Where hidden states are read: the MLP's input, its neurons (hidden units), the residual stream, or after the
            final norm.
        layer: The layer that tables and verdict are about; -1 is the last. All are measured (final_norm: the last).
        samples: Completions a problem for the GRPO loss and the pass rate; 0 leaves both out.
        temperature: Of these completions.
        max_completion_tokens: Longest of them.
        completions: JSONL file with problem_id and completion for the supervised loss. Default: the worked solution
            where the set has one, with the answer in a box.
        limit: The first so many problems only.
        seed: Of a tiny model, of generated problems, of sampling and of the bootstrap.
        prompt: JSON file with another prompt (system, example).
        resamples: Of the bootstrap.
        batch_tokens: Most tokens of a batch, padding included.
        device: auto, cpu, cuda, cuda:1, ...
        dtype: auto is bfloat16 on a GPU and float32 on a CPU.
        drop_null_answers: Leave out rows whose answer is null or empty (the number is told).
    """
    from gainrl.config import SignalConfig
    from gainrl.correlate import Settings, measure_into, read_completions
    from gainrl.launch import bar
    from gainrl.problems import load_problems
    from gainrl.prompts import load_prompt

    out.mkdir(parents=True, exist_ok=True)
    problems = load_problems(data, limit=limit, seed=seed, drop_null_answers=drop_null_answers)
    given = None if completions is None else read_completions(completions)
    settings = Settings(
        SignalConfig(site=site, layer=layer), samples, temperature, max_completion_tokens, seed, batch_tokens
    )
    asked = load_prompt(prompt)
    with bar() as report:
        loaded = load_on_device(model, device, dtype, seed, runs_dir, report)
        measured = measure_into(out, loaded, problems, asked, settings, given, report)
    from experiments.measurements import write_correlation

    verdict = write_correlation(out, measured, loaded, problems, asked, settings, resamples)
    print(f"{verdict}\n{out / 'report.md'}")


@app.command
def patterns(
    checkpoints: tyro.conf.Positional[Path],
    data: Name,
    out: Path,
    site: Literal["mlp_input", "neurons", "residual", "final_norm"] = "mlp_input",
    layer: int = -1,
    max_completion_tokens: int = 256,
    limit: int | None = None,
    seed: int = 0,
    prompt: str | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    drop_null_answers: bool = False,
) -> None:
    """Along a training run: do C_intra and C_inter rise, are problems of high angle learnt first, do neurons grow alike?

    Checkpoints that are finished in the folder are kept; the same command goes on from there.

    Args:
        checkpoints: Folder with model folders step-N (this suite's) or checkpoint-N (transformers').
        data: Registered problem set, or a JSON, JSONL or Parquet file with problem (or question) and answer.
        out: The folder to write: a row a (step, problem), summary, figure.
        site: Where hidden states are read.
        layer: Index of the layer; -1 is the last.
        max_completion_tokens: Of the greedy answers.
        limit: The first so many problems only; the same at every checkpoint.
        seed: Of generated problems and of the bootstrap.
        prompt: JSON file with another prompt (system, example).
        device: auto, cpu, cuda, cuda:1, ...
        dtype: auto is bfloat16 on a GPU and float32 on a CPU.
        drop_null_answers: Leave out rows whose answer is null or empty.
    """
    from gainrl.config import SignalConfig
    from gainrl.launch import bar
    from gainrl.patterns import checkpoints as find_checkpoints
    from gainrl.patterns import trace
    from gainrl.problems import load_problems
    from gainrl.prompts import load_prompt

    folders = find_checkpoints(checkpoints)
    out.mkdir(parents=True, exist_ok=True)
    problems = load_problems(data, limit=limit, seed=seed, drop_null_answers=drop_null_answers)
    target, torch_dtype = resolve(device, dtype)
    with bar() as report:
        frame = trace(
            folders,
            problems,
            out,
            load_prompt(prompt),
            signal=SignalConfig(site=site, layer=layer),
            max_completion_tokens=max_completion_tokens,
            device=target,
            dtype=torch_dtype,
            report=report,
        )
    from experiments.measurements import write_patterns

    print(f"{write_patterns(out, frame, seed)}\n{out / 'report.md'}")
