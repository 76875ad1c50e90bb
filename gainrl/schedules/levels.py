"""Selectors that choose among groups of problems, levels or kinds, not single ones: E2H and SEC."""

from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError, unknown_name
from gainrl.schedules.base import Feedback, Floats, Ints, Schedule
from gainrl.schedules.remembering import weighted

Arms = Literal["order", "kind"]


class Grouped(Schedule):
    """Base: every problem is in a group. Draw: a group by `probabilities`, then a problem of it, without replacement."""

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0, levels: int = 4) -> None:
        super().__init__(sort_key_N, seed=seed)
        if levels < 1:
            raise InputError(f"levels is {levels}; it must be 1 or more")
        self._group(levels_of(self.sort_key_N, levels))

    def _group(self, group_N: Ints) -> None:
        self.group_N = group_N
        self.members_K = np.bincount(group_N)

    @property
    def groups(self) -> int:
        return len(self.members_K)

    def probabilities(self) -> Floats:
        """Probability of each group, for a slot of the draw: (K,)."""
        raise NotImplementedError

    def _draw(self, n: int) -> Ints:
        # Without replacement a group that runs out leaves its slots to the others.
        with np.errstate(divide="ignore"):
            log_weight_K = np.log(self.probabilities() / self.members_K)
        return weighted(np.maximum(log_weight_K, -1e6)[self.group_N], n, self.rng)


def levels_of(sort_key_N: Floats, most: int) -> Ints:
    """The level of each problem, from 0: its key's place among the different keys, or among ``most`` parts of equal size."""
    different, level_N = np.unique(sort_key_N, return_inverse=True)
    if len(different) <= most:
        return level_N.astype(np.int64)
    rank_N = np.empty(len(sort_key_N), dtype=np.int64)
    rank_N[np.argsort(sort_key_N, kind="stable")] = np.arange(len(sort_key_N))
    return rank_N * most // len(sort_key_N)


class E2H(Grouped):
    """E2H-G (arXiv 2506.06632; rule and numbers from its code, divelab/E2H-Reasoning): from easy to hard by time alone.

    Level k of K has probability f + (1 - K f) q_k, q_k proportional to exp(-(k - mu)^2 / (2 ``sigma``^2)), with
    mu = (t / T)^``exponent`` (K - 1) at draw t of T = ``draws``, and the floor f = 2 / (K (K + 1)), the code's default.
    The authors choose ``sigma`` and ``exponent`` for each task from (0.75, 0.25), (0.5, 0.5), (0.25, 0.75).
    It is GAIN-RL's window without feedback. After T draws it stays at the last level.
    Departs: a draw of n is one point in time, where the code moves mu at each batch; within a level problems are drawn at
    random, where the code walks a shuffled list; a set with more than ``levels`` different keys is cut into equal parts.
    """

    state_fields: ClassVar[tuple[str, ...]] = ("drawn",)

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        draws: int = 1200,
        sigma: float = 0.5,
        exponent: float = 0.5,
        levels: int = 4,
    ) -> None:
        super().__init__(sort_key_N, seed=seed, levels=levels)
        if not (draws > 0 and sigma > 0 and exponent > 0):
            raise InputError(f"draws is {draws}, sigma {sigma}, exponent {exponent}; all must be above 0")
        self.draws, self.sigma, self.exponent = draws, sigma, exponent
        self.drawn = 0

    @property
    def mu(self) -> float:
        """The mean of the next draw, in levels."""
        return float((min(self.drawn, self.draws) / self.draws) ** self.exponent * (self.groups - 1))

    def probabilities(self) -> Floats:
        floor = 2 / (self.groups * (self.groups + 1)) if self.groups > 1 else 0.0
        distance_K = (np.arange(self.groups) - self.mu) ** 2
        q_K = np.exp(-(distance_K - distance_K.min()) / (2 * self.sigma**2))
        result: Floats = floor + (1 - self.groups * floor) * q_K / q_K.sum()
        return result

    def observe(self, feedback: Feedback) -> None:
        self.drawn += 1

    def metrics(self) -> dict[str, float]:
        return {"level": self.mu}


class SEC(Grouped):
    """SEC (arXiv 2505.14970): a bandit whose arms are kinds of problems, or parts of an order.

    Draw: arm c with probability proportional to exp(Q_c / ``temperature``), for each of the n problems; Q_c is 0 at first.
    Update: Q_c <- ``rate`` r_c + (1 - ``rate``) Q_c for the arms that were drawn, r_c the mean absolute advantage of their
    rollouts: of p right ones among rewards 0 and 1, GRPO's is 2 sqrt(p (1 - p)).
    ``arms``: ``kind``, the problems' feature, or ``order``, the levels of the sort key (``levels`` parts if there are more).
    The form of both rules is the paper's. ``rate`` 0.5 and ``temperature`` 1 are what it has for most tasks, as a comment in
    divelab/E2H-Reasoning says (variance_regularized_scheduler.py); code of one of its authors (ServiceNow/PipelineRL,
    conf/sec.yaml) has 0.5 and 0.4.
    """

    order_is_optional = True
    state_fields: ClassVar[tuple[str, ...]] = ("value_K",)

    def __init__(
        self,
        sort_key_N: ArrayLike,
        *,
        seed: int = 0,
        arms: Arms = "order",
        rate: float = 0.5,
        temperature: float = 1.0,
        levels: int = 4,
    ) -> None:
        super().__init__(sort_key_N, seed=seed, levels=levels)
        if arms not in get_args(Arms):
            raise unknown_name("arms", arms, get_args(Arms))
        if not (0 < rate <= 1 and temperature > 0):
            raise InputError(f"rate is {rate}, temperature {temperature}; rate must lie in (0, 1], temperature above 0")
        self.rate, self.temperature = rate, temperature
        self.wanted_features = ("kind",) if arms == "kind" else ()
        self.value_K: Floats = np.zeros(self.groups)

    def _told(self) -> None:
        if "kind" in self.features:
            self._group(np.unique(self.features["kind"], return_inverse=True)[1].astype(np.int64))
            self.value_K = np.zeros(self.groups)

    def probabilities(self) -> Floats:
        preference_K = np.exp((self.value_K - self.value_K.max()) / self.temperature)
        result: Floats = preference_K / preference_K.sum()
        return result

    def observe(self, feedback: Feedback) -> None:
        outcomes = {row: outcome for row, outcome in feedback.sampled.items() if outcome.rollouts}
        arm_n = self.group_N[np.fromiter(outcomes, dtype=np.int64)]
        pass_rate_n = np.array([outcome.pass_rate for outcome in outcomes.values()], dtype=float)
        advantage_n = 2 * np.sqrt(pass_rate_n * (1 - pass_rate_n))
        for arm in np.unique(arm_n):
            self.value_K[arm] += self.rate * (advantage_n[arm_n == arm].mean() - self.value_K[arm])

    def metrics(self) -> dict[str, float]:
        return {f"value_{arm}": float(value) for arm, value in enumerate(self.value_K)}
