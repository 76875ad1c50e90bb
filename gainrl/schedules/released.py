"""The Gaussian as the authors' release moves it (github.com/wangqinsi1/GAINRL): two trainers, two updates."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import unknown_name
from gainrl.schedules.base import Feedback
from gainrl.schedules.gaussian import Gaussian

Update = Literal["paper", "released-trl", "released-verl"]


class GaussianByUpdate(Gaussian):
    """`Gaussian` with a choice of the update of mu, a = ``amplitude`` (500 in the release, whatever n is):

    - ``paper``: the paper's
    - ``released-trl``: the step is clamped to [0, 2a] and takes effect one epoch late, so that epochs 0 and 1 are both
      drawn at mu = 0
    - ``released-verl``: the same clamp, no delay, and half the accuracy, so that its term is never positive (beta 0.5)
    """

    state_fields = ("mu", "ahead", "n")

    def __init__(self, sort_key_N: ArrayLike, *, update: Update = "paper", **options: Any) -> None:
        super().__init__(sort_key_N, **options)
        if update not in get_args(Update):
            raise unknown_name("update", update, get_args(Update))
        self.update = update
        self.ahead = self.mu
        """mu after all feedback so far; the delayed update draws at the value before the latest."""

    def observe(self, feedback: Feedback) -> None:
        before, self.ahead = self.ahead, self._moved(self.ahead, feedback)
        self.mu = before if self.update == "released-trl" else self.ahead

    def _step(self, accuracy: float, angle: float | None) -> float:
        if self.update == "paper":
            return super()._step(accuracy, angle)
        step = super()._step(accuracy / 2 if self.update == "released-verl" else accuracy, angle)
        return float(np.clip(step, 0, 2 * self.step_amplitude))
