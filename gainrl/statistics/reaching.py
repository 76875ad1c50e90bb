"""The cost at which a run reaches a target accuracy. A run that never does is censored: it is kept, as a bound.

Within a budget the well-defined mean is the restricted one, the mean of min(cost, budget), which is the area under
the product-limit estimate of the share of runs that have not reached the target yet (Kaplan and Meier 1958).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gainrl.statistics.intervals import FEWEST_SEEDS, Ends, Floats, Summary, interval, resamples, summarize
from gainrl.statistics.significance import paired_p

Statistic = Callable[[Floats, NDArray[np.bool_]], Floats]
"""From costs (R, S) and whether they are censored (R, S) to one number per row."""


@dataclass(frozen=True)
class Reached:
    """When a run reached a target, or that it did not by its last evaluation.

    ``at`` is where the line between the last evaluation below the target and the first one at it crosses the target;
    ``evaluated`` is the cost at the latter, ``grid`` the cost between the two.
    """

    at: float
    censored: bool
    evaluated: float = math.nan
    grid: float = 0.0

    def within(self, budget: float) -> "Reached":
        """The same run, had it been stopped at the budget."""
        return Reached(budget, True, budget) if self.at > budget else self

    @property
    def rounding(self) -> float:
        """Standard deviation of a cost that is known to lie between two evaluations and no better."""
        return self.grid / 12**0.5


def reached(accuracy: ArrayLike, cost: ArrayLike, target: float, *, window: int = 1) -> Reached:
    """The cost (steps, problems, tokens, seconds) at which the accuracy first comes up to the target, between evaluations.

    Args:
        accuracy, cost: one value per evaluation, in the order of training.
        window: the accuracy is the mean of the latest so many evaluations (none before there are so many).
    """
    accuracy_E, cost_E = np.asarray(accuracy, dtype=float), np.asarray(cost, dtype=float)
    if not len(accuracy_E) or len(accuracy_E) != len(cost_E):
        raise ValueError(
            f"{len(accuracy_E)} accuracies and {len(cost_E)} costs; the same number, at least one, is needed"
        )
    if window < 1:
        raise ValueError(f"a running mean over {window} evaluations; at least 1 is needed")
    running = np.convolve(accuracy_E, np.full(window, 1 / window), "valid") if window <= len(cost_E) else np.empty(0)
    hits = np.flatnonzero(running >= target - 1e-12)  # a mean of equal values may fall short by a rounding
    last = float(cost_E[-1])
    if not len(hits):
        return Reached(last, True, last)
    hit, costs = hits[0], cost_E[window - 1 :]
    evaluated = float(costs[hit])
    if hit == 0:
        return Reached(evaluated, False, evaluated)
    before, below = float(costs[hit - 1]), float(running[hit - 1])
    share = min(1.0, (target - below) / (float(running[hit]) - below))
    return Reached(before + share * (evaluated - before), False, evaluated, evaluated - before)


def summarize_reached(runs: Sequence[Reached], *, seed: int = 0) -> Summary:
    """Mean cost to target; with censored runs the restricted mean, up to the largest cost seen, as a lower bound ('>')."""
    if not any(run.censored for run in runs):
        return summarize([run.at for run in runs], seed=seed, rounding=_rms([run.rounding for run in runs]))
    return _bootstrap(runs, restricted_means, ">", seed)


def median_reached(runs: Sequence[Reached], *, seed: int = 0) -> Summary:
    """Median cost to target by the product-limit estimate; where half of the runs never reach it, '>' the largest cost."""
    at, censored = _arrays(runs)
    beyond = bool(np.isinf(_medians(at[None], censored[None])[0]))
    return _bootstrap(runs, _medians, ">" if beyond else "", seed)


def speed_up(baseline: Sequence[Reached], method: Sequence[Reached], *, seed: int = 0) -> Summary | None:
    """Geometric mean over seeds of baseline cost / method cost, paired by position, each pair within its smaller budget.

    Geometric, so that exchanging the two gives the inverse. If only the baseline has censored runs, the ratio is a lower
    bound ('>'); if only the method has, an upper one ('<'); if both have, it is neither ('~'). None if no run of either
    reaches the target, or one of them has it before training.
    """
    pairs = _Pairs.of(baseline, method)
    if pairs is None or not (pairs.baseline.all() and pairs.method.all()):
        return None
    rounding = np.hypot(pairs.roundings[0] / pairs.baseline, pairs.roundings[1] / pairs.method)
    mean = pairs.summary(np.log(pairs.baseline / pairs.method), rounding, seed)
    low, high = (None if end is None else float(np.exp(end)) for end in (mean.low, mean.high))
    return replace(mean, mean=float(np.exp(mean.mean)), low=low, high=high)


def saved(baseline: Sequence[Reached], method: Sequence[Reached], *, seed: int = 0) -> Summary | None:
    """Mean over seeds of baseline cost - method cost, paired, each pair within its smaller budget; bounds as in `speed_up`."""
    pairs = _Pairs.of(baseline, method)
    return None if pairs is None else pairs.summary(pairs.baseline - pairs.method, np.hypot(*pairs.roundings), seed)


@dataclass(frozen=True)
class _Pairs:
    """Costs of the same seeds; each pair within one budget, the smaller one where a run is censored."""

    baseline: Floats
    method: Floats
    roundings: tuple[Floats, Floats]
    censored: int
    bound: str

    @classmethod
    def of(cls, baseline: Sequence[Reached], method: Sequence[Reached]) -> "_Pairs | None":
        if len(baseline) != len(method):
            raise ValueError(f"{len(baseline)} and {len(method)} runs; pairs are needed")
        budgets = [
            min((run.at for run in pair if run.censored), default=math.inf)
            for pair in zip(baseline, method, strict=True)
        ]
        cut = [[run.within(budget) for run, budget in zip(side, budgets, strict=True)] for side in (baseline, method)]
        (base, base_censored), (method_costs, method_censored) = map(_arrays, cut)
        if not len(base) or (base_censored & method_censored).all():
            return None
        bound = {(True, True): "~", (True, False): ">", (False, True): "<", (False, False): ""}
        kinds = bool(base_censored.any()), bool(method_censored.any())
        roundings = [np.array([run.rounding for run in side]) for side in cut]
        censored = int(base_censored.sum() + method_censored.sum())
        return cls(base, method_costs, (roundings[0], roundings[1]), censored, bound[kinds])

    def summary(self, differences: Floats, rounding: Floats, seed: int) -> Summary:
        mean = summarize(differences.tolist(), seed=seed, rounding=_rms(rounding))
        return replace(mean, censored=self.censored, bound=self.bound, p=paired_p(differences.tolist()))


def _rms(values: ArrayLike) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def restricted_means(at_RS: Floats, censored_RS: NDArray[np.bool_]) -> Floats:
    """Area under the product-limit curve of every row, up to the row's largest cost: (R,)."""
    at_RS, survival_RS = _product_limit(at_RS, censored_RS)
    before_RS = np.hstack([np.ones((len(at_RS), 1)), survival_RS[:, :-1]])
    return np.asarray(np.sum(before_RS * np.diff(at_RS, axis=1, prepend=0), axis=1))


def _medians(at_RS: Floats, censored_RS: NDArray[np.bool_]) -> Floats:
    """First cost at which the product-limit curve is at one half or below; infinite where it never is: (R,)."""
    at_RS, survival_RS = _product_limit(at_RS, censored_RS)
    return np.asarray(np.where(survival_RS <= 0.5 + 1e-12, at_RS, np.inf).min(axis=1))


def _product_limit(at_RS: Floats, censored_RS: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Every row's costs in rising order, and the share that has not reached the target after each of them.

    Of equal costs those that reached the target come first, as usual: the censored runs were still at risk then.
    """
    order_RS = np.lexsort((censored_RS, at_RS), axis=1)
    factor_RS = np.where(
        np.take_along_axis(censored_RS, order_RS, axis=1), 1.0, 1 - 1 / np.arange(at_RS.shape[1], 0, -1.0)
    )
    return np.take_along_axis(at_RS, order_RS, axis=1), factor_RS.cumprod(axis=1)


def _bootstrap(runs: Sequence[Reached], statistic: Statistic, bound: str, seed: int) -> Summary:
    at, censored = _arrays(runs)
    value = float(statistic(at[None], censored[None])[0])
    ends: Ends = (None, None)
    if len(runs) >= FEWEST_SEEDS and not censored.all():
        chosen_RS = resamples(len(runs), seed)
        ends = interval(statistic(at[chosen_RS], censored[chosen_RS]), len(runs))
    return Summary(min(value, float(at.max())), *ends, len(runs), int(censored.sum()), bound)


def _arrays(runs: Sequence[Reached]) -> tuple[Floats, NDArray[np.bool_]]:
    return np.array([run.at for run in runs], dtype=float), np.array([run.censored for run in runs], dtype=bool)
