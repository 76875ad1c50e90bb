"""GAIN-RL's schedule: a Gaussian that slides down an order. This is where mu moves."""

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError
from gainrl.schedules.base import Feedback, InOrder, Ints


class Gaussian(InOrder):
    """GAIN-RL (arXiv 2506.02281): a Gaussian over the ranks that slides down the order as the model improves.

    Draw: n ranks without replacement, probability proportional to exp(-(rank - mu)^2 / (2 sigma^2)).
    Update: mu += a tanh(alpha (accuracy - beta)) + a tanh(alpha angle), a = ``amplitude``, n/2 by default.
    Departure from the paper, and from the release, where mu has no upper bound: mu is kept in [0, N-1]; past the end
    every draw would be the tail of the order.
    ``accuracy_term`` and ``angle_term`` switch the two terms of the update off.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("mu", "n")

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        sigma: float = 1000.0,
        alpha: float = 2.0,
        beta: float = 0.5,
        amplitude: float | None = None,
        accuracy_term: bool = True,
        angle_term: bool = True,
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not sigma > 0:
            raise InputError(f"sigma is {sigma}; it must be above 0")
        if amplitude is not None and amplitude < 0:
            raise InputError(f"amplitude is {amplitude}; it must be 0 or more, or None")
        self.sigma, self.alpha, self.beta, self.amplitude = sigma, alpha, beta, amplitude
        self.accuracy_term, self.angle_term = accuracy_term, angle_term
        self.wants_angle = angle_term
        self.mu, self.n = 0.0, 0

    def _draw(self, n: int) -> Ints:
        # Gumbel top-n: the n largest of (log weight + Gumbel noise), in descending order, are distributed as n draws one
        # after the other without replacement. Nothing is normalised, so nothing can underflow to 0/0; for a sigma
        # below 1 everything is multiplied by sigma squared, so nothing can overflow either.
        scale = min(1.0, self.sigma)
        key_N = self.rng.standard_exponential(self.size)
        np.log(key_N, out=key_N)  # minus a Gumbel variable
        key_N *= scale**2
        key_N += 0.5 * np.square((np.arange(self.size) - self.mu) * (scale / self.sigma))
        nearest = np.argpartition(key_N, n - 1)[:n]
        self.n = n
        return self.order_N[nearest[np.argsort(key_N[nearest])]]

    def observe(self, feedback: Feedback) -> None:
        self.mu = self._moved(self.mu, feedback)

    def _moved(self, mu: float, feedback: Feedback) -> float:
        return float(np.clip(mu + self._step(feedback.accuracy, feedback.angle), 0, self.size - 1))

    def _step(self, accuracy: float, angle: float | None) -> float:
        step = 0.0
        if self.accuracy_term:
            step += self.step_amplitude * np.tanh(self.alpha * (accuracy - self.beta))
        if self.angle_term:
            if angle is None:
                raise InputError("the angle term of the update is on, but the epoch's mean angle was not measured")
            step += self.step_amplitude * np.tanh(self.alpha * angle)
        return float(step)

    @property
    def step_amplitude(self) -> float:
        """The largest step of one term, in ranks."""
        return self.n / 2 if self.amplitude is None else self.amplitude

    def metrics(self) -> dict[str, float]:
        return {"mu": self.mu}
