"""Selectors that hold a Beta belief about each problem's pass rate: MoPPS and InSight."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaln, digamma

from gainrl.errors import InputError
from gainrl.schedules.base import Feedback, Floats, Ints
from gainrl.schedules.remembering import Remembering, smallest


class BetaBelief(Remembering):
    """Base: the pass rate of a problem is believed to be Beta(a, b), which ranks candidates; both are ``prior`` at first.

    Draw: ``pool`` n candidates at random; of these the n with the smallest `rank`.
    Update: a <- ``decay`` a + (1 - ``decay``) ``prior`` + correct rollouts, and b alike with the wrong ones.
    ``pool`` 16, ``decay`` 1 and ``prior`` 1 are InSight's, and MoPPS's for MATH.
    """

    remembered = ("successes", "failures")
    successes: Floats
    """a less the prior"""
    failures: Floats
    """b less the prior"""

    def __init__(
        self, sort_key_N: ArrayLike, *, seed: int = 0, prior: float = 1.0, decay: float = 1.0, pool: int = 16
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not (prior > 0 and 0 <= decay <= 1):
            raise InputError(f"prior is {prior} and decay is {decay}; prior must be above 0, decay between 0 and 1")
        if pool < 1:
            raise InputError(f"pool is {pool}; it must be 1 or more (candidates for each problem of a draw)")
        self.prior, self.decay, self.pool = prior, decay, pool

    def rank(self, a_C: Floats, b_C: Floats) -> Floats:
        """What the candidates are sorted by, lowest first: (C,)."""
        raise NotImplementedError

    def _draw(self, n: int) -> Ints:
        candidates = self.rng.choice(self.size, min(self.size, self.pool * n), replace=False)
        a_C, b_C = (self.prior + self.recall(name, candidates) for name in self.remembered)
        return candidates[smallest(self.rank(a_C, b_C), n, self.rng)]

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

    Rank: (p - ``target``)^2 with p ~ Beta(a, b), drawn anew each time. Candidates and update: `BetaBelief`.
    Its scripts for MATH have ``pool`` 16 and ``decay`` 1, those for Countdown and Geometry3k 8 and 0.5.
    Departs: candidates are drawn anew each time, where the recipe takes the next ones of a shuffled pass.
    """

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        prior: float = 1.0,
        decay: float = 1.0,
        pool: int = 16,
        target: float = 0.5,
    ) -> None:
        super().__init__(sort_key_N, seed=seed, prior=prior, decay=decay, pool=pool)
        self.target = target

    def rank(self, a_C: Floats, b_C: Floats) -> Floats:
        return (self.rng.beta(a_C, b_C) - self.target) ** 2


class InSight(BetaBelief):
    """InSight (arXiv 2603.01907, equations 11 to 17): what the next group says about the pass rate, weighted by difficulty.

    Rank: -w(m) I. I is the mutual information, in nats, of the pass rate and the number of right ones among ``rollouts``:
    the entropy of Beta(a, b) less the one expected after them. w(m) = m (1 - m) exp(-``sharpness`` (m - ``bias``)^2), m the
    belief's mean, not a draw from it. Candidates and update: `BetaBelief`.
    The numbers are the paper's (appendix D.2). It prints a bias of 3.0, which no pass rate can be near; its table 5 and its
    text have 0.3 as the setting of the main results.
    """

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        prior: float = 1.0,
        decay: float = 1.0,
        pool: int = 16,
        rollouts: int = 8,
        bias: float = 0.3,
        sharpness: float = 3.0,
    ) -> None:
        super().__init__(sort_key_N, seed=seed, prior=prior, decay=decay, pool=pool)
        if rollouts < 1 or sharpness < 0:
            raise InputError(f"rollouts is {rollouts}, sharpness {sharpness}; they must be 1 or more and 0 or more")
        self.rollouts, self.bias, self.sharpness = rollouts, bias, sharpness

    def rank(self, a_C: Floats, b_C: Floats) -> Floats:
        from scipy.stats import betabinom  # a second to import, which the light commands need not pay

        m_C = a_C / (a_C + b_C)
        correct_KC = np.arange(self.rollouts + 1)[:, None]
        chance_KC = betabinom.pmf(correct_KC, self.rollouts, a_C, b_C)
        left_KC = entropy(a_C + correct_KC, b_C + self.rollouts - correct_KC)
        information_C = entropy(a_C, b_C) - (chance_KC * left_KC).sum(axis=0)
        result: Floats = -m_C * (1 - m_C) * np.exp(-self.sharpness * (m_C - self.bias) ** 2) * information_C
        return result


def entropy(a: Floats, b: Floats) -> Floats:
    """Differential entropy of Beta(a, b), in nats; `scipy.stats.beta.entropy` goes through its input one by one."""
    result: Floats = betaln(a, b) - (a - 1) * digamma(a) - (b - 1) * digamma(b) + (a + b - 2) * digamma(a + b)
    return result
