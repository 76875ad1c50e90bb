"""`Problem`, `ProblemSet`, and the one way from a table's rows to them."""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from gainrl.errors import InputError

QUESTION_COLUMNS = ("problem", "question")
ID_COLUMNS = ("problem_id", "unique_id", "id")


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer. ``problem_id`` never depends on the problem's position in a file."""

    problem_id: str
    question: str
    answer: str
    difficulty: float | None = None
    solution: str | None = None
    """A worked solution, where the set has one."""

    @property
    def gold_completion(self) -> str:
        """What a model that solves the problem could write: the solution, with the answer in a box at its end."""
        boxed = f"\\boxed{{{self.answer}}}"
        if self.solution is None:
            return boxed
        return self.solution if "\\boxed{" in self.solution else f"{self.solution} {boxed}"


@dataclass(frozen=True)
class ProblemSet:
    """Problems with where they came from (``source``: file, or hub id and resolved commit, or seed; rows dropped)."""

    name: str
    problems: tuple[Problem, ...]
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.problems:
            raise InputError(f"problem set {self.name} holds no problem")
        repeated, times = Counter(self.ids).most_common(1)[0]
        if times > 1:
            raise InputError(
                f"problem set {self.name}: problem_id {repeated!r} stands {times} times; ids must be unique"
            )

    def __len__(self) -> int:
        return len(self.problems)

    @cached_property
    def ids(self) -> list[str]:
        return [problem.problem_id for problem in self.problems]

    @cached_property
    def fingerprint(self) -> str:
        """12 hex digits that change with any problem (solutions apart) or with their order."""
        digest = hashlib.sha256()
        for problem in self.problems:
            what = {key: value for key, value in asdict(problem).items() if key != "solution"}
            digest.update(json.dumps(what, ensure_ascii=False).encode())
        return digest.hexdigest()[:12]

    def head(self, limit: int | None) -> "ProblemSet":
        """The first ``limit`` problems (all if None). Raises InputError if there are fewer."""
        if limit is None:
            return self
        if not 1 <= limit <= len(self):
            raise InputError(f"problem set {self.name} holds {len(self)} problems; {limit} were asked for")
        return ProblemSet(self.name, self.problems[:limit], self.source)

    def without(self, rows: Iterable[int]) -> "ProblemSet":
        """The set less some rows. Raises InputError if none is left."""
        left_out = set(rows)
        kept = tuple(problem for row, problem in enumerate(self.problems) if row not in left_out)
        return ProblemSet(self.name, kept, self.source)

    def difficulties(self) -> list[float]:
        """N difficulties, NaN where a problem has none."""
        return [math.nan if problem.difficulty is None else problem.difficulty for problem in self.problems]


def from_rows(
    name: str,
    rows: Iterable[tuple[str, Any]],
    *,
    source: Mapping[str, Any],
    question: str | None = None,
    answer: str = "answer",
    answer_after: str | None = None,
    drop_null_answers: bool = False,
) -> ProblemSet:
    """Problems from a table.

    Args:
        rows: (where the row stands, its columns); the first goes into error messages.
        question: column of the question; if None, the first of `QUESTION_COLUMNS` that the row has.
        answer: column of the gold answer.
        answer_after: take what follows the last occurrence of this text in the answer (GSM8K's ``####``).

    Raises:
        InputError: a row without question or answer, an empty or null one, a repeated id.
    """
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    copies: Counter[str] = Counter()
    dropped = 0
    for where, row in rows:
        if not isinstance(row, Mapping):
            raise InputError(f"{name}, {where}: not an object with the columns problem (or question) and answer")
        text = _text(name, where, row, question or next((c for c in QUESTION_COLUMNS if c in row), "problem"))
        if drop_null_answers and (_is_null(row.get(answer)) or row[answer] == ""):
            dropped += 1
            continue
        gold = _text(name, where, row, answer)
        if answer_after is not None:
            gold = gold.rpartition(answer_after)[2].strip()
        problem_id = next((str(row[c]) for c in ID_COLUMNS if not _is_null(row.get(c))), None)
        if problem_id is None:
            content = hashlib.sha256(f"{text}\0{gold}".encode()).hexdigest()[:16]
            copies[content] += 1
            problem_id = content if copies[content] == 1 else f"{content}-{copies[content]}"
        if problem_id in seen:
            raise InputError(f"{name}, {where}: problem_id {problem_id!r} stands in {seen[problem_id]} already")
        seen[problem_id] = where
        solution = row.get("solution")
        solution = solution.strip() or None if isinstance(solution, str) else None
        problems.append(Problem(problem_id, text, gold, _difficulty(name, where, row), solution))
    return ProblemSet(name, tuple(problems), {**source, "dropped_null_answers": dropped})


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(name: str, where: str, row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        wanted = "problem (or question)" if column in QUESTION_COLUMNS else column
        raise InputError(f"{name}, {where}: no column {wanted}; there are: {', '.join(map(str, row)) or 'none'}")
    value = row[column]
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    is_question = column in QUESTION_COLUMNS
    hint = "" if is_question else "; null or empty answers can be dropped with --drop-null-answers"
    if _is_null(value):
        raise InputError(f"{name}, {where}: {column} is null{hint}")
    if not isinstance(value, (str, int, float)):
        raise InputError(f"{name}, {where}: {column} is a {type(value).__name__}; one text or number is needed")
    text = str(value).strip()
    if not text:
        raise InputError(f"{name}, {where}: {column} is empty{hint}")
    return text


def _difficulty(name: str, where: str, row: Mapping[str, Any]) -> float | None:
    value = row.get("difficulty")
    if _is_null(value):
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}, {where}: difficulty is {value!r}, not a number") from error
