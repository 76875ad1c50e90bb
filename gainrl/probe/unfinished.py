"""Finished batches of a scoring, kept in a file as they come, so that a killed one goes on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from gainrl.errors import InputError
from gainrl.records import write_atomically
from gainrl.schedules import Floats


class Unfinished:
    """c_intra and c_inter of N problems at L layers, NaN before they come; in the file a line for the settings, then a
    line a batch.

    Raises InputError if the file is of other settings.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, str], shape: tuple[int, int]) -> None:
        self.path = path
        self.c_intra_NL, self.c_inter_NL = np.full(shape, np.nan), np.full(shape, np.nan)
        self._has_N = np.zeros(shape[0], dtype=bool)
        if path is None:
            return
        lines = path.read_text().split("\n") if path.exists() else []
        if len(lines) < 2:
            write_atomically(path, lambda file: file.write_text(json.dumps(dict(settings)) + "\n"))
            return
        there, *batches, torn = lines
        if json.loads(there) != dict(settings):
            raise InputError(
                f"{path} is an unfinished scoring with other settings; remove it, or write to another --out"
            )
        for batch in map(json.loads, batches):
            self._keep(**batch)
        if torn:
            whole = "\n".join(lines[:-1]) + "\n"
            write_atomically(path, lambda file: file.write_text(whole))

    @property
    def count(self) -> int:
        return int(self._has_N.sum())

    def missing(self, rows: Sequence[int]) -> list[int]:
        return [row for row in rows if not self._has_N[row]]

    def add(self, rows: Sequence[int], c_intra_BL: Floats, c_inter_BL: Floats) -> None:
        batch = {"rows": list(rows), "c_intra": c_intra_BL.tolist(), "c_inter": c_inter_BL.tolist()}
        self._keep(**batch)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(batch) + "\n")

    def _keep(
        self, rows: Sequence[int], c_intra: Sequence[Sequence[float]], c_inter: Sequence[Sequence[float]]
    ) -> None:
        self.c_intra_NL[rows], self.c_inter_NL[rows], self._has_N[rows] = c_intra, c_inter, True

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink()
