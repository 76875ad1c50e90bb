"""Which problems of a set are measured."""

from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerBase

from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import Benchmark
from gainrl.problems import ProblemSet
from gainrl.prompts import encode_problems
from gainrl.runs.study import Measurement


class Chosen(NamedTuple):
    """The problems that are measured, and how many were left out because they are too long."""

    problems: ProblemSet
    too_long: int


def choose(
    measurement: Measurement,
    tokenizer: PreTrainedTokenizerBase,
    *,
    longest: int,
    data_dir: Path | None = None,
    seed: int = 0,
) -> Chosen:
    """The problems that a measurement names, from the hub, generated, packaged, or from a file in ``data_dir``.

    Rows without an answer are no problems. Of fewer than ``measurement.size`` all are taken. Then those are left out whose
    prompt, with the gold completion and its end or the longest sampled one, has more than ``longest`` tokens.

    Raises InputError: the set cannot be read, has no problem after the skipped ones, or all are too long.
    """
    source = Benchmark(measurement.title, measurement.problems, measurement.files)
    whole = source.load(data_dir, seed=seed, drop_null_answers=True)
    if len(whole) <= measurement.skip:
        raise InputError(f"{whole.name} holds {len(whole)} problems; the first {measurement.skip} are left out")
    rest = whole.without(range(measurement.skip))
    size = min(measurement.size, len(rest))
    problems = rest.sample(size, seed) if measurement.at_random else rest.head(size)
    long = _too_long(problems, measurement, tokenizer, longest)
    if len(long) == len(problems):
        raise InputError(f"every problem of {whole.name} has more than {longest} tokens with its prompt and completion")
    return Chosen(problems.without(long), len(long))


def _too_long(
    problems: ProblemSet, measurement: Measurement, tokenizer: PreTrainedTokenizerBase, longest: int
) -> list[int]:
    golds = tokenizer([problem.gold_completion for problem in problems.problems], add_special_tokens=False)
    sampled = measurement.max_completion_tokens if measurement.samples else 0
    prompts = encode_problems(tokenizer, problems.problems, problems.prompt)
    return [
        row
        for row, (encoded, gold) in enumerate(zip(prompts, golds["input_ids"], strict=True))
        if len(encoded.ids) + max(len(gold) + 1, sampled) > longest
    ]
