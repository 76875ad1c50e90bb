"""The scores file: Parquet, one row per problem, whose metadata names its model, prompt and problems.

Also the file that keeps what an interrupted pass has finished, and the order files of the authors' release.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import torch

from gainrl.angle import DEFINITIONS
from gainrl.columns import Column, Rows
from gainrl.errors import InputError
from gainrl.files import append_json_line, read_json_lines, write_atomically, write_json_lines
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt
from gainrl.runs.config import SignalConfig
from gainrl.schedules import Floats, sort_key

_COSINES = Column(nullable=True)  # the released definition gives NaN
_TOKENS = Column("whole number", low=0)
SCORE_ROWS = Rows(
    {
        "problem_id": Column("text"),
        "c_intra": _COSINES,
        "c_inter": _COSINES,
        "angle": _COSINES,
        "question_tokens": _TOKENS,
        "prefix_tokens": _TOKENS,
        "site": Column("text", optional=True),
        "layer": Column("whole number", optional=True),
    },
    unique=("problem_id", "site", "layer"),
)
SCORE_COLUMNS = tuple(name for name, column in SCORE_ROWS.columns.items() if not column.optional)
_METADATA_KEY = b"gainrl"
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True)
class Scores:
    """The table (one row per problem, in the set's order; `SCORE_COLUMNS`) and its model, prompt, problems and definition.

    Scores of several layers have one row per (problem, layer) and a column ``layer``; `at_layer` selects one. Those of several
    sites have a column ``site`` beside it; `at_site` selects one.
    """

    table: pd.DataFrame
    metadata: Mapping[str, str]

    def save(self, path: Path) -> None:
        table = pyarrow.Table.from_pandas(self.table, preserve_index=False)
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), _METADATA_KEY: json.dumps(dict(self.metadata))}
        )
        write_atomically(path, lambda file: pyarrow.parquet.write_table(table, file))

    @classmethod
    def load(cls, path: Path, expected: Mapping[str, str] | None = None) -> "Scores":
        """Read a scores file. Raises InputError: it is not one, is damaged, or its metadata differ from ``expected``."""
        try:
            table = pyarrow.parquet.read_table(path)
            metadata = json.loads((table.schema.metadata or {})[_METADATA_KEY])
            frame = table.to_pandas()
        except Exception as error:  # a damaged file can fail anywhere in pyarrow
            raise InputError(f"{path} is not a scores file of this suite; gainrl score writes one") from error
        if not isinstance(metadata, dict) or not {"model", "definition", "layer"} <= metadata.keys():
            raise InputError(f"scores file {path} does not say by which model and definition it was made; score again")
        try:
            SCORE_ROWS.check(frame, f"scores file {path}")
        except InputError as error:
            raise InputError(f"{error}; score again") from error
        if frame.empty:
            raise InputError(f"scores file {path} holds no scores; score again")
        for key, wanted in (expected or {}).items():
            if metadata.get(key) != wanted:
                raise InputError(
                    f"scores file {path} was made for {key} {metadata.get(key)}, not for {wanted}; score again"
                )
        return cls(frame, metadata)

    def at_site(self, site: str) -> "Scores":
        """The scores of one of several sites, at all of its layers."""
        if "site" not in self.table or site not in set(self.table.site):
            raise InputError(f"no scores of site {site}; available: {self.metadata.get('site')}")
        table = self.table[self.table.site == site].drop(columns="site").reset_index(drop=True)
        layers = {"layer": ", ".join(map(str, table.layer.unique()))} if "layer" in table else {}
        return Scores(table, {**self.metadata, "site": site, **layers})

    def at_layer(self, layer: int) -> "Scores":
        """The scores of one of several layers (numbered from 0)."""
        if "site" in self.table:
            raise InputError(f"these are scores at sites {self.metadata['site']}; take one of them with at_site")
        if "layer" not in self.table or layer not in set(self.table.layer):
            raise InputError(f"no scores of layer {layer}; available: {self.metadata['layer']}")
        table = self.table[self.table.layer == layer].drop(columns="layer").reset_index(drop=True)
        return Scores(table, {**self.metadata, "layer": str(layer)})

    def sort_key(self, order: str, problems: ProblemSet | None = None, *, seed: int = 0) -> Floats:
        """The sort key of an order by name (`schedules.ORDERS` or ``random``). Difficulty needs ``problems``.

        Raises InputError: the scores are of several layers, by another definition than the order's, or of other problems.
        """
        if "layer" in self.table:
            raise InputError(f"these are scores of layers {self.metadata['layer']}; take one of them with at_layer")
        definition = self.metadata["definition"]
        if order in DEFINITIONS and order != definition:
            raise InputError(f"order {order!r} needs scores by that definition; these are by {definition!r}")
        columns: dict[str, Any] = {name: self.table[name].to_numpy() for name in SCORE_COLUMNS[1:]}
        if problems is not None:
            if list(self.table.problem_id) != problems.ids:
                raise InputError(f"the scores are not those of the problems of {problems.name}, in that order")
            columns["difficulty"] = problems.difficulties()
        if order == "angle" and definition == "released":
            order = "released"
        return sort_key(order, columns, size=len(self.table), seed=seed)


def signal_metadata(
    model_version: str, dtype: str, problems: ProblemSet, prompt: Prompt, signal: SignalConfig
) -> dict[str, str]:
    """What scores depend on; two scores files with the same metadata hold the same scores."""
    return {
        "model": model_version,
        "dtype": dtype.removeprefix("torch."),
        "prompt": prompt.hash,
        "problem_set": problems.fingerprint,
        "definition": signal.definition,
        "site": signal.site,
        "layer": str(signal.layer),
    }


class PartialScores:
    """c_intra and c_inter of N problems at L layers, NaN until scored; kept in a file, so that a killed pass resumes.

    The file has a line for the settings, then one per batch. Raises InputError if its settings are others.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, str], shape: tuple[int, int]) -> None:
        self.path = path
        self.c_intra_NL, self.c_inter_NL = np.full(shape, np.nan), np.full(shape, np.nan)
        self._has_N = np.zeros(shape[0], dtype=bool)
        if path is None:
            return
        existing, *batches = read_json_lines(path, mend=True) or [None]
        if existing is None:
            return write_json_lines(path, [dict(settings)])
        if existing != dict(settings):
            raise InputError(
                f"{path} is an unfinished scoring with other settings; remove it, or write to another --out"
            )
        for number, batch in enumerate(batches, 2):
            try:
                self._keep(**batch)
            except (TypeError, ValueError, IndexError) as error:
                raise InputError(
                    f"{path}, row {number}: is no batch of scores; remove the file, and score again"
                ) from error

    @property
    def count(self) -> int:
        return int(self._has_N.sum())

    def missing(self, rows: Sequence[int]) -> list[int]:
        return [row for row in rows if not self._has_N[row]]

    def add(self, rows: Sequence[int], c_intra_BL: Floats, c_inter_BL: Floats) -> None:
        batch = {"rows": list(rows), "c_intra": c_intra_BL.tolist(), "c_inter": c_inter_BL.tolist()}
        self._keep(**batch)
        if self.path is not None:
            append_json_line(self.path, batch, allow_nan=True)  # the released definition gives NaN

    def _keep(
        self, rows: Sequence[int], c_intra: Sequence[Sequence[float]], c_inter: Sequence[Sequence[float]]
    ) -> None:
        if not all(type(row) is int and 0 <= row < len(self._has_N) for row in rows):
            raise ValueError("rows are no numbers of problems")
        for values in map(np.asarray, (c_intra, c_inter)):
            if values.shape != (len(rows), self.c_intra_NL.shape[1]) or values.dtype.kind not in "fi":
                raise ValueError("not one number for each row and layer")
        self.c_intra_NL[rows], self.c_inter_NL[rows], self._has_N[rows] = c_intra, c_inter, True

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink()


def load_released_order(path: Path, size: int) -> Floats:
    """One number per problem, smallest first, from a file that lists row numbers. No code in the file is run.

    Raises:
        InputError: there is no such file, or it does not list each of the set's ``size`` rows exactly once: positions
            in a file of another length point at other problems.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        rows = torch.as_tensor(content)
    except Exception as error:  # a damaged file can fail anywhere in torch
        reason = getattr(error, "strerror", None) or "not a tensor or list of row numbers saved by torch"
        raise InputError(f"order file {path}: {reason}") from error
    if rows.layout != torch.strided or rows.is_meta:
        raise InputError(f"order file {path}: holds a tensor without plain values; a list of row numbers is needed")
    if rows.ndim != 1 or rows.dtype not in INTEGERS:
        raise InputError(f"order file {path}: holds {rows.dtype} of shape {tuple(rows.shape)}; row numbers are needed")
    if len(rows) != size:
        raise InputError(
            f"order file {path}: lists {len(rows)} rows, the problem set has {size}; its positions would point at other "
            "problems, so use exactly the problem set that it orders"
        )
    order_N = rows.numpy()
    if not np.array_equal(np.sort(order_N), np.arange(size)):
        raise InputError(f"order file {path}: is not an order of rows 0 to {size - 1}; some are repeated or missing")
    return np.argsort(order_N).astype(np.float64)
