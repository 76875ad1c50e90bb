"""Published runs: a few Parquet files an experiment, and each run in one place, however many experiments have it.

results/<experiment>/runs.csv           cell, seed, hash: which runs the experiment is made of
results/<experiment>/runs/runs.parquet  a row a run: hash, the text of each JSON file, and for each kind of rows its columns
results/<experiment>/runs/evaluations.parquet, metrics.parquet, draws.parquet   the rows of all runs, by hash
"""

import csv
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from itertools import accumulate
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gainrl.columns import Column, Rows
from gainrl.errors import InputError, one_line
from gainrl.files import parse_json_object, write_json_lines, write_text
from gainrl.runs.plan import SEED
from gainrl.runs.records import RunFolder, RunRecord
from gainrl.runs.schemas import DRAWS, EVALUATIONS, METRICS

INDEX = "runs.csv"
TEXTS = ("config.json", "environment.json", "status.json")
MEASURED = (
    "patterns.parquet", "summary.csv",
    "measured.parquet", "parts.parquet", "correlations.parquet", "correlations.csv", "variance_shares.csv",
)  # fmt: skip
"""Tables of patterns along training, and of angle against gradient."""
ROWS = {"evaluations": methodcaller("evals"), "metrics": methodcaller("metrics"), "draws": methodcaller("draws")}
SCHEMAS = {"evaluations": EVALUATIONS, "metrics": METRICS, "draws": DRAWS}
FILES = {"evals.jsonl": "evaluations", "metrics.jsonl": "metrics", "draws.parquet": "draws"}
"""File of a run's folder -> where its rows are published."""
RUNS = Rows({name: Column("text") for name in ("hash", *TEXTS, *ROWS)}, unique=("hash",))


class Entry(NamedTuple):
    """A row of an index."""

    cell: str
    seed: int
    hash: str


class PublishedRun(RunRecord):
    """A run as an experiment's Parquet files hold it."""

    def __init__(self, store: "Store", run_hash: str) -> None:
        self.store, self._hash = store, run_hash

    @property
    def known_as(self) -> str:
        return self._hash

    def where(self, name: str) -> str:
        file = FILES.get(name, "runs")
        return f"{self.store.place / file}.parquet, run {self.known_as}{f', {name}' if file == 'runs' else ''}"

    def text(self, name: str) -> str:
        if name not in TEXTS:
            raise InputError(f"{name} of run {self.known_as} is not published")
        text: str = self.store.runs[self.known_as][name]
        return text

    def metrics(self) -> pd.DataFrame:
        return self.store.frame("metrics", self)

    def evals(self) -> pd.DataFrame:
        return self.store.frame("evaluations", self)

    def draws(self, columns: list[str] | None = None) -> pd.DataFrame:
        return self.store.frame("draws", self, columns)


class LostRun(RunRecord):
    """A run that an index names and no file holds; reading it raises InputError with the reason."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    @property
    def known_as(self) -> None:
        return None

    def where(self, name: str) -> str:
        return self.reason

    def text(self, name: str) -> str:
        raise InputError(self.reason)

    def metrics(self) -> pd.DataFrame:
        raise InputError(self.reason)

    def evals(self) -> pd.DataFrame:
        raise InputError(self.reason)

    def draws(self, columns: list[str] | None = None) -> pd.DataFrame:
        raise InputError(self.reason)


class Store:
    """The Parquet files of one experiment, each read when it is first needed, and once. Raises InputError: one is damaged."""

    def __init__(self, folder: Path) -> None:
        self.experiment = folder.parent.name
        self.folder = folder
        self._tables: dict[str, tuple[pa.Table, dict[str, tuple[int, int]]]] = {}
        self._frames: dict[tuple[str, str], pd.DataFrame] = {}

    @property
    def place(self) -> Path:
        """Its folder as it is seen from here: pages show no path of a machine."""
        return Path(os.path.relpath(self.folder))

    @cached_property
    def runs(self) -> dict[str, dict[str, Any]]:
        """hash -> its row of runs.parquet."""
        path = self.place / "runs.parquet"
        table = _read_table(path)
        RUNS.check(table.to_pandas(), path)
        return {row["hash"]: row for row in table.to_pylist()}

    def frame(self, kind: str, run: PublishedRun, columns: list[str] | None = None) -> pd.DataFrame:
        """The rows of a run with the columns and types that the run itself has. What is published is checked once."""
        key, (table, places) = (kind, run.known_as), self._table(kind)
        if run.known_as not in places:
            return pd.DataFrame(columns=columns)
        if key not in self._frames:
            self._frames[key] = self._checked(kind, run, table.slice(*places[run.known_as]))
        return self._frames[key] if columns is None else self._frames[key][columns]

    def _checked(self, kind: str, run: PublishedRun, table: pa.Table) -> pd.DataFrame:
        where = f"{self.place / kind}.parquet, run {run.known_as}"
        types = parse_json_object(self.runs[run.known_as][kind], f"{self.place / 'runs.parquet'}, column {kind}")
        try:
            rows: pd.DataFrame = table.select(list(types)).to_pandas().astype(types)
        except (KeyError, ValueError, TypeError, pa.ArrowException) as error:
            raise InputError(f"{where}: its columns are not those of the run: {one_line(error, 120)}") from error
        return SCHEMAS[kind].check(rows, where)

    def _table(self, kind: str) -> tuple[pa.Table, dict[str, tuple[int, int]]]:
        """All rows, and hash -> (first, number) of a run's rows, which lie together."""
        if kind not in self._tables:
            path = self.place / f"{kind}.parquet"
            table = _read_table(path)
            if "hash" not in table.column_names or table.schema.field("hash").type != pa.string():
                raise InputError(f"{path}: has no column hash of texts")
            hashes = table["hash"].to_pandas()
            counts = table["hash"].value_counts().to_pylist()  # in order of first appearance
            if (hashes != hashes.shift()).sum() != len(counts):
                raise InputError(f"{path}: the rows of a run do not lie together")
            firsts = accumulate((row["counts"] for row in counts), initial=0)
            places = {row["values"]: (first, row["counts"]) for row, first in zip(counts, firsts, strict=False)}
            self._tables[kind] = table, places
        return self._tables[kind]


def _read_table(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path} {'is not a file' if path.exists() else 'is missing'}")
    try:
        return pq.read_table(path)
    except Exception as error:  # pyarrow's own errors are of many types
        raise InputError(f"{path} is not a whole Parquet file: {one_line(error, 120)}") from error


def stored_runs(root: Path, damaged: list[str] | None = None) -> dict[str, PublishedRun]:
    """hash -> run, of all experiments under ``root``.

    Args:
        damaged: receives why the runs of an experiment cannot be read, which is else an InputError.
    """
    paths = sorted(root.glob("*/runs/runs.parquet"), reverse=True)  # the first of equal ones stays
    found: dict[str, PublishedRun] = {}
    for path in paths:
        try:
            store = _store(path.parent.resolve(), path.stat().st_mtime_ns)
            found |= {run_hash: PublishedRun(store, run_hash) for run_hash in store.runs}
        except (InputError, OSError) as error:
            if damaged is None:
                raise
            damaged.append(str(error))
    return found


@cache
def _store(folder: Path, changed: int) -> Store:
    """One object for as long as the files do not change, which they do together."""
    return Store(folder)


def indices(root: Path) -> dict[str, list[Entry]]:
    """experiment -> what its index says."""
    return {path.parent.name: _entries(path) for path in sorted(root.glob(f"*/{INDEX}"))}


_ENTRY = re.compile(rf"\w[\w.-]*,(?:{SEED.pattern}),[0-9a-f]{{12}}")
"""A cell is the name of a folder."""


def _entries(path: Path) -> list[Entry]:
    """Raises InputError: a row is not cell, seed, hash, or there twice."""
    try:
        first, *rows = csv.reader(path.read_text(encoding="utf-8").splitlines(), strict=True)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {one_line(error, 120)}") from error
    entries: dict[tuple[str, str], Entry] = {}
    for number, row in enumerate(rows, 1):
        if tuple(first) != Entry._fields or not _ENTRY.fullmatch(",".join(row)):
            raise InputError(f"{path}, row {number}: {','.join(row)[:60]!r} is not {','.join(Entry._fields)}")
        if (row[0], row[1]) in entries:
            raise InputError(f"{path}, row {number}: {row[0]} seed {row[1]} is there twice")
        entries[row[0], row[1]] = Entry(row[0], int(row[1]), row[2])
    return [*entries.values()]


def published_runs(root: Path, experiment: str) -> dict[str, dict[int, RunRecord]]:
    """cell -> seed -> run, also of one that is stored nowhere (a `LostRun`); empty where none is published.

    Raises InputError: the index is damaged.
    """
    index = root / experiment / INDEX
    if not os.path.lexists(index):
        return {}
    damaged: list[str] = []
    stored = stored_runs(root, damaged)
    found: dict[str, dict[int, RunRecord]] = {}
    for cell, seed, run_hash in _entries(index):
        reason = "; ".join([f"{index} names run {run_hash}, which no {root}/*/runs/runs.parquet holds", *damaged])
        found.setdefault(cell, {})[seed] = stored.get(run_hash) or LostRun(reason)
    return found


def write_published(runs: Mapping[str, Mapping[int, RunRecord]], experiment: str, root: Path, to: Path) -> None:
    """Write an experiment's index and Parquet files into ``to``.

    A run that another experiment under ``root`` stores is left out; one that the experiment stores today and another
    one names stays.

    Raises:
        InputError: a run is damaged, or something that is published is.
    """
    index = [(Entry(cell, seed, run.hash), run) for cell, by_seed in runs.items() for seed, run in by_seed.items()]
    stored = stored_runs(root)
    elsewhere = {run_hash for run_hash, run in stored.items() if run.store.experiment != experiment}
    named = {entry.hash for other, entries in indices(root).items() if other != experiment for entry in entries}
    chosen: dict[str, RunRecord] = {entry.hash: run for entry, run in index if entry.hash not in elsewhere}
    chosen |= {run_hash: run for run_hash, run in stored.items() if run_hash in named - elsewhere - chosen.keys()}
    (to / "runs").mkdir(parents=True)
    with (to / INDEX).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([Entry._fields, *(entry for entry, _ in index)])
    table = [{"hash": run_hash, **{name: run.text(name) for name in TEXTS}} for run_hash, run in chosen.items()]
    for kind, read in ROWS.items():
        frames = {run_hash: read(run) for run_hash, run in chosen.items()}
        if kind != "draws" and (empty := [run_hash for run_hash, frame in frames.items() if frame.empty]):
            raise InputError(f"run {empty[0]} of {experiment} has no {kind}; nothing is published")
        for row, frame in zip(table, frames.values(), strict=True):
            row[kind] = json.dumps({name: str(dtype) for name, dtype in frame.dtypes.items()})
        try:
            tables = {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
            table_of_all = _by("hash", tables)
        except (pa.ArrowException, OverflowError) as error:
            raise InputError(
                f"the {kind} of {experiment} have values of unlike types: {one_line(error, 120)}"
            ) from error
        write_parquet(table_of_all, to / "runs" / f"{kind}.parquet")
    columns = pa.schema([(name, pa.string()) for name in ("hash", *TEXTS, *ROWS)])
    write_parquet(pa.Table.from_pylist(table, columns), to / "runs" / "runs.parquet")


def write_folder(run: RunRecord, path: Path) -> None:
    """A run folder again, whole or not at all: its JSON texts byte for byte, its rows with the same values."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    folder = RunFolder(unfinished)
    unfinished.mkdir(parents=True)
    try:
        for name in TEXTS:
            write_text(unfinished / name, run.text(name))
        for name, frame in {"metrics.jsonl": run.metrics(), "evals.jsonl": run.evals()}.items():
            rows = frame.to_dict("records")
            write_json_lines(unfinished / name, [{k: v for k, v in row.items() if pd.notna(v)} for row in rows])
        if len(draws := run.draws()):
            folder.write_draws(draws)
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def add_measurements(folders: Sequence[Path], to: Path) -> None:
    """What was measured after the runs, a folder a measurement: its texts and figures as they are, in a folder of its name;
    its tables under those of the others, in one file ``to``/TABLE, by ``measurement``. What else is there stays.
    """
    for folder in folders:
        shutil.rmtree(to / folder.name, ignore_errors=True)
        (to / folder.name).mkdir(parents=True)
        for path in (path for pattern in ("*.md", "*.json", "*.png") for path in sorted(folder.glob(pattern))):
            shutil.copyfile(path, to / folder.name / path.name)
    for name in MEASURED:
        tables = {folder.name: _read(folder / name) for folder in folders if (folder / name).exists()}
        before = [_read(to / name)] if tables and (to / name).exists() else []
        kept = [table.filter(pc.invert(pc.is_in(table["measurement"], pa.array([*tables])))) for table in before]
        if tables:
            _write(pa.concat_tables([*kept, _by("measurement", tables)], promote_options="permissive"), to / name)


def _read(path: Path) -> pa.Table:
    """A table; the numbers of a CSV file as they are written."""
    if path.suffix != ".csv":
        return _read_table(path)
    try:
        return pa.Table.from_pandas(pd.read_csv(path, dtype=str, na_filter=False), preserve_index=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error, 120)}") from error


def _write(table: pa.Table, path: Path) -> None:
    if path.suffix == ".csv":
        table.to_pandas().to_csv(path, index=False)
    else:
        write_parquet(table, path)


def write_parquet(table: pa.Table, path: Path) -> None:
    """Small: zstd, and the bytes of floats by their place, which changes no number."""
    floats = [field.name for field in table.schema if pa.types.is_floating(field.type)]
    others = [name for name in table.schema.names if name not in floats]
    pq.write_table(table, path, compression="zstd", use_dictionary=others, use_byte_stream_split=floats)


def _by(key: str, tables: Mapping[str, pa.Table]) -> pa.Table:
    """All rows under each other, the name of their table in the first column; what a table has no column for is null."""
    first = pa.table({key: pa.array([], pa.string())})
    named = [
        table.replace_schema_metadata(None).add_column(0, key, pa.array([name] * len(table), pa.string()))
        for name, table in tables.items()
    ]
    return pa.concat_tables([first, *named], promote_options="permissive")
