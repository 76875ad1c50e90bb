"""This suite's selector: a belief a problem whose prior comes from its features, by a regression learnt along the way."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainrl.errors import InputError, unknown_name
from gainrl.schedules.base import Feedback, Floats, Ints
from gainrl.schedules.remembering import Remembering, smallest

FEATURES = ("angle", "length", "level", "kind")


class Prior(Remembering):
    """Thompson sampling for p(1 - p), where a problem's features say what to expect before it was ever sampled.

    Belief in the logit of a problem's pass rate: l_i ~ N(x_i . w, ``spread``^2) before its rollouts, x_i a constant and its
    standardised features. Its rollouts (s right, f wrong) are one observation of l_i, the empirical logit
    y = log((s + 1/2) / (f + 1/2)) with variance v = 1 / (s + 1/2) + 1 / (f + 1/2) (Haldane, Anscombe); beliefs are combined by
    their precisions.
    Draw: w ~ N(its mean, its covariance), then l_i for each problem; the n problems with the smallest |l_i|, which are those
    with the largest p(1 - p).
    Update: w by Bayesian linear regression of the epoch's y on x with variance v + spread^2, prior w ~ N(0, ``width``^2).
    What was observed loses weight by ``memory`` an epoch, both in the regression and in s and f, because the model learns. A
    problem whose rollouts are forgotten does not fall back to its features alone: s = f = 0 still is an observation of
    p = 1/2, with variance 4, so what was sampled before comes back sooner than what never was.

    ``features``: ``none`` (the constant alone), some of angle, length, level and kind joined by +, or ``all``: angle and
    length, and level and kind where the set has them. A kind is one column for each of its values.
    The numbers were set before any run and are not tuned.
    """

    remembered = ("successes", "failures")
    state_fields: ClassVar[tuple[str, ...]] = ("precision", "shift")
    successes: Floats
    failures: Floats

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        features: str = "all",
        spread: float = 1.5,
        width: float = 2.0,
        memory: float = 0.97,
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not (spread > 0 and width > 0 and 0 < memory <= 1):
            raise InputError(
                f"spread is {spread}, width {width}, memory {memory}; all must be above 0, memory at most 1"
            )
        names = {"none": (), "all": ("angle", "length")}.get(features, tuple(features.split("+")))
        if unknown := [name for name in names if name not in FEATURES]:
            raise unknown_name("feature", unknown[0], (*FEATURES, "none", "all"))
        self.wanted_features = tuple(names)
        self.optional_features = ("level", "kind") if features == "all" else ()
        self.spread, self.width, self.memory = spread, width, memory
        self._told()

    def _told(self) -> None:
        self.x_DN = design(self.features, self.size)
        columns = len(self.x_DN)
        self.start: Floats = np.eye(columns).ravel() / self.width**2
        self.precision: Floats = self.start.copy()
        """Of w: (D, D), flat."""
        self.shift: Floats = np.zeros(columns)
        """precision @ (mean of w): (D,)"""

    def _draw(self, n: int) -> Ints:
        # float32, and a row a feature: half of the time for ten million problems
        logit_N = self._weights().astype(np.float32) @ self.x_DN
        noise_N = self.rng.standard_normal(self.size, dtype=np.float32)
        y, variance = empirical_logit(self.successes, self.failures)
        share = self.spread**2 / (self.spread**2 + variance)  # how much the observation counts against the prior
        posterior = logit_N[self.seen] + share * (y - logit_N[self.seen])
        deviation = np.sqrt(share * variance)
        noise_N *= self.spread
        noise_N[self.seen] *= deviation / self.spread
        logit_N[self.seen] = posterior
        logit_N += noise_N
        return smallest(np.abs(logit_N, out=logit_N), n, self.rng)

    def _weights(self) -> Floats:
        """w, drawn from the belief in it."""
        precision_DD = self.precision.reshape(len(self.shift), -1)
        mean_D = np.linalg.solve(precision_DD, self.shift)
        noise_D = np.linalg.solve(np.linalg.cholesky(precision_DD).T, self.rng.standard_normal(len(mean_D)))
        return np.asarray(mean_D + noise_D, dtype=np.float64)

    def observe(self, feedback: Feedback) -> None:
        outcomes = {row: outcome for row, outcome in feedback.sampled.items() if outcome.rollouts}
        rows_n = np.fromiter(outcomes, dtype=np.int64)
        correct_n = np.array([outcome.correct for outcome in outcomes.values()], dtype=float)
        wrong_n = np.array([outcome.rollouts for outcome in outcomes.values()], dtype=float) - correct_n
        y_n, variance_n = empirical_logit(correct_n, wrong_n)
        x_Dn = self.x_DN[:, rows_n].astype(np.float64)
        weighted_Dn = x_Dn / (variance_n + self.spread**2)
        self.precision = self.memory * self.precision + (1 - self.memory) * self.start + (weighted_Dn @ x_Dn.T).ravel()
        self.shift = np.asarray(self.memory * self.shift + weighted_Dn @ y_n)
        self.successes, self.failures = self.memory * self.successes, self.memory * self.failures
        at = self.places(rows_n)
        self.successes[at] += correct_n
        self.failures[at] += wrong_n

    def metrics(self) -> dict[str, float]:
        return {"seen": float(len(self.seen))}


def empirical_logit(successes: Floats, failures: Floats) -> tuple[Floats, Floats]:
    """An estimate of the logit of a pass rate, and its variance."""
    return np.log((successes + 0.5) / (failures + 0.5)), 1 / (successes + 0.5) + 1 / (failures + 0.5)


def design(features: Mapping[str, np.ndarray[Any, Any]], size: int) -> NDArray[np.float32]:
    """A row of ones, one for each number (standardised), one for each value of a name: (D, N)."""
    rows = [np.ones(size, dtype=np.float32)]
    for _, values_N in sorted(features.items()):
        if np.issubdtype(values_N.dtype, np.number):
            deviation = values_N.std()
            rows.append(((values_N - values_N.mean()) / (deviation if deviation > 0 else 1.0)).astype(np.float32))
        else:
            rows += [(values_N == value).astype(np.float32) for value in np.unique(values_N)]
    return np.stack(rows)
