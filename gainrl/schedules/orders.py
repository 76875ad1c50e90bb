"""Orders by name: each turns a column of a scores file or a problem set into the sort key that a schedule follows."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from gainrl.errors import InputError, unknown_name
from gainrl.rng import generator
from gainrl.schedules.base import Floats

ORDERS: dict[str, tuple[str, int]] = {
    "angle": ("angle", -1),
    "off-diagonal": ("angle", -1),
    "released": ("angle", -1),
    "c_intra": ("c_intra", -1),
    "c_inter": ("c_inter", -1),
    "length": ("question_tokens", 1),
    "difficulty": ("difficulty", 1),
    "reward-variance": ("reward_variance", -1),
}
"""Order -> (column, sign): largest angle, shortest question, lowest difficulty, largest variance of the reward first.

``off-diagonal`` and ``released`` are the angle by that definition; ``angle`` is by the run's own definition.
``reward-variance`` is p(1 - p), p the share of correct completions that the model writes before training: what GRPO's gradient
grows with. It costs rollouts that no method here is charged for, so it is a positive control, not a method."""


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
    column, sign = ORDERS[order]
    if column not in columns:
        raise InputError(f"order {order!r} needs the column {column!r}; available: {', '.join(sorted(columns))}")
    key_N = np.asarray(columns[column], dtype=np.float64)
    if order == "released":  # NaN is a value of the release's, which its sort puts first
        return np.where(np.isnan(key_N), -np.inf, sign * key_N)
    if missing := int((~np.isfinite(key_N)).sum()):
        raise InputError(
            f"order {order!r} needs {column!r} for every problem; {missing} of {size} are missing or not finite"
        )
    return sign * key_N
