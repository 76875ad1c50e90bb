"""Problem sets from JSON, JSONL and Parquet files with ``problem`` (or ``question``) and ``answer``."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet

from gainrl.errors import InputError, one_line
from gainrl.files import parse_json, read_text
from gainrl.problems.base import ProblemSet, from_rows


def load_file(path: Path, drop_null_answers: bool = False) -> ProblemSet:
    """Read a problem file. Raises InputError: no such file, not of its type, or a row that cannot be used."""
    return from_rows(path.name, reader_of(path)(path), source={"file": path.name}, drop_null_answers=drop_null_answers)


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    rows = parse_json(_read(path), path.name)
    if not isinstance(rows, list):
        raise InputError(f"{path.name}: holds a {type(rows).__name__}; a list of objects is needed")
    yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _jsonl_rows(path: Path) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_read(path).split("\n"), 1):
        if line.strip():
            yield f"line {number}", parse_json(line, f"{path.name}, line {number}")


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except Exception as error:  # a damaged file can fail anywhere in pyarrow
        raise InputError(f"problem file {path}: cannot be read as Parquet: {one_line(error)}") from error
    yield from ((f"row {number}", row) for number, row in enumerate(rows, 1))


def _read(path: Path) -> str:
    try:
        text = read_text(path)
    except InputError as error:
        raise InputError(f"problem file {error}") from error
    if not text.strip():
        raise InputError(f"problem file {path}: is empty")
    return text


def reader_of(path: Path) -> Callable[[Path], Iterator[tuple[str, Any]]]:
    """What reads a file of this type. Raises InputError: nothing does."""
    if path.suffix not in READERS:
        raise InputError(f"problem file {path}: unknown type {path.suffix!r}; valid: {', '.join(SUFFIXES)}")
    return READERS[path.suffix]


READERS = {".json": _json_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
SUFFIXES = tuple(READERS)
