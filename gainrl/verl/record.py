"""What a run by verl writes down beside verl's own log: its draws, its steps and its evaluations, as JSON lines.

A step is an optimizer step, an epoch counts from 0. When a run resumes, lines of steps after its checkpoint are taken away.

draws.jsonl        a drawn problem: epoch, position, row, rank (null where the schedule has no order)
steps.jsonl        a step: accuracy, angle, reward, loss, kl (to the reference), rollout_kl (sampler to trainer), grad_norm,
                   seconds (without the weights' way to the sampler), the schedule's metrics as schedule/...; and the lists
                   rows, correct, tokens, angles, one entry a rollout
evaluations.jsonl  an evaluation of a benchmark: metric ("accuracy", "accuracy of <kind>"), accuracy, n, truncated, unparseable
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gainrl.files import append_json_line, read_json_lines, write_json_lines
from gainrl.schedules import Ints

DRAWS, STEPS, EVALUATIONS = "draws.jsonl", "steps.jsonl", "evaluations.jsonl"


class Record:
    """The three files in a folder; with None as folder nothing is written."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def cut_back(self, step: int, draws: int) -> None:
        """Keep what was so after ``step`` steps, when the schedule had drawn ``draws`` times; nothing before the first step."""
        self._keep(DRAWS, lambda row: row["epoch"] < draws)
        self._keep(STEPS, lambda row: row["step"] <= step)
        self._keep(EVALUATIONS, lambda row: step > 0 and row["step"] <= step)

    def _keep(self, name: str, keeps: Callable[[dict[str, Any]], bool]) -> None:
        if self.folder is None or not (self.folder / name).exists():
            return
        rows = read_json_lines(self.folder / name, mend=True)
        write_json_lines(self.folder / name, [row for row in rows if keeps(row)])

    def drawn(self, epoch: int, rows_n: Ints, ranks_n: Ints | None) -> None:
        """A draw."""
        ranks = [None] * len(rows_n) if ranks_n is None else ranks_n.tolist()
        for position, (row, rank) in enumerate(zip(rows_n.tolist(), ranks, strict=True)):
            self._add(DRAWS, {"epoch": epoch, "position": position, "row": row, "rank": rank})

    def trained(self, row: Mapping[str, Any]) -> None:
        """A step."""
        self._add(STEPS, row)

    def evaluated(self, row: Mapping[str, Any]) -> None:
        """An evaluation of one benchmark by one metric."""
        self._add(EVALUATIONS, row)

    def accuracies(self) -> dict[int, float]:
        """Step -> mean accuracy over the benchmarks, by rising step."""
        if self.folder is None:
            return {}
        found: dict[int, list[float]] = {}
        for row in read_json_lines(self.folder / EVALUATIONS):
            if row["metric"] == "accuracy":
                found.setdefault(row["step"], []).append(row["accuracy"])
        return {step: float(np.mean(values)) for step, values in sorted(found.items())}

    def _add(self, name: str, row: Mapping[str, Any]) -> None:
        if self.folder is not None:
            append_json_line(self.folder / name, {key: _finite(value) for key, value in row.items()})


def _finite(value: Any) -> Any:
    """NaN and infinities as null, also inside a list; numpy's numbers as Python's."""
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
