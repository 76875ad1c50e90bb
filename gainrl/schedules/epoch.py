"""A finished epoch, and the outcomes of the current one: beside the schedule's state, all that a checkpoint adds."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from gainrl.errors import InputError
from gainrl.schedules.base import Feedback, Floats, Ints, Outcome


@dataclass(frozen=True)
class Epoch:
    """A finished epoch: the rows to train in order, their outcomes (NaN if never trained), and the schedule's feedback."""

    number: int
    rows_n: Ints
    ranks_n: Ints | None
    pass_rate_n: Floats
    angle_n: Floats
    feedback: Feedback


class EpochTally:
    """The rows drawn for the current epoch with their outcomes so far, and counts since training began.

    The counts are of everything that was sampled, also of what was thrown away.
    """

    COUNTS: ClassVar[tuple[str, ...]] = ("epochs", "problems", "rollouts", "completion_tokens", "choosing_seconds")

    def __init__(self) -> None:
        self.drawn_n: Ints = np.empty(0, dtype=np.int64)
        self.correct: dict[int, list[float]] = defaultdict(list)
        self.tokens: dict[int, int] = defaultdict(int)
        self.angles: dict[int, list[float]] = defaultdict(list)
        self.discarded: dict[int, Outcome] = {}
        self.epochs = 0
        self.problems = 0
        self.rollouts = 0
        self.completion_tokens = 0
        self.choosing_seconds = 0.0
        """What drawing and observing took, with all that the schedule asks for to choose."""
        self.resumed = False
        """Whether the current epoch was drawn before an interruption."""

    def begin(self, drawn_n: Ints) -> None:
        self.drawn_n = drawn_n
        self._clear()

    def end(self) -> None:
        self.epochs += 1
        self._clear()

    def _clear(self) -> None:
        for outcomes in (self.correct, self.tokens, self.angles, self.discarded):
            outcomes.clear()

    def add(self, row: int, correct: float, tokens: int) -> None:
        """A rollout that is trained."""
        self.correct[row].append(correct)
        self.tokens[row] += tokens

    def count(self, *, problems: int = 0, rollouts: int, tokens: int) -> None:
        """What was sampled, trained or not."""
        self.problems += problems
        self.rollouts += rollouts
        self.completion_tokens += tokens

    def replace(self, row: int, other: int) -> None:
        """Train another problem in place of a drawn one."""
        self.drawn_n = np.where(self.drawn_n == row, other, self.drawn_n)

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
        trained = {row: outcome_of(correct, self.tokens[row]) for row, correct in self.correct.items()}
        return Feedback(self.accuracy(), self.angle(), trained, dict(self.discarded))

    def finished(self, ranks_n: Ints | None) -> Epoch:
        """The epoch as it ends now; ``ranks_n``: ranks of the drawn rows in the schedule's order."""
        rows, feedback, angles = self.drawn_n.tolist(), self.feedback(), self.angle_of_row()
        pass_rates = feedback.pass_rates
        return Epoch(
            number=self.epochs,
            rows_n=self.drawn_n,
            ranks_n=ranks_n,
            pass_rate_n=np.array([pass_rates.get(row, np.nan) for row in rows]),
            angle_n=np.array([angles.get(row, np.nan) for row in rows]),
            feedback=feedback,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON can hold."""
        return {
            "drawn": self.drawn_n.tolist(),
            **{name: dict(getattr(self, name)) for name in ("correct", "tokens", "angles", "discarded")},
            **{name: getattr(self, name) for name in self.COUNTS},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises InputError: another version of the suite wrote the state."""
        if missing := [name for name in ("tokens", "discarded", *self.COUNTS) if name not in state]:
            raise InputError(
                f"the checkpoint lacks {', '.join(missing)}: another version of gainrl wrote it; start over with --overwrite"
            )
        self.drawn_n = np.array(state["drawn"], dtype=np.int64)
        self._clear()
        self.correct.update({int(row): list(values) for row, values in state["correct"].items()})
        self.angles.update({int(row): list(values) for row, values in state["angles"].items()})
        self.tokens.update({int(row): tokens for row, tokens in state["tokens"].items()})
        self.discarded.update({int(row): Outcome(*outcome) for row, outcome in state["discarded"].items()})
        for name in self.COUNTS:
            setattr(self, name, state[name])


def outcome_of(correct: Sequence[float], tokens: int) -> Outcome:
    """From the correctness of a problem's rollouts (NaN: no verdict) and their tokens together."""
    graded = [value for value in correct if not np.isnan(value)]
    return Outcome(len(graded), float(sum(graded)), tokens)
