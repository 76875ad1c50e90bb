"""Learnability: problems in proportion to a power of p(1 - p), p a moving average of their pass rates."""

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError
from gainrl.schedules.base import Feedback, Floats, Ints
from gainrl.schedules.remembering import Remembering, weighted


class Learnability(Remembering):
    """LILO (NeurIPS 2025), VCRL (arXiv 2509.19803) and CurES (2510.01037): p(1 - p) says how much a problem teaches.

    Draw: n problems without replacement, probability proportional to (p(1 - p))^``power``.
    Update: p <- (1 - ``rate``) p + ``rate`` (share correct), from p = ``prior`` for a problem that was never sampled.
    They share p(1 - p), not this rule: LILO (2502.12272) samples 8 rollouts each of 4 n candidates before every
    batch and takes the n greatest; VCRL keeps groups whose variance is above 0.3 of the greatest, later 0.8, and replays
    others from a memory with a momentum of 0.9; CurES draws by its square root, and divides the rollouts unevenly.
    So the numbers are this suite's: power 1, half weight for the newest rollouts, prior 1/2.
    """

    remembered = ("excess",)
    excess: Floats
    """p less the prior"""

    def __init__(
        self, sort_key_N: ArrayLike, *, seed: int = 0, power: float = 1.0, rate: float = 0.5, prior: float = 0.5
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not (0 < rate < 1 and 0 < prior < 1 and power >= 0):
            raise InputError(
                f"rate is {rate}, prior {prior}, power {power}; rate and prior must lie between 0 and 1, power be 0 or more"
            )
        self.power, self.rate, self.prior = power, rate, prior

    def _draw(self, n: int) -> Ints:
        log_weight_N = np.full(self.size, self.power * np.log(self.prior * (1 - self.prior)))
        p = np.clip(self.prior + self.excess, 1e-12, 1 - 1e-12)
        log_weight_N[self.seen] = self.power * np.log(p * (1 - p))
        return weighted(log_weight_N, n, self.rng)

    def observe(self, feedback: Feedback) -> None:
        outcomes = {row: outcome for row, outcome in feedback.sampled.items() if outcome.rollouts}
        at = self.places(outcomes)
        pass_rate_n = np.array([outcome.pass_rate for outcome in outcomes.values()], dtype=float)
        self.excess[at] += self.rate * (pass_rate_n - self.prior - self.excess[at])

    def metrics(self) -> dict[str, float]:
        return {"seen": float(len(self.seen))}
