"""The comparison of cells: accuracy, cost to each target, differences from the baseline. Pure functions of run folders."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import MEAN, RUN, Runs, baseline_of, shares_problems, timed_alike
from gainrl.runs.experiment import Experiment
from gainrl.statistics import (
    FEWEST_FOR_A_STAR,
    Reached,
    Summary,
    holm,
    interquartile_mean,
    median_reached,
    paired_p,
    probability_of_improvement,
    reached,
    saved,
    speed_up,
    summarize,
    summarize_accuracy,
    summarize_reached,
)

MISSING = "–"  # noqa: RUF001 (an en dash is what a missing cell prints)
COSTS = {
    "steps": "step",
    "problems": "problems_seen",
    "rollouts": "rollouts",
    "completion tokens": "completion_tokens",
    "seconds": "training_seconds",
}
"""What a target may cost -> its column of the accuracy curves."""

PAIRED = {
    "speed-up": "steps",
    "speed-up in rollouts": "rollouts",
    "speed-up in tokens": "completion tokens",
    "speed-up in seconds": "seconds",
}
"""Ratio of costs -> the cost (of `COSTS`)."""
BUDGETS = {
    "accuracy gained at equal rollouts": "rollouts",
    "accuracy gained at equal tokens": "completion tokens",
    "accuracy gained at equal seconds": "seconds",
}
"""Difference of accuracies -> what both have spent then (of `COSTS`); at the end they have taken the same number of steps."""

EARLY = 6
"""Early is the first sixth of a run: what a schedule draws before it has come far. Epochs are not equally long for all."""

Curve = Mapping[str, Any]
"""Column of `Runs.accuracy` -> its values, by rising step"""
Curves = dict[tuple[str, int, str], Curve]
"""(cell, seed, benchmark) -> its accuracy curve"""
Row = tuple[str, str, str, float | None, Summary | None]
"""cell, benchmark, quantity, target, summary"""


def compare(experiment: Experiment, runs: Runs, *, window: int = 1) -> pd.DataFrame:
    """Long table: a row a (cell, benchmark, quantity, target) with `Summary`'s fields, ``family`` and ``p_holm``.

    Quantities:
    - ``accuracy at start``, ``accuracy at end`` (interval over seeds and problems), ``interquartile mean of accuracy at end``,
      ``average accuracy`` at equally many steps after the start (an area under the curve)
    - ``seconds a step``, ``seconds of choosing a step`` and ``share of choosing`` in their sum; ``early pass rate`` of what is
      drawn early (`EARLY`); ``drawn without a gradient`` and ``early drawn without a gradient``, the shares whose
      rollouts all got the same reward; ``rollouts without a gradient``, the share of all that were sampled, those that were
      thrown away with them (benchmark is empty)
    - for each target ``steps to target``, and the other `COSTS`; ``median steps to target``; ``steps to target at an
      evaluation``, not interpolated
    - against the baseline (`baseline_of`), paired over common seeds: ``speed-up`` (its steps / the cell's), the same in the
      other costs of `PAIRED`, and ``steps saved``, for each target; ``accuracy gained`` at the end, and at an equal budget
      (`BUDGETS`: what the one of the two has spent that spends less); ``average accuracy gained``;
      ``probability of improvement`` at the end. Seconds are compared where both of a pair were executed alike (`timed_alike`)

    With several benchmarks there is one more, `MEAN`. p is of no difference from the baseline; p_holm is adjusted within a
    ``family``: ``primary`` is `Experiment.endpoint` (on the mean, where there are several benchmarks),
    over all cells; ``secondary`` is any other benchmark and quantity, over all cells and targets. Cells that another
    experiment asks about (`Experiment.asked_in`) have no p, nor have those with too few seeds for a star beside others with
    enough: they are described, not tested.

    Args:
        window: a target counts as reached by the running mean of so many evaluations.
    """
    curves = _curves(runs)
    rows, benchmarks = (
        [*_speeds(runs), *_drawn(runs), *_sampled(runs)],
        list(dict.fromkeys(name for _, _, name in curves)),
    )
    for cell in runs:
        for benchmark in benchmarks:
            rows += _own(experiment, runs[cell], curves, cell, benchmark, window)
            rows += _against(experiment, runs, curves, cell, benchmark, window)
        rows += _across(experiment, runs, curves, cell)
    named = [
        {"cell": cell, "benchmark": benchmark, "quantity": quantity, "target": target, **asdict(summary)}
        for cell, benchmark, quantity, target, summary in rows
        if summary is not None
    ]
    table = pd.DataFrame(named)
    return _adjusted(table.assign(p=table.p.where(~table.cell.isin(experiment.asked_in))), experiment.endpoint)


def headlines(comparison: pd.DataFrame) -> dict[str, str]:
    """Cell -> the benchmark to look at first: the mean of several, or the only one. Training sets may have their own."""
    named = comparison[comparison.benchmark != ""]
    return {str(cell): MEAN if MEAN in set(of) else of.iloc[0] for cell, of in named.groupby("cell").benchmark}


class Lookup:
    """The rows of a comparison (named tuples of its columns) by what they are about."""

    def __init__(self, comparison: pd.DataFrame) -> None:
        self._headlines = headlines(comparison)
        self.cells = frozenset(comparison.cell)
        rows: Iterable[Any] = comparison.itertuples(index=False)
        self._rows = {
            (row.cell, row.benchmark, row.quantity, None if pd.isna(row.target) else row.target): row for row in rows
        }

    def find(self, cell: str, quantity: str, target: float | None = None, benchmark: str | None = None) -> Any | None:
        """The row (of `headlines`, where no benchmark is named), or None."""
        places = (benchmark or self._headlines.get(cell, ""), "")
        return next((self._rows[key] for name in places if (key := (cell, name, quantity, target)) in self._rows), None)


def when_reached(curve: Curve, cost: str, target: float, window: int = 1) -> Reached:
    """What a run had spent (a key of `COSTS`) when it reached the target."""
    return reached(curve["accuracy"], curve[COSTS[cost]], target, window=window)


def _curves(runs: Runs) -> Curves:
    frame = runs.accuracy
    columns = ["accuracy", "stderr", *COSTS.values()]
    groups = frame.groupby(["cell", "seed", "benchmark"], sort=False)
    return {key: {name: group[name].to_numpy() for name in columns} for key, group in groups[columns]}  # type: ignore[misc]


def _speeds(runs: Runs) -> Iterator[Row]:
    """Choosing is told apart: most of it happens between steps. Runs in which it was not timed say nothing of it."""
    training = runs.training.assign(choosing=runs.training.get("choosing_seconds", float("nan")))
    by_run = training.groupby(RUN)
    medians, ends = by_run.seconds.median(), by_run[["step", "training_seconds", "choosing"]].last()
    shares = ends.choosing / (ends.training_seconds + ends.choosing)
    for quantity, values in (
        ("seconds a step", medians),
        ("seconds of choosing a step", ends.choosing / ends.step),
        ("share of choosing", shares),
    ):
        for cell, of in values.dropna().groupby("cell", sort=False):
            yield str(cell), "", quantity, None, summarize(of.tolist())


def _drawn(runs: Runs) -> Iterator[Row]:
    epochs = runs.draws.groupby(RUN).epoch.transform("max") + 1
    flat = runs.draws.assign(flat=runs.draws.pass_rate.isin((0, 1)), early=EARLY * runs.draws.epoch < epochs)
    flat = flat.dropna(subset="pass_rate")
    for quantity, column, drawn in (
        ("early pass rate", "pass_rate", flat[flat.early]),
        ("early drawn without a gradient", "flat", flat[flat.early]),
        ("drawn without a gradient", "flat", flat),
    ):
        shares = drawn.groupby(RUN)[column].mean()
        for cell in drawn.cell.unique():
            yield cell, "", quantity, None, summarize(shares[cell].tolist())


def _sampled(runs: Runs) -> Iterator[Row]:
    """A group that was thrown away gave no gradient, whatever its rollouts were."""
    useful = runs.draws.assign(useful=runs.draws.pass_rate.between(0, 1, inclusive="neither")).groupby(RUN).useful.sum()
    sampled = runs.training.groupby(RUN).rollouts.last()
    for cell, by_seed in runs.items():
        shares = [
            1 - useful[cell, seed] * run.config().training.generations / sampled[cell, seed]
            for seed, run in by_seed.items()
            if (cell, seed) in useful.index
        ]
        if shares:
            yield cell, "", "rollouts without a gradient", None, summarize(np.clip(shares, 0, 1).tolist())


def _own(
    experiment: Experiment, by_seed: dict[int, Any], curves: Curves, cell: str, benchmark: str, window: int
) -> Iterator[Row]:
    mine = [curves[cell, seed, benchmark] for seed in by_seed if (cell, seed, benchmark) in curves]
    if not mine:
        return
    shared = shares_problems(by_seed, benchmark)
    for quantity, place in {"accuracy at start": 0, "accuracy at end": -1}.items():
        accuracies, stderrs = ([curve[name][place] for curve in mine] for name in ("accuracy", "stderr"))
        yield cell, benchmark, quantity, None, summarize_accuracy(accuracies, stderrs, shared=shared)
    every = by_seed[next(iter(by_seed))].config().evaluation.every
    yield cell, benchmark, "average accuracy", None, summarize([_average(curve, every) for curve in mine])
    for target in experiment.targets:
        for cost in COSTS:
            when = [when_reached(curve, cost, target, window) for curve in mine]
            yield cell, benchmark, f"{cost} to target", target, summarize_reached(when)
            if cost == "steps":
                yield cell, benchmark, "median steps to target", target, median_reached(when)
                raw = [Reached(run.evaluated, run.censored) for run in when]
                yield cell, benchmark, "steps to target at an evaluation", target, summarize_reached(raw)


def _against(
    experiment: Experiment, runs: Runs, curves: Curves, cell: str, benchmark: str, window: int
) -> Iterator[Row]:
    baseline = baseline_of(experiment, cell)
    seeds = [seed for seed in runs[cell] if {(cell, seed, benchmark), (baseline, seed, benchmark)} <= set(curves)]
    ours, theirs = ([curves[name, seed, benchmark] for seed in seeds] for name in (cell, baseline))
    if cell == baseline or not seeds:
        return
    pairs = list(zip(ours, theirs, strict=True))
    alike = [timed_alike(runs[cell][seed], runs[baseline][seed]) for seed in seeds]
    timed = [pair for pair, comparable in zip(pairs, alike, strict=True) if comparable]
    for target in experiment.targets:
        for quantity, cost in PAIRED.items():
            compared = timed if cost == "seconds" else pairs
            own, base = ([when_reached(pair[side], cost, target, window) for pair in compared] for side in (0, 1))
            yield cell, benchmark, quantity, target, speed_up(base, own) if compared else None
            if cost == "steps":
                yield cell, benchmark, "steps saved", target, saved(base, own)
    every = runs[cell][seeds[0]].config().evaluation.every
    for quantity, gained in {
        "accuracy gained": [own["accuracy"][-1] - base["accuracy"][-1] for own, base in pairs],
        "average accuracy gained": [_average(own, every) - _average(base, every) for own, base in pairs],
    }.items():
        yield cell, benchmark, quantity, None, replace(summarize(gained), p=paired_p(gained))
    for quantity, cost in BUDGETS.items():
        gained = [_gained(own, base, COSTS[cost]) for own, base in (timed if cost == "seconds" else pairs)]
        if gained:
            yield cell, benchmark, quantity, None, replace(summarize(gained), p=paired_p(gained))


def _average(curve: Curve, every: int) -> float:
    """Mean accuracy at every so many steps after the start, read off the curve: runs are not evaluated at the same ones."""
    steps = curve["step"]
    grid = np.union1d(np.arange(every, steps[-1] + 1, every), steps[-1])
    return float(np.interp(grid, steps, curve["accuracy"]).mean())


def _gained(curve: Curve, base: Curve, spent: str) -> float:
    """Difference of accuracies where both have spent what the thriftier one has at its end, between evaluations by a line."""
    budget = min(side[spent][-1] for side in (curve, base))
    end, base_end = (float(np.interp(budget, side[spent], side["accuracy"])) for side in (curve, base))
    return end - base_end


def _across(experiment: Experiment, runs: Runs, curves: Curves, cell: str) -> Iterator[Row]:
    """What takes the scores of all the cell's benchmarks together."""
    every = list(dict.fromkeys(benchmark for name, _, benchmark in curves if name == cell))
    names = [name for name in every if name != MEAN]
    if not names:
        return
    benchmark = MEAN if MEAN in every else names[0]

    def ends(of: str, seeds: list[int]) -> list[list[float]]:
        return [[curves[of, seed, name]["accuracy"][-1] for name in names] for seed in seeds]

    asked = {of: [seed for seed in runs[of] if all((of, seed, name) in curves for name in names)] for of in runs}
    if asked[cell]:
        iqm = interquartile_mean(ends(cell, asked[cell]))
        yield cell, benchmark, "interquartile mean of accuracy at end", None, iqm
    baseline = baseline_of(experiment, cell)
    if cell != baseline and (common := sorted({*asked[cell]} & {*asked[baseline]})):
        chance = probability_of_improvement((ends(cell, common), ends(baseline, common)))
        yield cell, benchmark, "probability of improvement", None, chance


def _adjusted(table: pd.DataFrame, endpoint: tuple[str, float | None]) -> pd.DataFrame:
    quantity, target = endpoint
    enough = table.seeds >= FEWEST_FOR_A_STAR
    described = ~enough & (enough & table.p.notna()).groupby([table.benchmark, table.quantity]).transform("any")
    table = table.assign(p=table.p.mask(described))
    tested, first = table.p.notna(), table.benchmark == table.cell.map(headlines(table))
    at = table.target.isna() if target is None else table.target == target
    primary = tested & first & (table.quantity == quantity) & at
    family = primary.map({True: "primary", False: "secondary"}).where(tested, "")
    adjusted = pd.Series(index=table.index, dtype=float)
    for _, group in table[tested].assign(family=family).groupby(["family", "benchmark", "quantity"], sort=False):
        adjusted[group.index] = holm(group.p.tolist())
    return table.assign(family=family, p=table.p.astype(float), p_holm=adjusted)
