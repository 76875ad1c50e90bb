"""`Problem`, `ProblemSet`, and the one way from a table's rows to them."""

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from gainrl.errors import InputError
from gainrl.files import is_unicode
from gainrl.grading.gold import Gold
from gainrl.grading.gym import require_task
from gainrl.grading.lists import items, unwrapped
from gainrl.grading.notation import clean
from gainrl.grading.programs import Tests, is_program
from gainrl.problems.cases import fenced, holds_tests, with_answer
from gainrl.prompts import PROGRAM_PROMPT, Prompt
from gainrl.rng import generator

QUESTION_COLUMNS = ("problem", "question")
ID_COLUMNS = ("problem_id", "unique_id", "id")
KIND_COLUMNS = ("kind", "type")


@dataclass(frozen=True)
class Problem:
    """One question with its gold answer. ``problem_id`` never depends on the problem's position in a file."""

    problem_id: str
    question: str
    answer: str
    """The gold answer; several, a tolerance or a unit as `gainrl.grading.Gold` writes them; of a program, its `Tests`."""
    difficulty: float | None = None
    solution: str | None = None
    """A worked solution, where the set has one."""
    kind: str | None = None
    """What is asked, where a set mixes several things."""

    @property
    def gold_completion(self) -> str:
        """What a model that solves the problem could write: the solution, with the answer in a box at its end.

        Of a program, its solution in a fence. Raises InputError: no right answer or program is known.
        """
        if is_program(self.answer):
            if self.solution is None:
                raise InputError(f"problem {self.problem_id} asks for a program and has no solution to learn from")
            return fenced(self.solution)
        boxed = f"\\boxed{{{Gold.parse(self.answer).written}}}"
        if self.solution is None:
            return boxed
        return self.solution if "\\boxed{" in self.solution else f"{self.solution} {boxed}"


@dataclass(frozen=True)
class ProblemSet:
    """Problems with where they came from (``source``: file, or hub id and resolved commit, or seed; rows dropped).

    ``own_prompt``: what stands before the questions, where it is not the prompt of all sets (`prompt`).
    """

    name: str
    problems: tuple[Problem, ...]
    source: Mapping[str, Any] = field(default_factory=dict)
    own_prompt: Prompt | None = None

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
        """12 hex digits that change with any problem (solutions and kinds apart) or with their order."""
        digest = hashlib.sha256()
        for problem in self.problems:
            what = {key: value for key, value in asdict(problem).items() if key not in ("solution", "kind")}
            digest.update(json.dumps(what, ensure_ascii=False).encode())
        return digest.hexdigest()[:12]

    @property
    def prompt(self) -> Prompt:
        """What stands before the questions unless another prompt is given: ``own_prompt``, else the one for programs where all
        ask for one."""
        if self.own_prompt is not None:
            return self.own_prompt
        return PROGRAM_PROMPT if all(is_program(problem.answer) for problem in self.problems) else Prompt()

    def head(self, limit: int | None) -> "ProblemSet":
        """The first ``limit`` problems (all if None). Raises InputError if there are fewer."""
        if limit is None:
            return self
        if not 1 <= limit <= len(self):
            raise InputError(f"problem set {self.name} holds {len(self)} problems; {limit} were asked for")
        return replace(self, problems=self.problems[:limit])

    def sample(self, size: int | None, seed: int) -> "ProblemSet":
        """``size`` problems at random, in the set's order (all if None). Raises InputError if there are fewer."""
        if size is None:
            return self
        self.head(size)
        rows = np.sort(generator(seed, "sample of problems").choice(len(self), size, replace=False))
        chosen = tuple(self.problems[row] for row in rows)
        return replace(self, problems=chosen, source={**self.source, "sample": size})

    def without(self, rows: Iterable[int]) -> "ProblemSet":
        """The set less some rows. Raises InputError if none is left."""
        left_out = set(rows)
        kept = tuple(problem for row, problem in enumerate(self.problems) if row not in left_out)
        return replace(self, problems=kept)

    def difficulties(self) -> list[float]:
        """N difficulties, NaN where a problem has none."""
        return [math.nan if problem.difficulty is None else problem.difficulty for problem in self.problems]

    def features(self) -> dict[str, list[Any]]:
        """``level`` (the difficulty) and ``kind``, each where every problem has one: name -> N values."""
        columns: dict[str, list[Any]] = {
            "level": [problem.difficulty for problem in self.problems],
            "kind": [problem.kind for problem in self.problems],
        }
        return {name: values for name, values in columns.items() if None not in values}


def from_rows(
    name: str,
    rows: Iterable[tuple[str, Any]],
    *,
    source: Mapping[str, Any],
    question: str | None = None,
    answer: str = "answer",
    answer_after: str | None = None,
    solution: str = "solution",
    drop_null_answers: bool = False,
) -> ProblemSet:
    """Problems from a table. Rows that ask for programs are read by `gainrl.problems.cases`.

    An answer that is a list names alternatives, any one of which is right (MinervaMath), unless the row's column
    ``is_multiple_answer`` is true (OlympiadBench): then every answer of the list, or of the one text that lists them, is
    asked for. Their order does not matter, except inside the brackets of a tuple, or where ``answer_type`` is ``Tuple``
    and the answers stand without brackets. Beside ``is_multiple_answer``, and only there, ``error`` is how far off a
    number may be and ``unit`` the unit that the question asks for. Where the answer is null and the solution has GSM8K's
    ``####``, the answer is what follows it.

    Args:
        rows: (where the row stands, its columns); the first goes into error messages.
        question: column of the question; if None, the first of `QUESTION_COLUMNS` that the row has.
        answer: column of the gold answer.
        answer_after: take what follows the last occurrence of this text in the answer (GSM8K's ``####``).
        solution: column of the worked solution, where there is one; of several in a list (OlympiadBench) the first is taken.

    Raises:
        InputError: a row without question or answer, an empty or null one, a repeated id, a number that is not finite,
            a text that is not Unicode.
    """
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    copies: Counter[str] = Counter()
    dropped = 0
    for where, row in rows:
        if not isinstance(row, Mapping):
            raise InputError(f"{name}, {where}: not an object with the columns problem (or question) and answer")
        row = _with_tests(name, where, row) if holds_tests(row) else row
        text = _text(name, where, row, question or next((c for c in QUESTION_COLUMNS if c in row), "problem"))
        row = _with_answer_of_solution(row, answer)
        if drop_null_answers and _is_empty(row.get(answer)):
            dropped += 1
            continue
        gold = _checked(name, where, row, answer, answer_after)
        id_column = next((column for column in ID_COLUMNS if not _is_null(row.get(column))), None)
        if id_column is not None:
            _text(name, where, row, id_column)
            problem_id = str(row[id_column])
        else:
            content = hashlib.sha256(f"{text}\0{gold}".encode()).hexdigest()[:16]
            copies[content] += 1
            problem_id = content if copies[content] == 1 else f"{content}-{copies[content]}"
        if problem_id in seen:
            raise InputError(f"{name}, {where}: problem_id {problem_id!r} stands in {seen[problem_id]} already")
        seen[problem_id] = where
        kind = next((column for column in KIND_COLUMNS if isinstance(row.get(column), str)), None)
        problems.append(
            Problem(
                problem_id,
                text,
                gold,
                _number(name, where, row, "difficulty"),
                _solution(name, where, row, solution),
                None if kind is None else _text(name, where, row, kind),
            )
        )
    return ProblemSet(name, tuple(problems), {**source, "dropped_null_answers": dropped})


def _with_tests(name: str, where: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return with_answer(row)
    except InputError as error:
        raise InputError(f"{name}, {where}: {error}") from error


def _solution(name: str, where: str, row: Mapping[str, Any], column: str) -> str | None:
    listed = row.get(column)
    first = next(iter(listed), None) if isinstance(listed, list | tuple) else listed
    if not isinstance(first, str) or not first.strip():
        return None
    return _text(name, where, {**row, column: first}, column)


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_empty(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return all(_is_null(each) or each == "" for each in values)


def _with_answer_of_solution(row: Mapping[str, Any], answer: str) -> Mapping[str, Any]:
    solution = row.get("solution")
    if answer not in row or not _is_null(row[answer]) or not isinstance(solution, str) or "####" not in solution:
        return row
    return {**row, answer: solution.rpartition("####")[2]}


def _checked(name: str, where: str, row: Mapping[str, Any], column: str, answer_after: str | None) -> str:
    """The gold answer as text that the grader can read: also one that the file gives in the form of `Gold` or `Tests`."""
    try:
        gold = str(_gold(name, where, row, column, answer_after))
        parsed = (Tests if is_program(gold) else Gold).parse(gold)
        if isinstance(parsed, Gold) and parsed.scorer is not None:
            require_task(parsed.scorer)
    except InputError as error:
        place = f"{name}, {where}: "
        raise InputError(f"{place}{column}: {error}" if place not in str(error) else str(error)) from error
    return gold


def _gold(name: str, where: str, row: Mapping[str, Any], column: str, answer_after: str | None) -> Gold:
    listed = row.get(column)
    values = (listed or [""]) if isinstance(listed, list | tuple) else [listed]
    hint = "; null or empty answers can be dropped with --drop-null-answers"
    texts = [_text(name, where, {**row, column: value} if column in row else row, column, hint) for value in values]
    if answer_after is not None:
        texts = [text.rpartition(answer_after)[2].strip() for text in texts]
        if not all(texts):
            raise InputError(f"{name}, {where}: nothing stands after {answer_after} in {column}")
    alternatives = tuple(dict.fromkeys(texts))
    if "is_multiple_answer" not in row:
        return Gold(alternatives)
    tolerance = _number(name, where, row, "error") or 0.0
    if tolerance < 0:
        raise InputError(f"{name}, {where}: error is {tolerance:g}; a tolerance cannot be negative")
    has_unit = not _is_null(row.get("unit")) and str(row["unit"]).strip()
    unit = _text(name, where, row, "unit") if has_unit else None
    if str(row["is_multiple_answer"]).lower() not in ("true", "1"):
        return Gold(alternatives, "any", tolerance, unit)
    parts = tuple(part for text in texts for part in _parts(text))
    if len(parts) > 1 and row.get("answer_type") == "Tuple" and not any(unwrapped(part, "(", ")") for part in parts):
        parts = (f"({', '.join(parts)})",)
    return Gold(parts, "all" if len(parts) > 1 else "any", tolerance, unit)


def _parts(text: str) -> list[str]:
    """The answers that one text lists; one that is explained (``ax + b, where a is ...``) is no list."""
    cleaned = clean(text)
    return [text] if re.search(r"\bwhere\b", cleaned) else items(cleaned, thousands=False)


def _text(name: str, where: str, row: Mapping[str, Any], column: str, hint: str = "") -> str:
    if column not in row:
        wanted = "problem (or question)" if column in QUESTION_COLUMNS else column
        raise InputError(f"{name}, {where}: no column {wanted}; there are: {', '.join(map(str, row)) or 'none'}")
    value = row[column]
    if _is_null(value):
        raise InputError(f"{name}, {where}: {column} is null{hint}")
    if not isinstance(value, (str, int, float)):
        raise InputError(f"{name}, {where}: {column} is a {type(value).__name__}; one text or number is needed")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{name}, {where}: {column} is {value}, or has too many digits; a finite number is needed")
    text = str(value).strip()
    if not text:
        raise InputError(f"{name}, {where}: {column} is empty{hint}")
    if not is_unicode(text):
        raise InputError(
            f"{name}, {where}: {column} holds a lone surrogate, which is half of a character: {text[:60]!r}"
        )
    return text


def _number(name: str, where: str, row: Mapping[str, Any], column: str) -> float | None:
    value = row.get(column)
    if _is_null(value):
        return None
    try:
        if isinstance(value, bool) or "_" in str(value):  # a number to Python alone
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name}, {where}: {column} is {str(value)[:50]!r}, not a number") from error
    if not math.isfinite(number):
        raise InputError(f"{name}, {where}: {column} is {number}; a finite number is needed")
    return number
