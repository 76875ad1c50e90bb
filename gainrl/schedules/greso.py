"""GRESO: problems that gave no gradient are skipped, the more often the longer that lasts."""

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError
from gainrl.schedules.base import Feedback, Floats, Ints
from gainrl.schedules.remembering import Remembering


class GRESO(Remembering):
    """GRESO (arXiv 2506.02177; rule and numbers from its code, Infini-AI-Lab/GRESO): skip what taught nothing.

    Draw: walks a shuffled pass over the set. A problem without gradient in its last z samplings (all right: easy; all wrong:
    hard) is skipped with probability 1 - max(p^z, ``floor``), p = p_easy or p_hard.
    Update, after the first pass: if at least ``target`` / 3 of the epoch's sampled problems were easy, p_easy falls by
    ``step``, else it rises, within ``lowest`` and ``highest``; p_hard alike with 2/3 of the target.
    Groups without gradient are thrown away and replaced (dynamic sampling), at most ``redraws`` times.
    ``step`` is for some 1,000 updates. Departs: the code replaces without end, samples up to 1.5 times what it wants and throws
    the surplus away, where here as many are drawn as are missing, which costs less; it counts as hard only groups in which
    every rollout gave an answer, all wrong.
    """

    remembered = ("easy", "hard")
    state_fields = ("queue", "passes", "p_easy", "p_hard")
    growing_fields = ("queue",)
    easy: Floats
    """z of all right"""
    hard: Floats
    """z of all wrong"""

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        start: float = 0.5,
        target: float = 0.25,
        step: float = 0.01,
        lowest: float = 0.05,
        highest: float = 0.95,
        floor: float = 0.01,
        redraws: int = 10,
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not (0 < lowest <= start <= highest <= 1 and 0 < floor <= 1 and 0 <= target <= 1):
            raise InputError(
                f"start is {start}, lowest {lowest}, highest {highest}, floor {floor}, target {target}; "
                "they must lie between 0 and 1, start between lowest and highest"
            )
        if step < 0 or redraws < 0:
            raise InputError(f"step is {step}, redraws {redraws}; both must be 0 or more")
        self.target, self.step, self.lowest, self.highest, self.floor = target, step, lowest, highest, floor
        self.redraws = redraws
        self.p_easy = self.p_hard = start
        self.queue: Ints = np.empty(0, dtype=np.int64)
        self.passes = 0

    def _draw(self, n: int) -> Ints:
        rows: Ints = np.empty(0, dtype=np.int64)
        while len(rows) < n:
            if not len(self.queue):
                self.queue, self.passes = self.rng.permutation(self.size), self.passes + 1
            next_ones = self.queue[: 4 * n]
            wanted = (self.rng.random(len(next_ones)) < self._chance(next_ones)) & ~np.isin(next_ones, rows)
            taken = np.flatnonzero(wanted)[: n - len(rows)]
            walked = len(next_ones) if len(rows) + len(taken) < n else taken[-1] + 1
            rows, self.queue = np.concatenate([rows, next_ones[taken]]), self.queue[walked:]
        return rows

    def _chance(self, rows_n: Ints) -> Floats:
        """Probability that a problem whose turn it is is not skipped."""
        chance: Floats = np.ones(len(rows_n))
        for name, p in (("easy", self.p_easy), ("hard", self.p_hard)):
            times = self.recall(name, rows_n)
            chance = np.where(times > 0, np.maximum(p**times, self.floor), chance)
        return chance

    def observe(self, feedback: Feedback) -> None:
        outcomes = feedback.sampled
        at = self.places(outcomes)
        pass_rate_n = np.array([outcome.pass_rate for outcome in outcomes.values()])
        self.easy[at] = np.where(pass_rate_n == 1, self.easy[at] + 1, 0)
        self.hard[at] = np.where(pass_rate_n == 0, self.hard[at] + 1, 0)
        if self.passes > 1 and outcomes:
            self.p_easy = self._adapted(self.p_easy, np.mean(pass_rate_n == 1) >= self.target / 3)
            self.p_hard = self._adapted(self.p_hard, np.mean(pass_rate_n == 0) >= self.target * 2 / 3)

    def _adapted(self, p: float, too_many: np.bool_) -> float:
        return float(np.clip(p - self.step if too_many else p + self.step, self.lowest, self.highest))

    def metrics(self) -> dict[str, float]:
        return {"p_easy": self.p_easy, "p_hard": self.p_hard}
