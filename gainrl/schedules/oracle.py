"""What measures all pass rates before it chooses: no method, since none could pay for it."""

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError
from gainrl.schedules.base import Floats, Ints, Schedule
from gainrl.schedules.checks import numbers
from gainrl.schedules.remembering import smallest, weighted


class Oracle(Schedule):
    """The problems with the largest p(1 - p), p measured by the current model before each draw. Not a method.

    Draw: problems ranked by p(1 - p), ties in random order; the first n (``sigma`` 0, the narrow window), or n ranks without
    replacement with probability proportional to exp(-rank^2 / (2 sigma^2)) (the wide one).
    p is the share correct of ``rollouts`` completions of every problem. They are counted in no budget; what they cost stands in
    the seconds of choosing alone. ``every``: they are made anew for every so many draws.
    The order ``reward-variance`` is the same by pass rates before training, which stay as they are.
    """

    orders = ()
    state_fields = ("pass_rate_N", "drawn", "measures")

    def __init__(
        self, sort_key_N: ArrayLike, *, seed: int = 0, sigma: float = 0.0, rollouts: int = 8, every: int = 1
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not (sigma >= 0 and rollouts >= 2 and every >= 1):
            raise InputError(f"sigma is {sigma}, rollouts {rollouts}, every {every}; the least are 0, 2 and 1")
        self.sigma, self.rollouts, self.every = sigma, rollouts, every
        self.measures = rollouts
        self.pass_rate_N: Floats = np.empty(0)
        self.drawn = 0

    def measured(self, pass_rate_N: Floats) -> None:
        """Raises InputError: they are not one number in [0, 1] for each problem."""
        rates_N = numbers(pass_rate_N, "pass rates")
        if rates_N.shape != (self.size,) or not ((rates_N >= 0) & (rates_N <= 1)).all():
            raise InputError(f"pass rates of shape {rates_N.shape}; {self.size} numbers in [0, 1] are needed")
        self.pass_rate_N = rates_N

    def _draw(self, n: int) -> Ints:
        if len(self.pass_rate_N) != self.size:
            raise InputError("the oracle draws by pass rates; call measured(...) before the first draw")
        self.drawn += 1
        self.measures = 0 if self.drawn % self.every else self.rollouts
        key_N = -self.pass_rate_N * (1 - self.pass_rate_N)
        if not self.sigma:
            return smallest(key_N, n, self.rng)
        ranked = np.lexsort((self.rng.random(self.size), key_N))
        return ranked[weighted(-0.5 * np.square(np.arange(self.size) / self.sigma), n, self.rng)]

    def metrics(self) -> dict[str, float]:
        flat = np.isin(self.pass_rate_N, (0, 1))
        return {"flat": float(flat.mean())} if self.drawn else {}
