"""A finished epoch, and the outcomes of the current one: with the schedule's state, all that a checkpoint adds to TRL's."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gainrl.schedules import Feedback, Floats, Ints


@dataclass(frozen=True)
class Epoch:
    """A finished epoch: the drawn rows in order, their outcomes (NaN if never trained), and the schedule's feedback."""

    number: int
    rows_n: Ints
    ranks_n: Ints | None
    pass_rate_n: Floats
    angle_n: Floats
    feedback: Feedback


class EpochTally:
    """The rows drawn for the current epoch with their outcomes so far, and counts since training began."""

    def __init__(self) -> None:
        self.drawn_n: Ints = np.empty(0, dtype=np.int64)
        self.correct: dict[int, list[float]] = defaultdict(list)
        self.angles: dict[int, list[float]] = defaultdict(list)
        self.epochs = 0
        self.problems = 0
        self.completion_tokens = 0
        self.resumed = False
        """Whether the current epoch was drawn before an interruption."""

    def begin(self, drawn_n: Ints) -> None:
        self.drawn_n = drawn_n
        self.correct.clear()
        self.angles.clear()

    def end(self) -> None:
        self.epochs += 1
        self.correct.clear()
        self.angles.clear()

    def pass_rates(self) -> dict[int, float]:
        """Row -> share of its completions that were correct."""
        return {row: float(np.nanmean(values)) for row, values in self.correct.items()}

    def angle_of_row(self) -> dict[int, float]:
        """Row -> mean angle of its prompt."""
        return {row: float(np.mean(values)) for row, values in self.angles.items()}

    def accuracy(self) -> float:
        """Mean correctness of all completions of the epoch."""
        return float(np.nanmean([value for values in self.correct.values() for value in values]))

    def angle(self) -> float | None:
        """Mean angle of the epoch's problems; None where none was read."""
        angles = list(self.angle_of_row().values())
        return float(np.mean(angles)) if angles else None

    def feedback(self) -> Feedback:
        return Feedback(self.accuracy(), self.angle(), self.pass_rates())

    def finished(self, ranks_n: Ints | None) -> Epoch:
        """The epoch as it ends now; ``ranks_n``: ranks of the drawn rows in the schedule's order."""
        rows, feedback, angles = self.drawn_n.tolist(), self.feedback(), self.angle_of_row()
        return Epoch(
            number=self.epochs,
            rows_n=self.drawn_n,
            ranks_n=ranks_n,
            pass_rate_n=np.array([feedback.pass_rates.get(row, np.nan) for row in rows]),
            angle_n=np.array([angles.get(row, np.nan) for row in rows]),
            feedback=feedback,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON can hold."""
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
        for values_of_row, saved in ((self.correct, state["correct"]), (self.angles, state["angles"])):
            values_of_row.clear()
            values_of_row.update({int(row): list(values) for row, values in saved.items()})
        self.epochs, self.problems = state["epochs"], state["problems"]
        self.completion_tokens = state["completion_tokens"]
