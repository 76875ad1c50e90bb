"""What the columns of a kept table may hold, checked where the table is read; an error names file, row and column."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gainrl.errors import InputError, one_line

_TYPES: dict[str, Any] = {"text": str, "truth value": (bool, np.bool_), "list": (list, np.ndarray)}


@dataclass(frozen=True)
class Column:
    """A kind of value within bounds. Numbers are finite; a missing value (null, NaN) is one only where ``nullable``."""

    kind: Literal["number", "whole number", "text", "truth value", "list"] = "number"
    low: float = -np.inf
    high: float = np.inf
    optional: bool = False
    """The table may lack the column."""
    nullable: bool = False
    never_falls: bool = False
    """No value is smaller than the one before."""

    def __str__(self) -> str:
        bounds = f" of {self.low:g} or more" if np.isinf(self.high) else f" from {self.low:g} to {self.high:g}"
        return f"a {self.kind}{'' if np.isinf(self.low) else bounds}"

    def fault(self, values: "pd.Series[Any]") -> tuple[int, str] | None:
        """Position of the first value that cannot be, and what is wrong with it."""
        missing = values.isna().to_numpy(dtype=bool)
        bad = missing & (not self.nullable)
        numbers = np.zeros(0)
        if self.kind in _TYPES:
            kind = _TYPES[self.kind]
            if not (kind is str and isinstance(values.dtype, pd.StringDtype)):  # which holds texts alone
                bad |= ~missing & ~np.array([isinstance(value, kind) for value in values], dtype=bool)
        else:
            numbers = _numbers(values)
            bad |= np.isinf(numbers) | (numbers < self.low) | (numbers > self.high)
            if self.kind == "whole number":
                bad |= np.mod(numbers, 1, where=np.isfinite(numbers), out=np.zeros_like(numbers)) > 0
        if bad.any():
            row = int(bad.argmax())
            return row, f"is {str(values.iloc[row])[:40]!r}; {self} is needed"
        if self.never_falls and (falls := np.diff(numbers) < 0).any():
            row = int(falls.argmax()) + 1
            return row, f"falls from {numbers[row - 1]:g} to {numbers[row]:g}"
        return None


def _numbers(values: "pd.Series[Any]") -> NDArray[np.float64]:
    """NaN for a missing value, infinity for what is no number."""
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=float, na_value=np.nan)
    return np.array([_number(value) for value in values])


def _number(value: Any) -> float:
    if value is None or value is pd.NA:
        return np.nan
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 else np.inf


@dataclass(frozen=True)
class Rows:
    """A table's columns; others may stand beside them and hold any one value. ``unique`` ones are the same in no two rows."""

    columns: Mapping[str, Column]
    unique: tuple[str, ...] = ()
    others: Column = field(default=Column(nullable=True), repr=False)

    def check(self, table: pd.DataFrame, where: object) -> pd.DataFrame:
        """The table. Raises InputError: it has a value that cannot be (``where``, the row counted from 1, the column)."""
        if not len(table) and not len(table.columns):  # of a list without rows
            return table
        for name, column in self.columns.items():
            if name not in table:
                if column.optional:
                    continue
                raise InputError(f"{where}: has no column {name}")
            if (fault := column.fault(table[name])) is not None:
                raise InputError(f"{where}, row {fault[0] + 1}: {name} {fault[1]}")
        for name in (name for name in table.columns if name not in self.columns):
            if pd.api.types.is_float_dtype(table[name]) and (fault := self.others.fault(table[name])) is not None:
                raise InputError(f"{where}, row {fault[0] + 1}: {name} {fault[1]}")
            if table[name].dtype == object and (nested := table[name].map(pd.api.types.is_scalar).eq(False)).any():
                raise InputError(f"{where}, row {int(nested.argmax()) + 1}: {name} holds more than one value")
        unique = [name for name in self.unique if name in table]
        if unique and (repeated := table.duplicated(unique)).any():
            row = int(repeated.argmax())
            key = ", ".join(f"{name} {table[name].iloc[row]}" for name in unique)
            raise InputError(f"{where}, row {row + 1}: {key} is there twice")
        return table


def read_rows(path: Path, rows: Rows) -> pd.DataFrame:
    """A Parquet file. Raises InputError: it cannot be read, or has a value that cannot be."""
    if not path.is_file():
        raise InputError(f"{path} {'is not a file' if path.exists() else 'is missing'}")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow's own errors are of many types
        raise InputError(f"{path} is not a whole Parquet file: {one_line(error, 120)}") from error
    return rows.check(table, path)


def read_csv(path: Path, rows: Rows) -> pd.DataFrame:
    """A CSV file. Raises InputError: it cannot be read, or has a value that cannot be."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {one_line(error, 120)}") from error
    return rows.check(table, path)
