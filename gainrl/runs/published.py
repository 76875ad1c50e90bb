"""Published runs: a few Parquet files an experiment, and each run in one place, however many experiments have it.

results/<experiment>/runs.csv           cell, seed, hash: which runs the experiment is made of
results/<experiment>/runs/runs.parquet  a row a run: hash, the text of each JSON file, and for each kind of rows its columns
results/<experiment>/runs/evaluations.parquet, metrics.parquet, draws.parquet   the rows of all runs, by hash
"""

import csv
import json
import os
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

from gainrl.errors import InputError
from gainrl.files import write_json_lines, write_text
from gainrl.runs.records import RunFolder, RunRecord

INDEX = "runs.csv"
TEXTS = ("config.json", "environment.json", "status.json")
MEASURED = (
    "patterns.parquet", "summary.csv",
    "measured.parquet", "parts.parquet", "correlations.parquet", "correlations.csv", "variance_shares.csv",
)  # fmt: skip
"""Tables of patterns along training, and of angle against gradient."""
ROWS = {"evaluations": methodcaller("evals"), "metrics": methodcaller("metrics"), "draws": methodcaller("draws")}


class Entry(NamedTuple):
    """A row of an index."""

    cell: str
    seed: int
    hash: str


class PublishedRun(RunRecord):
    """A run as an experiment's Parquet files hold it."""

    def __init__(self, store: "Store", run_hash: str) -> None:
        self.store, self.key = store, run_hash

    def text(self, name: str) -> str:
        if name not in TEXTS:
            raise FileNotFoundError(f"{name} of run {self.key} is not published")
        text: str = self.store.runs[self.key][name]
        return text

    def metrics(self) -> pd.DataFrame:
        return self.store.frame("metrics", self.key)

    def evals(self) -> pd.DataFrame:
        return self.store.frame("evaluations", self.key)

    def draws(self, columns: list[str] | None = None) -> pd.DataFrame:
        return self.store.frame("draws", self.key, columns)


class Store:
    """The Parquet files of one experiment, each read when it is first needed, and once."""

    def __init__(self, folder: Path) -> None:
        self.experiment = folder.parent.name
        self._folder = folder
        self._tables: dict[str, tuple[pa.Table, dict[str, tuple[int, int]]]] = {}

    @cached_property
    def runs(self) -> dict[str, dict[str, Any]]:
        """hash -> its row of runs.parquet."""
        return {row["hash"]: row for row in pq.read_table(self._folder / "runs.parquet").to_pylist()}

    def frame(self, kind: str, run_hash: str, columns: list[str] | None = None) -> pd.DataFrame:
        """The rows of a run with the columns and types that the run itself has."""
        table, places = self._table(kind)
        if run_hash not in places:
            return pd.DataFrame(columns=columns)
        types: dict[str, str] = json.loads(self.runs[run_hash][kind])
        chosen = types if columns is None else {name: types[name] for name in columns}
        first, number = places[run_hash]
        frame: pd.DataFrame = table.slice(first, number).select(list(chosen)).to_pandas().astype(chosen)
        return frame

    def _table(self, kind: str) -> tuple[pa.Table, dict[str, tuple[int, int]]]:
        """All rows, and hash -> (first, number) of a run's rows, which lie together."""
        if kind not in self._tables:
            table = pq.read_table(self._folder / f"{kind}.parquet")
            counts = table["hash"].value_counts().to_pylist()  # in order of first appearance
            firsts = accumulate((row["counts"] for row in counts), initial=0)
            places = {row["values"]: (first, row["counts"]) for row, first in zip(counts, firsts, strict=False)}
            self._tables[kind] = table, places
        return self._tables[kind]


def stored_runs(root: Path) -> dict[str, PublishedRun]:
    """hash -> run, of all experiments under ``root``."""
    paths = sorted(root.glob("*/runs/runs.parquet"), reverse=True)  # the first of equal ones stays
    stores = [_store(path.parent.resolve(), path.stat().st_mtime_ns) for path in paths]
    return {run_hash: PublishedRun(store, run_hash) for store in stores for run_hash in store.runs}


@cache
def _store(folder: Path, changed: int) -> Store:
    """One object for as long as the files do not change, which they do together."""
    return Store(folder)


def indices(root: Path) -> dict[str, list[Entry]]:
    """experiment -> what its index says."""
    found = {}
    for path in sorted(root.glob(f"*/{INDEX}")):
        with path.open(newline="") as file:
            found[path.parent.name] = [
                Entry(row["cell"], int(row["seed"]), row["hash"]) for row in csv.DictReader(file)
            ]
    return found


def published_runs(root: Path, experiment: str) -> dict[str, dict[int, RunRecord]]:
    """cell -> seed -> run; empty where none is published. Raises InputError: a run of the index is stored nowhere."""
    if not (root / experiment / INDEX).exists():
        return {}
    stored = stored_runs(root)
    found: dict[str, dict[int, RunRecord]] = {}
    for cell, seed, run_hash in indices(root)[experiment]:
        if run_hash not in stored:
            raise InputError(
                f"{root / experiment / INDEX} names run {run_hash}, which no {root}/*/runs/runs.parquet holds"
            )
        found.setdefault(cell, {})[seed] = stored[run_hash]
    return found


def write_published(runs: Mapping[str, Mapping[int, RunRecord]], experiment: str, root: Path, to: Path) -> None:
    """Write an experiment's index and Parquet files into ``to``.

    A run that another experiment under ``root`` stores is left out; one that the experiment stores today and another
    one names stays.

    Raises:
        FileNotFoundError, InputError: a run lacks a file.
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
        tables = {name: pa.Table.from_pandas(frame, preserve_index=False) for name, frame in frames.items()}
        write_parquet(_by("hash", tables), to / "runs" / f"{kind}.parquet")
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
    if path.suffix == ".csv":
        return pa.Table.from_pandas(pd.read_csv(path, dtype=str, na_filter=False), preserve_index=False)
    return pq.read_table(path)


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
