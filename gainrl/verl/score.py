"""Scores of verl's own training file, by the prompts that stand in it: what ``gainrl.scores`` names.

python -m gainrl.verl.score MODEL train.parquet --out scores.parquet
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pyarrow.parquet
import torch

from gainrl.errors import InputError, one_line
from gainrl.models.loading import load_model
from gainrl.problems import Problem, ProblemSet
from gainrl.progress import bar
from gainrl.prompts import Example, Prompt
from gainrl.runs.config import Definition, SignalConfig, Site
from gainrl.scoring import Scores, score_problems

ROLES = {("user",), ("system", "user"), ("user", "assistant", "user"), ("system", "user", "assistant", "user")}
"""What a prompt may be made of: a system message or none, a worked example or none, the question."""


def score_file(model: str, data: Path, cache: Path, signal: SignalConfig | None = None) -> Scores:
    """Scores of every row of verl's Parquet, in its order; ``problem_id`` is that of ``extra_info``, else the row's number.

    Args:
        model: a folder or a hub id.
        cache: folder for what a model of the suite's own needs.

    Raises InputError: the file is none of verl's, its prompts differ in more than the question, or as `score_problems` does.
    """
    problems, prompt = problems_of(data)
    loaded = load_model(model, cache=cache)
    loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
    with bar() as report:
        return score_problems(
            loaded.model,
            loaded.tokenizer,
            problems,
            prompt,
            signal=signal,
            model_version=loaded.version,
            progress=lambda done, of: report("scoring", done, of),
        )


def problems_of(data: Path) -> tuple[ProblemSet, Prompt]:
    """The questions of verl's Parquet, and what stands before each of them."""
    try:
        rows = pyarrow.parquet.read_table(data).to_pylist()
    except Exception as error:  # a damaged file can fail anywhere in pyarrow
        raise InputError(f"{data} cannot be read as Parquet: {one_line(error)}") from error
    problems, before = [], None
    for number, row in enumerate(rows):
        messages = _messages(row, f"{data.name}, row {number}")
        before = messages[:-1] if before is None else before
        if messages[:-1] != before:
            raise InputError(f"{data.name}, row {number}: other messages stand before the question than in row 0")
        name = (row.get("extra_info") or {}).get("problem_id")
        answer = str((row.get("reward_model") or {}).get("ground_truth") or "")
        problems.append(Problem(str(number if name is None else name), messages[-1]["content"], answer))
    return ProblemSet(data.name, tuple(problems), {"file": data.name}), _prompt(before or [])


def _messages(row: dict[str, Any], where: str) -> list[dict[str, str]]:
    messages = row.get("prompt")
    if not isinstance(messages, list) or tuple(message.get("role") for message in messages) not in ROLES:
        raise InputError(
            f"{where}: prompt is no list of messages (system or none, a worked example or none, the question)"
        )
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _prompt(before: list[dict[str, str]]) -> Prompt:
    contents = [message["content"] for message in before]
    system = contents.pop(0) if before and before[0]["role"] == "system" else None
    return Prompt(system=system, example=Example(question=contents[0], answer=contents[1]) if contents else None)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m gainrl.verl.score", description=__doc__)
    parser.add_argument("model", help="a folder or a hub id")
    parser.add_argument("data", type=Path, help="verl's training file (Parquet)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--definition", choices=get_args(Definition), default="paper")
    parser.add_argument("--site", choices=get_args(Site), default="mlp_input")
    parser.add_argument("--layer", type=int, default=-1)
    options = parser.parse_args(arguments)
    signal = SignalConfig(definition=options.definition, site=options.site, layer=options.layer)
    try:
        score_file(options.model, options.data, options.out.parent / "models", signal).save(options.out)
    except InputError as error:
        print(f"gainrl: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
