"""What came of the open epoch so far; with the schedule's state, all that a checkpoint adds to TRL's."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from gainrl.schedules import Ints


class EpochTally:
    """The rows that were drawn for this epoch and what came of them so far; what was seen since training began."""

    def __init__(self) -> None:
        self.drawn_n: Ints = np.empty(0, dtype=np.int64)
        self.correct: dict[int, list[float]] = defaultdict(list)
        self.angles: dict[int, list[float]] = defaultdict(list)
        self.epochs = 0
        self.problems = 0
        self.completion_tokens = 0
        self.resumed = False
        """Whether the epoch goes on with rows that were drawn before a break."""

    def begin(self, drawn_n: Ints) -> None:
        self.drawn_n = drawn_n
        self.correct.clear()
        self.angles.clear()

    def end(self) -> None:
        self.epochs += 1
        self.correct.clear()
        self.angles.clear()

    def pass_rates(self) -> dict[int, float]:
        """Row -> the share of its completions that were correct."""
        return {row: float(np.nanmean(values)) for row, values in self.correct.items()}

    def angle_of_problem(self) -> dict[int, float]:
        return {row: float(np.mean(values)) for row, values in self.angles.items()}

    def accuracy(self) -> float:
        """Mean correctness of all completions of the epoch."""
        return float(np.nanmean([value for values in self.correct.values() for value in values]))

    def angle(self) -> float | None:
        """Mean angle of the epoch's problems; None where none was read."""
        angles = list(self.angle_of_problem().values())
        return float(np.mean(angles)) if angles else None

    def state_dict(self) -> dict[str, Any]:
        """Everything, as JSON can hold it."""
        return {
            "drawn": self.drawn_n.tolist(),
            "correct": dict(self.correct),
            "angles": dict(self.angles),
            "epochs": self.epochs,
            "problems": self.problems,
            "completion_tokens": self.completion_tokens,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.drawn_n = np.array(state["drawn"], dtype=np.int64)
        for mine, theirs in ((self.correct, state["correct"]), (self.angles, state["angles"])):
            mine.clear()
            mine.update({int(row): list(values) for row, values in theirs.items()})
        self.epochs, self.problems = state["epochs"], state["problems"]
        self.completion_tokens = state["completion_tokens"]
