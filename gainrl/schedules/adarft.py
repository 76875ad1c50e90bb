"""AdaRFT's schedule: problems near a target difficulty that follows the reward."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError
from gainrl.schedules.base import Feedback, Ints, Schedule


class AdaRFT(Schedule):
    """AdaRFT (arXiv 2504.05520): the n problems whose difficulty (the sort key) is nearest to a moving target.

    Update: target <- clip(target + eta tanh(alpha (accuracy - beta)), lowest, highest).
    Its numbers are for difficulties of 100 times the share that a reference model gets wrong.
    Ties are broken at random; on a scale of a few levels the same problems would otherwise be drawn every epoch.
    """

    orders = ("difficulty",)
    state_fields = ("target",)

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        eta: float = 50.0,
        alpha: float = 2.0,
        beta: float = 0.5,
        lowest: float = 0.0,
        highest: float = 100.0,
        start: float = 0.0,
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not lowest <= start <= highest:
            raise InputError(f"start is {start}; it must lie between lowest {lowest} and highest {highest}")
        outside = int(((self.sort_key_N < lowest) | (self.sort_key_N > highest)).sum())
        if outside:
            raise InputError(
                f"{outside} difficulties lie outside [{lowest}, {highest}]; rescale them, or set the bounds"
            )
        self.eta, self.alpha, self.beta, self.lowest, self.highest = eta, alpha, beta, lowest, highest
        self.target = start

    @classmethod
    def example(cls, **options: Any) -> Self:
        return cls(np.full(8, options.get("start", 0.0)), **options)

    def _draw(self, n: int) -> Ints:
        distance_N = np.abs(self.sort_key_N - self.target)
        cutoff = np.partition(distance_N, n - 1)[n - 1]
        nearer = np.flatnonzero(distance_N < cutoff)
        tied = self.rng.permutation(np.flatnonzero(distance_N == cutoff))
        return self.rng.permutation(np.concatenate([nearer, tied[: n - len(nearer)]]))

    def observe(self, feedback: Feedback) -> None:
        target = self.target + self.eta * np.tanh(self.alpha * (feedback.accuracy - self.beta))
        self.target = float(np.clip(target, self.lowest, self.highest))

    def metrics(self) -> dict[str, float]:
        return {"target": self.target}
