"""Schedules: which problems are trained next.

A schedule is built from one number per problem, ``sort_key_N``: problems with small keys come first (rank 0 = smallest).
It answers with row indices into that array. To add one: subclass `Schedule`, add a line to `SCHEDULES`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainrl.errors import InputError, unknown_name
from gainrl.seeding import generator

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Update = Literal["paper", "released-trl", "released-verl"]


@dataclass(frozen=True)
class Feedback:
    """What a finished epoch tells a schedule.

    Attributes:
        accuracy: mean correctness of the epoch's rollouts, in [0, 1]; never a shaped reward.
        angle: mean angle concentration of the trained prompts; None where the schedule does not ask for it.
        pass_rates: row of a trained problem -> the share of its rollouts that were correct.
    """

    accuracy: float
    angle: float | None
    pass_rates: Mapping[int, float]


class Schedule(ABC):
    """Draws the problems of each epoch. Every random number comes from its own generator."""

    wants_angle: bool = False
    """Whether `observe` reads ``feedback.angle``; if not, training does not compute it."""
    orders: ClassVar[tuple[str, ...] | None] = None
    """Names of the orders it can follow, () if it follows none; None means any."""
    state_fields: ClassVar[tuple[str, ...]] = ()
    """Attributes that change while training; `state_dict` carries them."""

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0) -> None:
        self.sort_key_N: Floats = np.asarray(sort_key_N, dtype=np.float64)
        if self.sort_key_N.ndim != 1 or not len(self.sort_key_N):
            raise InputError(f"a schedule needs one number per problem, got shape {self.sort_key_N.shape}")
        if missing := int(np.isnan(self.sort_key_N).sum()):
            raise InputError(f"{missing} of {len(self.sort_key_N)} sort keys are NaN; score these problems again")
        self.size = len(self.sort_key_N)
        self.rng = generator(seed, "schedule")

    def draw(self, n: int) -> Ints:
        """Rows of the next epoch's n problems, no row twice. Raises InputError unless 1 <= n <= N."""
        if not 1 <= n <= self.size:
            raise InputError(f"cannot draw {n} different problems from a set of {self.size}; choose 1 to {self.size}")
        return self._draw(n)

    @abstractmethod
    def _draw(self, n: int) -> Ints: ...

    def observe(self, feedback: Feedback) -> None:  # noqa: B027 (a schedule need not learn anything)
        """Take a finished epoch into account; in force at the next draw."""

    def metrics(self) -> dict[str, float]:
        """What to log: the values in force for the epoch that was drawn last."""
        return {}

    def ranks(self, rows: Ints) -> Ints | None:
        """Ranks of rows in the schedule's order, or None where it has no order."""
        return None

    def state_dict(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self.state_fields}
        return {"schedule": self._identity(), "rng": self.rng.bit_generator.state, **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on exactly where the state was taken. Raises InputError if it belongs to another schedule or order."""
        if state["schedule"] != self._identity():
            raise InputError(f"the state is of schedule {state['schedule']}, this one is {self._identity()}")
        self.rng.bit_generator.state = state["rng"]
        for name in self.state_fields:
            now = getattr(self, name)
            setattr(self, name, np.array(state[name], now.dtype) if isinstance(now, np.ndarray) else state[name])

    def _identity(self) -> str:
        return f"{type(self).__name__}/{hashlib.sha256(self.sort_key_N.tobytes()).hexdigest()[:12]}"


class Uniform(Schedule):
    """Vanilla GRPO: every problem once per pass, each pass in a new random order. Only the number of keys matters.

    Where an epoch crosses into the next pass, problems that the epoch holds already go to the end of that pass.
    """

    orders = ()
    state_fields = ("queue",)

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


class InOrder(Schedule):
    """Base of the schedules that follow ranks: ``order_N[rank]`` is a row, rank 0 first; ties keep the rows' order."""

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0) -> None:
        super().__init__(sort_key_N, seed=seed)
        self.order_N: Ints = np.argsort(self.sort_key_N, kind="stable").astype(np.int64)
        self.rank_N: Ints = np.empty_like(self.order_N)
        self.rank_N[self.order_N] = np.arange(self.size)

    def ranks(self, rows: Ints) -> Ints:
        return self.rank_N[rows]


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


class Gaussian(InOrder):
    """GAIN-RL (arXiv 2506.02281): a Gaussian over the ranks that slides down the order as the model improves.

    Draw: n ranks without replacement, probability proportional to exp(-(rank - mu)^2 / (2 sigma^2)).
    Update: mu += a tanh(alpha (accuracy - beta)) + a tanh(alpha angle), a = ``amplitude``, n/2 if not given.
    Departure from the paper, and from the release, where mu has no upper bound: mu is kept in [0, N-1]; past the end
    every draw would be the tail of the order.
    ``accuracy_term`` and ``angle_term`` switch the two terms of the update off. ``update`` says whose it is:

    - ``paper``: as above
    - ``released-trl``: the step is clamped to [0, 2a], and is in force one epoch late, so that epochs 0 and 1 are both
      drawn at mu = 0
    - ``released-verl``: the same clamp, no delay, and half the accuracy in the step, whose term is then never positive

    The release has a = 500 whatever n is.
    """

    state_fields = ("mu", "ahead", "n")

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
        update: Update = "paper",
    ) -> None:
        super().__init__(sort_key_N, seed=seed)
        if not sigma > 0:
            raise InputError(f"sigma is {sigma}; it must be above 0")
        if update not in get_args(Update):
            raise unknown_name("update", update, get_args(Update))
        self.sigma, self.alpha, self.beta, self.amplitude = sigma, alpha, beta, amplitude
        self.accuracy_term, self.angle_term, self.update = accuracy_term, angle_term, update
        self.wants_angle = angle_term
        self.mu, self.n = 0.0, 0
        self.ahead = self.mu
        """Where all feedback so far has moved mu; a late update draws from the place before."""

    def _draw(self, n: int) -> Ints:
        # Gumbel top-n: the n largest of (log weight + Gumbel noise), in falling order, are distributed as n draws one
        # after the other without replacement. Nothing is normalised, so nothing can underflow to 0/0; for a sigma
        # below 1 all is multiplied by sigma squared, so nothing can overflow either.
        scale = min(1.0, self.sigma)
        key_N = self.rng.standard_exponential(self.size)
        np.log(key_N, out=key_N)  # minus a Gumbel variable
        key_N *= scale**2
        key_N += 0.5 * np.square((np.arange(self.size) - self.mu) * (scale / self.sigma))
        nearest = np.argpartition(key_N, n - 1)[:n]
        self.n = n
        return self.order_N[nearest[np.argsort(key_N[nearest])]]

    def observe(self, feedback: Feedback) -> None:
        step = self._step(feedback)
        if not np.isfinite(step):
            raise ValueError(f"mu cannot be moved by {step}: accuracy {feedback.accuracy}, angle {feedback.angle}")
        before, self.ahead = self.ahead, float(np.clip(self.ahead + step, 0, self.size - 1))
        self.mu = before if self.update == "released-trl" else self.ahead

    def _step(self, feedback: Feedback) -> float:
        amplitude, step = self.n / 2 if self.amplitude is None else self.amplitude, 0.0
        if self.accuracy_term:
            accuracy = feedback.accuracy / 2 if self.update == "released-verl" else feedback.accuracy
            step += amplitude * np.tanh(self.alpha * (accuracy - self.beta))
        if self.angle_term:
            if feedback.angle is None:
                raise ValueError("the angle term of the update is on, but the epoch's mean angle was not measured")
            step += amplitude * np.tanh(self.alpha * feedback.angle)
        return float(step if self.update == "paper" else np.clip(step, 0, 2 * amplitude))

    def metrics(self) -> dict[str, float]:
        return {"mu": self.mu}


class AdaRFT(Schedule):
    """AdaRFT (arXiv 2504.05520): the n problems whose difficulty (the sort key) is nearest to a target that follows reward.

    Update: target <- clip(target + eta tanh(alpha (accuracy - beta)), lowest, highest).
    Equal distances are drawn at random, since a scale of a few levels would give the same problems every epoch.
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

    def _draw(self, n: int) -> Ints:
        distance_N = np.abs(self.sort_key_N - self.target)
        cutoff = np.partition(distance_N, n - 1)[n - 1]
        nearer = np.flatnonzero(distance_N < cutoff)
        tied = self.rng.permutation(np.flatnonzero(distance_N == cutoff))
        return self.rng.permutation(np.concatenate([nearer, tied[: n - len(nearer)]]))

    def observe(self, feedback: Feedback) -> None:
        target = self.target + self.eta * np.tanh(self.alpha * (feedback.accuracy - self.beta))
        if not np.isfinite(target):
            raise ValueError(f"the target cannot be moved by accuracy {feedback.accuracy}")
        self.target = float(np.clip(target, self.lowest, self.highest))

    def metrics(self) -> dict[str, float]:
        return {"target": self.target}


SCHEDULES: dict[str, type[Schedule]] = {
    "uniform": Uniform,
    "ordered": Ordered,
    "gaussian": Gaussian,
    "adarft": AdaRFT,
}

ORDERS: dict[str, tuple[str, int]] = {
    "angle": ("angle", -1),
    "off-diagonal": ("angle", -1),
    "released": ("angle", -1),
    "c_intra": ("c_intra", -1),
    "c_inter": ("c_inter", -1),
    "length": ("question_tokens", 1),
    "difficulty": ("difficulty", 1),
}
"""Order -> (column of the scores or the problems, sign): largest angle, shortest question, lowest difficulty first.

``off-diagonal`` and ``released`` are the angle by that definition; ``angle`` is by the run's own."""


def sort_key(order: str, columns: Mapping[str, ArrayLike], *, size: int, seed: int = 0) -> Floats:
    """One number per problem, smallest first, for an order by name: one of `ORDERS`, or ``random``.

    Args:
        columns: column name -> N values, of the scores file and the problem set.

    Raises:
        InputError: the order is unknown, its column is absent, or a value is missing (how many, and what to do).
    """
    if order == "random":
        return generator(seed, "random order").permutation(size).astype(np.float64)
    if order not in ORDERS:
        raise unknown_name("order", order, [*ORDERS, "random"])
    name, sign = ORDERS[order]
    if name not in columns:
        raise InputError(f"order {order!r} needs the column {name!r}; there are: {', '.join(sorted(columns))}")
    key_N = np.asarray(columns[name], dtype=np.float64)
    if order == "released":  # its NaN are part of what the release computes, and its sort puts them first
        return np.where(np.isnan(key_N), -np.inf, sign * key_N)
    if missing := int(np.isnan(key_N).sum()):
        raise InputError(f"order {order!r} needs {name!r} for every problem; {missing} of {size} are missing or NaN")
    return sign * key_N
