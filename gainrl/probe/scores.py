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

COLUMNS = ("problem_id", "c_intra", "c_inter", "angle", "question_tokens", "prefix_tokens")
_METADATA_KEY = b"gainrl"


@dataclass(frozen=True)
class Scores:
    """The table (a row a problem, in the set's order; `COLUMNS`) and what it was made from."""

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

    def sort_key(self, order: str, problems: ProblemSet | None = None, *, seed: int = 0) -> Floats:
        """What a schedule takes, for an order by name (`schedules.ORDERS` or ``random``). Difficulty needs ``problems``."""
        columns: dict[str, Any] = {name: self.table[name].to_numpy() for name in COLUMNS[1:]}
        if problems is not None:
            if list(self.table.problem_id) != problems.ids:
                raise InputError(f"the scores are not of the problems of {problems.name}, in that order")
            columns["difficulty"] = problems.difficulties()
        return sort_key(order, columns, size=len(self.table), seed=seed)


def signal_metadata(model_version: str, problems: ProblemSet, prompt: Prompt, signal: SignalConfig) -> dict[str, str]:
    """What scores depend on; two scores files with the same metadata hold the same scores."""
    return {
        "model": model_version,
        "prompt": prompt.hash,
        "problem_set": problems.fingerprint,
        "definition": signal.definition,
        "site": signal.site,
        "layer": str(signal.layer),
    }
