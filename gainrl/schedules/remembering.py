"""What the schedules share that choose by how each problem went before: their memory, and two ways to draw."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError
from gainrl.schedules.base import Floats, Ints, Schedule


class Remembering(Schedule):
    """Base of schedules that remember numbers of each problem that was sampled; memory grows with these problems alone.

    ``seen`` holds their rows, ascending. Each name of ``remembered`` is an attribute with a number beside each of them,
    0 at first.
    """

    orders = ()
    remembered: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        memory = ("seen", *cls.remembered)
        cls.state_fields = (*dict.fromkeys((*cls.state_fields, *memory)),)
        cls.growing_fields = (*dict.fromkeys((*cls.growing_fields, *memory)),)

    def __init__(self, sort_key_N: ArrayLike, *, seed: int = 0) -> None:
        super().__init__(sort_key_N, seed=seed)
        self.seen: Ints = np.empty(0, dtype=np.int64)
        for name in self.remembered:
            setattr(self, name, np.empty(0))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if (np.diff(self.seen) <= 0).any():
            raise InputError("the state's seen is not ascending; take one that was saved")
        for name in self.remembered:
            if (held := getattr(self, name).shape) != self.seen.shape:
                raise InputError(f"the state's {name} has shape {held}; {self.seen.shape} is needed, that of seen")

    def places(self, rows: Iterable[int]) -> Ints:
        """Where the numbers of these rows stand; rows that were not seen before are entered."""
        rows_n = np.fromiter(rows, dtype=np.int64)
        new = np.setdiff1d(rows_n, self.seen)
        at = np.searchsorted(self.seen, new)
        self.seen = np.insert(self.seen, at, new)
        for name in self.remembered:
            setattr(self, name, np.insert(getattr(self, name), at, 0.0))
        return np.searchsorted(self.seen, rows_n)

    def recall(self, name: str, rows_n: Ints) -> Floats:
        """The remembered numbers of rows, 0 for those that were never seen."""
        numbers, values_n = getattr(self, name), np.zeros(len(rows_n))
        if len(self.seen):
            at = np.minimum(np.searchsorted(self.seen, rows_n), len(self.seen) - 1)
            known = self.seen[at] == rows_n
            values_n[known] = numbers[at[known]]
        return values_n


def smallest(key_N: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Positions of the n smallest keys, in random order; which of those that tie for the last places is left to chance."""
    cutoff = np.partition(key_N, n - 1)[n - 1]
    first = np.flatnonzero(key_N <= cutoff)
    below, tied = first[key_N[first] < cutoff], first[key_N[first] == cutoff]
    tied = rng.choice(tied, n - len(below), replace=False)
    return rng.permutation(np.concatenate([below, tied]))


def weighted(log_weight_N: Floats, n: int, rng: np.random.Generator) -> Ints:
    """n positions without replacement, one after the other, with probability proportional to the weights.

    By Gumbel noise on the logarithms, as `Gaussian` draws: nothing is normalised, so nothing can underflow.
    """
    key_N = rng.standard_exponential(len(log_weight_N))
    np.log(key_N, out=key_N)
    key_N -= log_weight_N
    first = np.argpartition(key_N, n - 1)[:n]
    return first[np.argsort(key_N[first])]
