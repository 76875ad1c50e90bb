"""The protocol of a schedule: draw the problems of an epoch, then observe how they went.

A schedule is built from one number per problem, ``sort_key_N``: problems with small keys come first (rank 0 = smallest).
It returns row indices into that array.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainrl.errors import InputError
from gainrl.rng import generator

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Feedback:
    """What a schedule learns from a finished epoch.

    Attributes:
        accuracy: mean correctness of the epoch's rollouts, in [0, 1]; never a shaped reward.
        angle: mean angle concentration of the trained prompts; None where the schedule does not ask for it.
        pass_rates: row of a trained problem -> share of its rollouts that were correct.
    """

    accuracy: float
    angle: float | None
    pass_rates: Mapping[int, float]


class Schedule(ABC):
    """Draws the problems of each epoch. Every random number comes from its own generator."""

    wants_angle: bool = False
    """Whether `observe` reads ``feedback.angle``; if not, training does not compute it."""
    orders: ClassVar[tuple[str, ...] | None] = None
    """Names of the orders that it can follow; () if it follows none, None if any will do."""
    state_fields: ClassVar[tuple[str, ...]] = ()
    """Attributes that change during training; `state_dict` holds them."""

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
        """Learn from a finished epoch; takes effect at the next draw."""

    def metrics(self) -> dict[str, float]:
        """What to log: the values that the latest draw was made with."""
        return {}

    def ranks(self, rows: Ints) -> Ints | None:
        """Ranks of rows in the schedule's order, or None where it has no order."""
        return None

    def state_dict(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self.state_fields}
        return {"schedule": self._identity(), "rng": self.rng.bit_generator.state, **state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where the state was saved. Raises InputError if it belongs to another schedule or order."""
        if state["schedule"] != self._identity():
            raise InputError(f"the state belongs to schedule {state['schedule']}; this one is {self._identity()}")
        self.rng.bit_generator.state = state["rng"]
        for name in self.state_fields:
            current, saved = getattr(self, name), state[name]
            setattr(self, name, np.array(saved, current.dtype) if isinstance(current, np.ndarray) else saved)

    def _identity(self) -> str:
        return f"{type(self).__name__}/{hashlib.sha256(self.sort_key_N.tobytes()).hexdigest()[:12]}"


class InOrder(Schedule):
    """Base of the schedules that follow ranks: ``order_N[rank]`` is a row, rank 0 first; ties keep the rows' order."""

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0) -> None:
        super().__init__(sort_key_N, seed=seed)
        self.order_N: Ints = np.argsort(self.sort_key_N, kind="stable").astype(np.int64)
        self.rank_N: Ints = np.empty_like(self.order_N)
        self.rank_N[self.order_N] = np.arange(self.size)

    def ranks(self, rows: Ints) -> Ints:
        return self.rank_N[rows]
