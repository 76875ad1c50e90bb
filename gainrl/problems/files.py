"""Problem sets from JSON, JSONL and Parquet files with ``problem`` (or ``question``) and ``answer``."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from gainrl.errors import InputError
from gainrl.problems.base import ProblemSet, from_rows


def load_file(path: Path, drop_null_answers: bool = False) -> ProblemSet:
    """Read a problem file. Raises InputError: no such file, not of its type, or a row that cannot be used."""
    rows = READERS[path.suffix](path)
    return from_rows(path.name, rows, source={"file": path.name}, drop_null_answers=drop_null_answers)


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path.name}: not JSON: {error}") from error
    if not isinstance(rows, list):
        raise InputError(f"{path.name}: holds a {type(rows).__name__}; a list of objects is needed")
    yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_read(path).splitlines(), 1):
        if line.strip():
            try:
                yield f"line {number}", json.loads(line)
            except json.JSONDecodeError as error:
                raise InputError(f"{path.name}, line {number}: not JSON: {error}") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowInvalid) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {error}") from error
    yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"problem file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"problem file {path}: not UTF-8 text: {error}") from error


READERS = {".json": _json_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
SUFFIXES = tuple(READERS)
