"""The schedules without feedback: uniform sampling, which is vanilla GRPO, and a plain curriculum."""

import numpy as np
from numpy.typing import ArrayLike

from gainrl.schedules.base import InOrder, Ints, Schedule


class Uniform(Schedule):
    """Vanilla GRPO: every problem once per pass, each pass in a new random order. Only the number of keys matters.

    Where an epoch crosses into the next pass, problems that it already holds move to the end of that pass.
    """

    orders = ()
    state_fields = ("queue",)
    growing_fields = ("queue",)

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0) -> None:
        super().__init__(sort_key_N, seed=seed)
        self.queue: Ints = np.empty(0, dtype=np.int64)

    def _draw(self, n: int) -> Ints:
        if len(self.queue) < n:
            next_pass = self.rng.permutation(self.size)
            repeated = np.isin(next_pass, self.queue)
            self.queue = np.concatenate([self.queue, next_pass[~repeated], next_pass[repeated]])
        rows, self.queue = self.queue[:n], self.queue[n:]
        return rows


class Ordered(InOrder):
    """A plain curriculum: walks the order from rank 0 to the last (``reverse``: from the last), then begins again."""

    state_fields = ("position",)

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0, reverse: bool = False) -> None:
        super().__init__(sort_key_N, seed=seed)
        self.position, self.reverse = 0, reverse

    def _draw(self, n: int) -> Ints:
        ranks = (self.position + np.arange(n)) % self.size
        self.position = int((self.position + n) % self.size)
        return self.order_N[self.size - 1 - ranks if self.reverse else ranks]
