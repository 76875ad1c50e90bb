"""The sampler that verl's loader draws from: an epoch is one draw of the schedule. Its state goes into verl's checkpoint."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from gainrl.errors import InputError
from gainrl.schedules import Ints, Schedule
from gainrl.schedules.epoch import Epoch, EpochTally


class ScheduleSampler(Sampler[int]):
    """Yields rows of the training set, ``prompts_per_epoch`` of them an epoch.

    verl's loader asks for the next rows when a step begins, and keeps `state_dict` in ``data.pt`` of a checkpoint. An epoch
    ends when its last row has been given out and the step has reported (`observe`): a problem whose rollouts failed
    keeps none open.

    Args:
        drawn: called with (number of the epoch, rows) after each draw.
    """

    def __init__(self, schedule: Schedule, prompts_per_epoch: int, drawn: Callable[[int, Ints], object]) -> None:
        self.schedule, self.prompts_per_epoch, self.drawn = schedule, prompts_per_epoch, drawn
        self.tally = EpochTally()
        self.position = 0
        """Rows of the current draw that were given out."""

    def __len__(self) -> int:
        return self.prompts_per_epoch

    @property
    def given_out(self) -> bool:
        """Whether nothing is left of the current draw."""
        return self.position >= len(self.tally.drawn_n)

    def __iter__(self) -> Iterator[int]:
        if self.given_out:
            began = time.perf_counter()
            self.tally.begin(self.schedule.draw(self.prompts_per_epoch))
            self.tally.choosing_seconds += time.perf_counter() - began
            self.position = 0
            self.drawn(self.tally.epochs, self.tally.drawn_n)
        while not self.given_out:
            self.position += 1
            yield int(self.tally.drawn_n[self.position - 1])

    def last(self, n: int) -> Ints:
        """The n rows that were given out last."""
        return self.tally.drawn_n[self.position - n : self.position]

    def observe(
        self, rows: Sequence[int], correct: Sequence[float], tokens: Sequence[int], angles: Sequence[float] | None
    ) -> Epoch | None:
        """Take note of trained rollouts, one entry each (correctness NaN: no verdict); the epoch, if it has ended.

        The schedule has then observed it. Raises InputError: the mean correctness is not in [0, 1].
        """
        for place, row in enumerate(rows):
            self.tally.add(row, correct[place], tokens[place])
            if angles is not None:
                self.tally.angles[row].append(angles[place])
        self.tally.count(problems=len(set(rows)), rollouts=len(rows), tokens=sum(tokens))
        if not self.given_out:
            return None
        epoch = self.tally.finished(self.schedule.ranks(self.tally.drawn_n))
        if not 0 <= epoch.feedback.accuracy <= 1:
            raise InputError(
                f"mean accuracy is {epoch.feedback.accuracy}, not in [0, 1]: the reward is shaped; let the reward function "
                "return the correctness as 'acc' beside 'score'"
            )
        began = time.perf_counter()
        self.tally.end()
        self.schedule.observe(epoch.feedback)
        self.tally.choosing_seconds += time.perf_counter() - began
        return epoch

    def state_dict(self) -> dict[str, Any]:
        """Schedule, draw, position, and the results and angles of the epoch so far."""
        return {"schedule": self.schedule.state_dict(), "epoch": self.tally.state_dict(), "position": self.position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises InputError: the state belongs to another schedule, or to a draw of another size."""
        if state["epoch"]["drawn"] and len(state["epoch"]["drawn"]) != self.prompts_per_epoch:
            raise InputError(
                f"the checkpoint's draws have {len(state['epoch']['drawn'])} problems, gainrl.prompts_per_epoch is "
                f"{self.prompts_per_epoch}; resume with the same number"
            )
        self.schedule.load_state_dict(state["schedule"])
        self.tally.load_state_dict(state["epoch"])
        self.position = int(state["position"])


def mean_of(values: Sequence[float]) -> float | None:
    """Mean of the values that are not NaN; None where there are none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None
