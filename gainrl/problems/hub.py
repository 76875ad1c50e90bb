"""Problem sets from the Hugging Face hub; the commit that was read is recorded in the set's source.

Columns as the sets' cards and public code give them. None of them could be reached from the machines that this suite
was built on: the loading code is tested on local folders of the same columns. The columns of ``deepscaler-difficulty``
stand on no card: that it has problem, answer and difficulty is taken from public code. So are DeepCoder's
(`gainrl.problems.cases`).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from gainrl.errors import InputError, one_line
from gainrl.problems.base import ProblemSet, from_rows
from gainrl.problems.cases import usable

HUB_TIMEOUT = 20
"""Seconds that the hub has to say which commit a name is; without a limit, one that accepts and never answers is waited for."""


@dataclass(frozen=True)
class HubSet:
    """Where a set lies on the hub, and which of its columns are which."""

    path: str
    split: str
    config: str | tuple[str, ...] | None = None
    """Several are read one after the other."""
    question: str = "problem"
    answer: str = "answer"
    answer_after: str | None = None
    solution: str = "solution"
    """Of a worked solution, where the set has one."""
    difficulty: Callable[[Mapping[str, Any]], float] | None = None
    """Of a row, for a set without such a column; scaled to 0-100 over the set's rows, NaN in the middle."""
    keep: Callable[[Mapping[str, Any]], bool] | None = None
    """Which rows are used; None is all."""
    programs: bool = False
    """Whether it asks for programs; rows whose tests cannot be used are left out, and counted in the set's source."""


def _steps(row: Mapping[str, Any]) -> float:
    """Lines of GSM8K's worked solution, the last apart: our choice, the set has no difficulty."""
    return float(row["answer"].count("\n"))


def _level(row: Mapping[str, Any]) -> float:
    """``Level 1`` to ``Level 5``; the few without a number (``Level ?``) are put in the middle."""
    number = re.search(r"\d", row["level"])
    return float(number[0]) if number else 3.0


def _rating(row: Mapping[str, Any]) -> float:
    """Easy2Hard-Bench's, from how many contestants solved a problem."""
    return float(row["rating"])


def _lines(row: Mapping[str, Any]) -> float:
    """Of the shortest solution: our choice, DeepCoder has no difficulty. LiveCodeBench's rows have no solution either."""
    lines = [line for line in (row.get("solution") or "").splitlines() if line.strip() and not line.startswith("```")]
    return float(len(lines)) if lines else math.nan


def _before_benchmark(row: Mapping[str, Any]) -> bool:
    """AMC problems of 2022 and 2023 are what ``amc23`` and its relatives ask."""
    return int(row["year"]) < 2022


DEEPCODER = "agentica-org/DeepCoder-Preview-Dataset"
HUB_SETS: dict[str, HubSet] = {
    "gsm8k": HubSet(
        "openai/gsm8k", "train", "main", "question", answer_after="####", solution="answer", difficulty=_steps
    ),
    "gsm8k-test": HubSet("openai/gsm8k", "test", "main", "question", answer_after="####", solution="answer"),
    "math500": HubSet("HuggingFaceH4/MATH-500", "test"),
    "aime24": HubSet("HuggingFaceH4/aime_2024", "train"),
    "amc23": HubSet("math-ai/amc23", "test", question="question"),
    "minervamath": HubSet("math-ai/minervamath", "test", question="question"),
    "olympiadbench": HubSet("math-ai/olympiadbench", "test", question="question", answer="final_answer"),
    "deepscaler": HubSet("agentica-org/DeepScaleR-Preview-Dataset", "train"),
    "deepscaler-difficulty": HubSet("lime-nlp/DeepScaleR_Difficulty", "train", "Difficulty Score"),
    "math": HubSet("zwhe99/MATH", "train", answer="expected_answer", difficulty=_level),
    "amc": HubSet("furonghuang-lab/Easy2Hard-Bench", "train", "E2H-AMC", difficulty=_rating, keep=_before_benchmark),
    "deepcoder": HubSet(DEEPCODER, "train", ("primeintellect", "taco", "lcbv5"), difficulty=_lines, programs=True),
    "deepcoder-codeforces": HubSet(DEEPCODER, "test", "codeforces", programs=True),
    "deepcoder-lcbv5": HubSet(DEEPCODER, "test", "lcbv5", programs=True),
}
"""MATH's 7,500 training problems from a copy whose card lists their answers; the paper's AMC training set is not known."""


def load_hub(name: str, hub_set: HubSet, revision: str | None, drop_null_answers: bool = False) -> ProblemSet:
    """Download (or take from the cache) a hub set. ``path`` may be a local folder of data files, for tests and mirrors.

    Raises:
        InputError: the hub cannot be reached or does not hold the set, or a row cannot be used.
    """
    import datasets  # slow to import, and most commands need no hub
    from huggingface_hub import HfApi

    try:
        is_folder = Path(hub_set.path).is_dir()
        commit = None if is_folder else HfApi().dataset_info(hub_set.path, revision=revision, timeout=HUB_TIMEOUT).sha
        configs = hub_set.config if isinstance(hub_set.config, tuple) else (hub_set.config,)
        tables = {
            config: datasets.load_dataset(hub_set.path, config, split=hub_set.split, revision=commit)
            for config in configs
        }
    except Exception as error:  # a hub that answers nonsense raises many things, deep inside libraries
        reason = one_line(error, 200)
        raise InputError(f"problem set {name}: {hub_set.path} cannot be read from the hub: {reason}") from error
    rows, unusable = _used(tables, hub_set)
    source = {"hub": hub_set.path, "config": hub_set.config, "split": hub_set.split, "commit": commit}
    return from_rows(
        name,
        _with_difficulty(rows, hub_set),
        source=source | ({"unusable_tests": unusable} if hub_set.programs else {}),
        question=hub_set.question,
        answer=hub_set.answer,
        answer_after=hub_set.answer_after,
        solution=hub_set.solution,
        drop_null_answers=drop_null_answers,
    )


Rows = list[tuple[str, Mapping[str, Any]]]
"""(what to call it in an error, row)"""


def _used(tables: Mapping[str | None, Iterable[Mapping[str, Any]]], hub_set: HubSet) -> tuple[Rows, int]:
    """The rows that are used, those of programs with their tests as answers; how many have tests that cannot be used."""
    rows: Rows = []
    unusable = 0
    for config, table in tables.items():
        for number, row in enumerate(table, 1):
            where = f"{config} row {number}" if len(tables) > 1 else f"row {number}"
            used = usable(row) if hub_set.programs else row
            unusable += used is None
            if used is not None and (hub_set.keep is None or hub_set.keep(used)):
                rows.append((where, used))
    return rows, unusable


def _with_difficulty(rows: Rows, hub_set: HubSet) -> Rows:
    if hub_set.difficulty is None or not rows:
        return rows
    values = [hub_set.difficulty(row) for _, row in rows]
    known = [value for value in values if not math.isnan(value)] or [0.0]
    low, spread, middle = min(known), (max(known) - min(known)) or 1.0, median(known)
    return [
        (where, {**row, "difficulty": 100 * ((middle if math.isnan(value) else value) - low) / spread})
        for (where, row), value in zip(rows, values, strict=True)
    ]
