"""Selectors that hold a Beta belief about each problem's pass rate: MoPPS and InSight."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma, entr

from gainrl.errors import InputError
from gainrl.schedules.base import Feedback, Floats, Ints
from gainrl.schedules.remembering import Remembering, smallest


class BetaBelief(Remembering):
    """Base: the pass rate of a problem is believed to be Beta(``prior`` + successes, ``prior`` + failures).

    Before a problem's new rollouts are counted, its old ones are multiplied by ``decay``: that is
    a <- decay a + (1 - decay) prior + correct, and b alike.
    """

    remembered = ("successes", "failures")
    successes: Floats
    failures: Floats

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0, prior: float = 1.0, decay: float = 1.0) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not (prior > 0 and 0 <= decay <= 1):
            raise InputError(f"prior is {prior} and decay is {decay}; prior must be above 0, decay between 0 and 1")
        self.prior, self.decay = prior, decay

    def observe(self, feedback: Feedback) -> None:
        outcomes = feedback.sampled
        at = self.places(outcomes)
        rollouts_n = np.array([outcome.rollouts for outcome in outcomes.values()], dtype=float)
        correct_n = np.array([outcome.correct for outcome in outcomes.values()], dtype=float)
        self.successes[at] = self.decay * self.successes[at] + correct_n
        self.failures[at] = self.decay * self.failures[at] + rollouts_n - correct_n

    def metrics(self) -> dict[str, float]:
        return {"seen": float(len(self.seen))}


class MoPPS(BetaBelief):
    """MoPPS (arXiv 2507.04632; rule and numbers from verl's recipe/mopps): posterior sampling for pass rates near 1/2.

    Draw: ``pool`` n candidates at random; p ~ Beta(a, b) for each; the n candidates with the smallest (p - ``target``)^2.
    Update: as `BetaBelief`, prior Beta(1, 1).
    ``pool`` 16 is the recipe's script for MATH, ``decay`` 1 its config's default.
    Departs: candidates are drawn anew each time, where the recipe takes the next ones of a shuffled pass.
    """

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        prior: float = 1.0,
        decay: float = 1.0,
        target: float = 0.5,
        pool: int = 16,
    ) -> None:
        super().__init__(sort_key_N, seed=seed, prior=prior, decay=decay)
        if pool < 1:
            raise InputError(f"pool is {pool}; it must be 1 or more (candidates for each problem of a draw)")
        self.target, self.pool = target, pool

    def _draw(self, n: int) -> Ints:
        candidates = self.rng.choice(self.size, min(self.size, self.pool * n), replace=False)
        p = self.rng.beta(
            self.prior + self.recall("successes", candidates), self.prior + self.recall("failures", candidates)
        )
        return candidates[smallest((p - self.target) ** 2, n, self.rng)]


class InSight(BetaBelief):
    """InSight (arXiv 2603.01907): the n problems whose next outcome says most about their pass rate, weighted by difficulty.

    Score: I w(m), m = a / (a + b) the belief's mean. I is the mutual information of one outcome and the pass rate,
    I = h(m) - E[h(p)] with h the binary entropy and E[p log p] = m (digamma(a + 1) - digamma(a + b + 1)).
    The mean decides, not a draw from the belief; ties are broken at random.
    Not checked against the paper's text beyond its abstract: w is 4 m (1 - m) here; the information is of one outcome, not of a
    group; ``prior`` and ``decay`` are MoPPS's.
    """

    def _draw(self, n: int) -> Ints:
        rows = np.concatenate([self.seen, self.unseen(n)])  # the unseen ones have equal scores: n of them are enough
        a, b = (self.prior + self.recall(name, rows) for name in self.remembered)
        return rows[smallest(-_score(a, b), n, self.rng)]


def _score(a: Floats, b: Floats) -> Floats:
    """Weighted mutual information, in nats."""
    m = a / (a + b)
    expected_entropy = digamma(a + b + 1) - m * digamma(a + 1) - (1 - m) * digamma(b + 1)
    information: Floats = entr(m) + entr(1 - m) - expected_entropy
    return information * 4 * m * (1 - m)
