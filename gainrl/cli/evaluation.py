"""The command that runs the benchmarks."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gainrl.cli.options import (
    DEVICE,
    Count,
    Device,
    DeviceOptions,
    LargeCount,
    ModelName,
    RunsDir,
    Sandbox,
    TemperatureOrGreedy,
    command,
    demand_sandbox,
    folder_to_write,
)
from gainrl.errors import InputError
from gainrl.runs.config import Seed

if TYPE_CHECKING:
    import pandas as pd

    from gainrl.models.generation import Backend
    from gainrl.models.loading import LoadedModel
    from gainrl.progress import Report

WARN_ABOVE = 0.01
"""Share of truncated answers above which the numbers cannot be trusted."""


@command
def evaluate(
    model: ModelName,
    tasks: str,
    out: Path,
    backend: Literal["hf", "vllm"] = "hf",
    samples: Count = 1,
    temperature: TemperatureOrGreedy | None = None,
    max_completion_tokens: LargeCount | None = None,
    data_dir: Path | None = None,
    limit: LargeCount | None = None,
    skip_unparseable_golds: bool = False,
    seed: Seed = 0,
    prompt: str | None = None,
    batch_tokens: LargeCount = 16_384,
    device: Device = DEVICE,
    runs_dir: RunsDir = None,
    window: str | None = None,
    sandbox: Sandbox = None,
) -> None:
    """Run benchmarks, greedy or with k samples a problem: avg@k, pass@k, maj@k, with standard errors over problems.

    An interrupted evaluation resumes with the same command; finished problems are kept, and so are the rows of other
    benchmarks in evals.jsonl.

    Args:
        tasks: Names separated by commas (`gainrl list` shows them), or all for the paper's six.
        out: The folder to write: evals.jsonl, and for each benchmark a Parquet file with a row for each sample.
        backend: What writes the completions: hf (transformers) or vllm (pip install 'gainrl[vllm]').
        samples: Completions of each problem.
        temperature: 0 is greedy. Default: 0 for one sample, 1 for several.
        max_completion_tokens: Longest completion. Default: what the longest prompt leaves of the context, at most 8,192.
        data_dir: Folder of problem files (math500.json, gsm8k.jsonl, ...) to read instead of the hub.
        limit: Only the first so many problems of each benchmark.
        skip_unparseable_golds: Do not count problems whose gold answer cannot be parsed; otherwise they count as wrong.
        seed: Seed of sampling (and of a tiny model).
        prompt: JSON file with another prompt (system, example).
        batch_tokens: Most tokens in a batch of the hf backend.
        window: Of livecodebench, only problems released from the first day to the last: 2024-08-01:2025-02-01.
    """
    from gainrl.evaluation.benchmarks import BENCHMARKS, load_benchmark

    names = (
        [name for name, benchmark in BENCHMARKS.items() if benchmark.in_paper] if tasks == "all" else tasks.split(",")
    )
    if window is not None and "livecodebench" not in names:
        raise InputError("--window is of livecodebench, which is not among --tasks; leave it out")
    problems = {name: load_benchmark(name, data_dir, seed=seed, limit=limit, window=window) for name in names}
    folder_to_write(out)
    demand_sandbox(sandbox, problems.values())

    from gainrl.evaluation.harness import Evaluation, Sampling
    from gainrl.evaluation.summary import read_evals, summarize_samples, write_evals
    from gainrl.progress import bar
    from gainrl.prompts import load_prompt

    sampling = Sampling(
        samples, float(samples > 1) if temperature is None else temperature, max_completion_tokens, seed
    )
    read_evals(out)  # before any work is done
    summaries = {}
    with bar() as report:
        loaded, writer = _backend(backend, model, device, seed, batch_tokens, runs_dir, report)
        evaluations = [
            Evaluation(
                name, chosen, writer, loaded.tokenizer, sampling, loaded.version, load_prompt(prompt, chosen.prompt)
            )
            for name, chosen in problems.items()
        ]
        for evaluation in evaluations:  # all, before one is begun
            evaluation.require_same(out)
        for evaluation in evaluations:
            name, table = evaluation.name, evaluation.run(out, report)
            summaries[name] = summarize_samples(table, skip_unparseable_golds=skip_unparseable_golds)
            _warn(name, table)
            write_evals(out, summaries)
    print(write_evals(out, summaries))


def _backend(
    name: str, model: str, device: DeviceOptions, seed: int, batch_tokens: int, runs_dir: Path | None, report: "Report"
) -> tuple["LoadedModel", "Backend"]:
    """The model, and what writes its completions; vLLM loads it itself, so that ours then stays on the CPU."""
    from gainrl.models.generation.hf import hf_backend

    _, dtype = device.resolve()
    if name == "vllm":
        _, dtype = DeviceOptions("auto", device.dtype).resolve()
    place = device.device if name == "hf" else "cpu"
    dtype_name = str(dtype).removeprefix("torch.")
    loaded = DeviceOptions(place, dtype_name).load_model(model, seed, runs_dir, report)  # type: ignore[arg-type]
    hf = hf_backend(loaded.model, loaded.tokenizer, batch_tokens)
    if name == "hf":
        return loaded, hf
    from gainrl.models.generation.vllm import VllmBackend

    commit = {} if Path(loaded.source).is_dir() else {"revision": loaded.version}
    return loaded, VllmBackend(str(loaded.source), hf.end_tokens, hf.context, dtype_name, **commit)


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
