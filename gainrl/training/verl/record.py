"""The plug-in's record of a run becomes the files of a run folder: metrics, draws, evaluations."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gainrl.errors import InputError
from gainrl.files import read_json_lines
from gainrl.runs.config import RunConfig
from gainrl.runs.records import RunFolder
from gainrl.schedules import Schedule

FILES = ("steps.jsonl", "draws.jsonl", "evaluations.jsonl")
VALUES = ("reward", "accuracy", "angle", "loss", "grad_norm", "kl", "rollout_kl", "choosing_seconds")
"""Of a step, where the record has them; the names of metrics.jsonl."""
DRAWN = ("epoch", "position")
"""What a line of draws.jsonl is known by."""
Rows = list[dict[str, Any]]


class Record:
    """What the plug-in has written so far, in the words of a run folder. A line that is being written is left for later."""

    def __init__(self, path: Path, config: RunConfig, schedule: Schedule, problem_ids: Sequence[str]) -> None:
        self.path, self.config, self.schedule, self.problem_ids = path, config, schedule, problem_ids
        self.seen: list[tuple[int, int]] = []

    def has_changed(self) -> bool:
        """Whether a file has other contents than at the last call."""
        files = [self.path / name for name in FILES]
        now = [(stat.st_size, stat.st_mtime_ns) for file in files if file.exists() for stat in [file.stat()]]
        before, self.seen = self.seen, now
        return now != before

    def write(self, folder: RunFolder) -> int:
        """Write the run folder's files anew, each whole; returns the last step. Raises InputError: the record is damaged."""
        steps = self._rows("steps.jsonl", "step")
        metrics = list(self._metrics(steps))
        folder.replace(metrics=metrics, evals=self._evals(), draws=self._draws(steps))
        return int(metrics[-1]["step"]) if metrics else 0

    def _rows(self, name: str, *keys: str) -> Rows:
        """Rows by rising keys, of equal ones the last: a run that resumed wrote its steps since the checkpoint again."""
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for number, row in enumerate(read_json_lines(self.path / name), 1):
            if not isinstance(row, dict) or any(key not in row for key in keys):
                raise InputError(f"{self.path / name}, row {number}: {' and '.join(keys)} are needed")
            found[(*(row[key] for key in keys), row.get("metric", "accuracy"))] = row
        return [found[place] for place in sorted(found)]

    def _metrics(self, steps: Rows) -> Iterator[dict[str, Any]]:
        """A row an optimizer step; verl's step is a generation, whose values stand in the first row that trains on it."""
        per, training = self.config.training.steps_per_generation, self.config.training
        tokens = rollouts = 0
        for generation, row in enumerate(steps, 1):
            tokens += row["completion_tokens"]
            rollouts += row.get("rollouts", len(row["rows"]))
            common = {
                "epoch": row["epoch"],
                "seconds": row["seconds"] / per,
                "problems_seen": generation * per * training.prompts_per_step,
                "rollouts": rollouts,
                "completion_tokens": tokens,
            }
            values = {name: row[name] for name in VALUES if row.get(name) is not None}
            schedule = {name.removeprefix("schedule/"): row[name] for name in row if name.startswith("schedule/")}
            for place in range(per):
                step = row["step"] - per + 1 + place
                yield {"step": step, **common, **(values if place == 0 else {}), **schedule}

    def _evals(self) -> Rows:
        rows = []
        for row in self._rows("evaluations.jsonl", "step", "benchmark"):
            known = {name: row[name] for name in ("truncated", "unparseable") if row.get(name) is not None}
            rows.append(
                {
                    "step": row["step"],
                    "benchmark": row["benchmark"],
                    "metric": row.get("metric", "accuracy"),
                    "value": row["accuracy"],
                    "stderr": row["stderr"],
                    "n": row["n"],
                    **known,
                }
            )
        return rows

    def _draws(self, steps: Rows) -> pd.DataFrame:
        """A row a drawn problem, with the outcomes of its rollouts; verl drops a group whose grading failed."""
        rollouts: dict[tuple[int, int], list[tuple[float, int, float]]] = defaultdict(list)
        for step in steps:
            nothing = [float("nan")] * len(step["rows"])
            columns = (step["correct"], step["tokens"], step.get("angles") or nothing)
            for row, correct, tokens, angle in zip(step["rows"], *columns, strict=True):
                rollouts[step["epoch"], row].append((float("nan") if correct is None else correct, tokens, angle))
        table = pd.DataFrame(
            [_drawn(draw, rollouts.get((draw["epoch"], draw["row"]), [])) for draw in self._rows("draws.jsonl", *DRAWN)]
        )
        if table.empty:
            return table
        rows_n = table.pop("row").to_numpy(dtype=np.int64)
        ranks_n = self.schedule.ranks(rows_n)
        table.insert(1, "problem_id", [self.problem_ids[row] for row in rows_n])
        table.insert(2, "rank", list(ranks_n) if ranks_n is not None else [None] * len(rows_n))
        return table.astype(dict.fromkeys(("rank", "rollouts", "completion_tokens"), "Int64"))


def _drawn(draw: dict[str, Any], rollouts: Sequence[tuple[float, int, float]]) -> dict[str, Any]:
    correct = [value for value, _, _ in rollouts if not np.isnan(value)]
    angles = [angle for _, _, angle in rollouts if angle is not None and not np.isnan(angle)]
    return {
        "epoch": draw["epoch"],
        "row": draw["row"],
        "pass_rate": float(np.mean(correct)) if correct else float("nan"),
        "rollouts": len(correct) if rollouts else None,
        "completion_tokens": sum(tokens for _, tokens, _ in rollouts) if rollouts else None,
        "angle": float(np.mean(angles)) if angles else float("nan"),
    }
