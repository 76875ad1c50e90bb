"""The command that runs the benchmarks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gainrl.cli.loading import Dtype, load_on_device, resolve
from gainrl.cli.shared import Name, RunsDir, app

if TYPE_CHECKING:
    import pandas as pd

    from gainrl.generators import Generator
    from gainrl.models.loading import LoadedModel

WARN_ABOVE = 0.01
"""Share of truncated answers above which the numbers cannot be trusted."""


@app.command
def evaluate(
    model: Name,
    tasks: str,
    out: Path,
    backend: Literal["hf", "vllm"] = "hf",
    samples: int = 1,
    temperature: float | None = None,
    max_completion_tokens: int | None = None,
    data_dir: Path | None = None,
    limit: int | None = None,
    skip_unparseable_golds: bool = False,
    seed: int = 0,
    prompt: str | None = None,
    batch_tokens: int = 16_384,
    device: str = "auto",
    dtype: Dtype = "auto",
    runs_dir: RunsDir = None,
) -> None:
    """Benchmarks, greedy or with k samples a problem: avg@k, pass@k, maj@k, with standard errors over problems.

    Finished problems are kept; the same command goes on from there, and reads what is complete.

    Args:
        model: Registered name, hub id or folder.
        tasks: Names with commas between them, or all: math500, aime24, amc23, gsm8k, olympiadbench, minervamath;
            arithmetic, lists.
        out: The folder to write: evals.jsonl, and a row a sample in a Parquet file for each benchmark.
        backend: hf (transformers) or vllm (pip install 'gainrl[vllm]').
        samples: Completions a problem.
        temperature: 0 is greedy. Default: 0 for one sample, 1 for several.
        max_completion_tokens: Default: what the longest prompt leaves of the model's context, at most 8,192.
        data_dir: Folder of files (math500.json, gsm8k.jsonl, ...) to read instead of the hub.
        limit: The first so many problems of each benchmark only.
        skip_unparseable_golds: Leave problems whose gold answer cannot be read out of the means; else they count as wrong.
        seed: Of sampling (and of a tiny model).
        prompt: JSON file with another prompt (system, example).
        batch_tokens: Most tokens of a batch of the hf backend.
        device: auto, cpu, cuda, cuda:1, ... (hf backend).
        dtype: auto is bfloat16 on a GPU and float32 on a CPU.
    """
    from gainrl.benchmarks import BENCHMARKS, load_benchmark

    names = [name for name, one in BENCHMARKS.items() if one.stems] if tasks == "all" else tasks.split(",")
    problems = {name: load_benchmark(name, data_dir, seed=seed, limit=limit) for name in names}
    out.mkdir(parents=True, exist_ok=True)

    from gainrl.evaluate.benchmarks import Sampling, evaluate_benchmark
    from gainrl.evaluate.statistics import summarize_samples, write_evals
    from gainrl.launch import bar
    from gainrl.prompts import load_prompt

    sampling = Sampling(
        samples, float(samples > 1) if temperature is None else temperature, max_completion_tokens, seed
    )
    summaries = {}
    with bar() as report:
        chosen_device, chosen_dtype = resolve(device if backend == "hf" else "auto", dtype)
        engine_dtype = str(chosen_dtype).removeprefix("torch.")
        loaded = load_on_device(
            model, chosen_device if backend == "hf" else "cpu", engine_dtype, seed, runs_dir, report
        )
        generator = _generator(backend, loaded, engine_dtype, batch_tokens)
        for name, chosen in problems.items():
            table = evaluate_benchmark(
                name,
                chosen,
                generator,
                loaded.tokenizer,
                out,
                sampling,
                model_version=loaded.version,
                backend=backend,
                prompt=load_prompt(prompt),
                report=report,
            )
            summaries[name] = summarize_samples(table, skip_unparseable_golds=skip_unparseable_golds)
            _warn(name, table)
            write_evals(out, summaries)
    print(write_evals(out, summaries))


def _generator(backend: str, loaded: "LoadedModel", dtype: str, batch_tokens: int) -> "Generator":
    from gainrl.generators import VllmGenerator, generator_of

    engine = generator_of(loaded.model, loaded.tokenizer, batch_tokens)
    if backend == "hf":
        return engine
    commit = {} if Path(loaded.source).is_dir() else {"revision": loaded.version}
    return VllmGenerator(str(loaded.source), engine.end_tokens, engine.context, dtype, **commit)


def _warn(name: str, table: "pd.DataFrame") -> None:
    truncated = table.truncated.mean()
    if truncated > WARN_ABOVE:
        print(
            f"gainrl: {name}: {100 * truncated:.1f} % of the answers were cut off at the token limit; "
            "raise --max-completion-tokens before you trust these numbers",
            file=sys.stderr,
        )
    bad = table.problem_id[table.reason == "unparseable_gold"].unique()
    if len(bad):
        print(f"gainrl: {name}: {len(bad)} gold answers cannot be read, {bad[0]} first", file=sys.stderr)
