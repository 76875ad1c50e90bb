"""The scores file: Parquet, one row a problem, whose metadata says what it was made from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pyarrow.parquet

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt
from gainrl.records import write_atomically
from gainrl.schedules import Floats, sort_key
from gainrl.signal import DEFINITIONS

COLUMNS = ("problem_id", "c_intra", "c_inter", "angle", "question_tokens", "prefix_tokens")
_METADATA_KEY = b"gainrl"


@dataclass(frozen=True)
class Scores:
    """The table (a row a problem, in the set's order; `COLUMNS`) and what it was made from.

    Scores of several layers have a row a (problem, layer) and a column ``layer``; `at_layer` takes one of them out.
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
        """Read a scores file. Raises InputError: not one, or made from something else than ``expected`` says."""
        try:
            table = pyarrow.parquet.read_table(path)
            metadata = json.loads((table.schema.metadata or {})[_METADATA_KEY])
        except (OSError, pyarrow.ArrowInvalid, KeyError, ValueError) as error:
            raise InputError(f"{path} is not a scores file of this suite; gainrl score writes one") from error
        if missing := sorted(set(COLUMNS) - set(table.column_names)):
            raise InputError(f"scores file {path} has no column {', '.join(missing)}")
        for key, wanted in (expected or {}).items():
            if metadata.get(key) != wanted:
                raise InputError(
                    f"scores file {path} was made for {key} {metadata.get(key)}, not for {wanted}; score again"
                )
        return cls(table.to_pandas(), metadata)

    def at_layer(self, layer: int) -> "Scores":
        """The scores of one layer (a number from 0) out of those of several."""
        if "layer" not in self.table or layer not in set(self.table.layer):
            raise InputError(f"there are no scores of layer {layer}; there are: {self.metadata['layer']}")
        table = self.table[self.table.layer == layer].drop(columns="layer").reset_index(drop=True)
        return Scores(table, {**self.metadata, "layer": str(layer)})

    def sort_key(self, order: str, problems: ProblemSet | None = None, *, seed: int = 0) -> Floats:
        """What a schedule takes, for an order by name (`schedules.ORDERS` or ``random``). Difficulty needs ``problems``.

        Raises InputError: scores of several layers, another definition than the order is of, or other problems.
        """
        if "layer" in self.table:
            raise InputError(f"these are scores of layers {self.metadata['layer']}; take one of them with at_layer")
        definition = self.metadata["definition"]
        if order in DEFINITIONS and order != definition:
            raise InputError(f"order {order!r} needs scores of that definition; these are of {definition!r}")
        columns: dict[str, Any] = {name: self.table[name].to_numpy() for name in COLUMNS[1:]}
        if problems is not None:
            if list(self.table.problem_id) != problems.ids:
                raise InputError(f"the scores are not of the problems of {problems.name}, in that order")
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
