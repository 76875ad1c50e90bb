"""What this folder's YAML files call: problems, worked example, grading. lm-eval loads this file by its path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset

from gainrl.evaluation.benchmarks import Benchmark
from gainrl.grading import grade_batch
from gainrl.prompts import PROGRAM_PROMPT, Prompt


def documents(
    problems: str,
    files: Sequence[str] = (),
    data_dir: str | None = None,
    seed: int = 0,
    limit: int | None = None,
    window: str | None = None,
    **_: Any,
) -> dict[str, Dataset]:
    """A benchmark's problems. The first two come from its YAML, the others from lm-eval's ``--metadata``."""
    benchmark = Benchmark(problems, problems, tuple(files))
    chosen = benchmark.load(Path(data_dir) if data_dir else None, seed=seed, limit=limit, window=window).problems
    rows = [
        {"problem_id": problem.problem_id, "question": problem.question, "answer": problem.answer} for problem in chosen
    ]
    return {"test": Dataset.from_list(rows)}


def examples() -> list[dict[str, str]]:
    """The worked example of the suite's prompt."""
    example = Prompt().example
    assert example is not None
    return [example.model_dump()]


def program_examples() -> list[dict[str, str]]:
    """That of the prompt for programs."""
    assert PROGRAM_PROMPT.example is not None
    return [PROGRAM_PROMPT.example.model_dump()]


def keep_all(responses: Sequence[Sequence[str]], _documents: Sequence[Any]) -> list[list[str]]:
    """lm-eval's default filter would drop all samples of a problem but the first."""
    return [list(samples) for samples in responses]


def grade_samples(document: dict[str, Any], results: Sequence[Any]) -> dict[str, float]:
    """Shares of a problem's samples: correct, and without an answer."""
    samples = results[0] if isinstance(results[0], list) else results
    verdicts = grade_batch(samples, [document["answer"]] * len(samples))
    return {
        "accuracy": sum(verdict.correct for verdict in verdicts) / len(verdicts),
        "unparseable": sum(verdict.reason == "no_answer" for verdict in verdicts) / len(verdicts),
    }
