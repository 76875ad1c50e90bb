"""A row a method, for each family of problems: how soon it reaches the target, what it wastes, what choosing takes.

The numbers are those of `analysis.comparison`; only what takes several families together is worked out here.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pandas as pd

from analysis.comparison import MISSING, Lookup
from analysis.runs import Runs, baseline_of
from analysis.tables import ON_AVERAGE, Column, Grid, show
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Experiment
from gainrl.statistics import FEWEST_FOR_A_STAR, Summary, interquartile_mean, probability_of_improvement

ORACLE = "oracle"
"""Schedule of the cells that are no methods: they know what no method can know."""
ALL = "all families"
RATIOS = {
    "steps": "speed-up",
    "rollouts": "speed-up in rollouts",
    "tokens": "speed-up in tokens",
    "seconds": "speed-up in seconds",
}
SHARES = {
    "accuracy at end, %": Column("accuracy at end", None, "percent"),
    "rollouts without a gradient, %": Column("rollouts without a gradient", None, "percent"),
    "choosing, ms a step": Column("seconds of choosing a step", None, "milliseconds"),
    "choosing, % of the time": Column("share of choosing", None, "percent"),
    "probability of improvement": Column("probability of improvement", None, "share"),
}
TOGETHER_NOTE = (
    "Accuracies at the end of the runs of all families, as in rliable (Agarwal et al. 2021): mean of their middle half, and "
    "the chance that a run ends higher than one of the baseline on the same family; 95 % intervals by a bootstrap within each "
    "family. Only seeds that both have on every family count, so a row is compared with the baseline in it, by which rows "
    "are ordered, and not with other rows. Methods without runs of every family that is listed are left out."
)


@dataclass(frozen=True)
class Family:
    """The cells on one training set."""

    name: str
    baseline: str
    cells: dict[str, str]
    """Method -> cell; a method is named after its cell on the experiment's own training set."""


def families(experiment: Experiment) -> list[Family]:
    """In the experiment's order. A cell is called like its family's baseline, but for the method."""
    found: dict[str, Family] = {}
    for cell in experiment.cells:
        baseline = baseline_of(experiment, cell)
        prefix = baseline.removesuffix(experiment.baseline)
        name = experiment.cells[baseline].problems.train
        found.setdefault(baseline, Family(name, baseline, {})).cells[cell.removeprefix(prefix)] = cell
    return list(found.values())


def is_oracle(run: RunConfig) -> bool:
    """Whether it is there to be compared with, and not a method."""
    return run.schedule.name == ORACLE


def label_of(experiment: Experiment, method: str, cell: str) -> str:
    """A method's name in print, the same for each family."""
    label = experiment.labels.get(method, experiment.labels[cell])
    return f"{label} (no method)" if is_oracle(experiment.cells[cell]) else label


def ranking(experiment: Experiment, rows: Lookup, family: Family) -> list[str]:
    """Methods by the primary endpoint, the largest effect first; then the oracles; then what has no runs."""
    none = 1.0 if experiment.judged_by == "speed-up" else 0.0

    def place(method: str) -> tuple[int, float]:
        cell = family.cells[method]
        row = rows.find(cell, *experiment.endpoint)
        if rows.find(cell, "accuracy at end") is None:
            return 3, 0.0
        effect = none if cell == family.baseline else row.mean if row is not None else None
        kind = 1 if is_oracle(experiment.cells[cell]) else 0 if effect is not None else 2
        return kind, -(effect or 0.0)

    return sorted(family.cells, key=place)


def boards(experiment: Experiment, comparison: pd.DataFrame) -> dict[str, Grid]:
    """Family -> its leaderboard; families without any run are left out."""
    rows, result = Lookup(comparison), {}
    for family in families(experiment):
        seeds = {cell: _seeds(rows, cell) for cell in family.cells.values()}
        if most := max(seeds.values()):
            table = [
                _row(experiment, rows, family, method, f"{seeds[family.cells[method]]} of {most}")
                for method in ranking(experiment, rows, family)
            ]
            frame = pd.DataFrame(table)
            result[family.name] = Grid(f"Leaderboard: {family.name}", frame, _note(experiment, rows, family, most))
    return result


def together(experiment: Experiment, runs: Runs) -> Grid | None:
    """The methods over all families that have runs; None where these are fewer than two."""
    known = [family for family in families(experiment) if any(runs[cell] for cell in family.cells.values())]
    if len(known) < 2:
        return None
    ends = _ends(runs)
    table = []
    for method in known[0].cells:
        cells = [family.cells.get(method) for family in known]
        if all(cell is not None and cell in ends for cell in cells):
            pairs = [
                (ends[str(cell)], ends.get(family.baseline, {})) for cell, family in zip(cells, known, strict=True)
            ]
            table.append(_row_of_all(label_of(experiment, method, known[0].cells[method]), pairs))
    if not table:
        return None
    table.sort(key=lambda row: -row.pop("place"))
    names = ", ".join(family.name for family in known)
    return Grid(f"Leaderboard: {ALL} ({names})", pd.DataFrame(table).fillna(MISSING), TOGETHER_NOTE)


def leaderboards(experiment: Experiment, comparison: pd.DataFrame, runs: Runs) -> list[Grid]:
    """A table a family, and one over all of them; none of an experiment whose cells are no methods."""
    if not experiment.leaderboard:
        return []
    over_all = together(experiment, runs)
    return [*boards(experiment, comparison).values(), *([over_all] if over_all else [])]


def _row(experiment: Experiment, rows: Lookup, family: Family, method: str, seeds: str) -> dict[str, str]:
    cell, target = family.cells[method], experiment.primary_target
    texts = {"method": label_of(experiment, method, cell), "seeds": seeds}
    if experiment.judged_by != "speed-up":
        texts[f"{ON_AVERAGE} (primary)"] = show(rows.find(cell, *experiment.endpoint), "points")
    for cost, quantity in RATIOS.items():
        own = show(rows.find(cell, quantity, target), "times")
        is_baseline = cell == family.baseline and rows.find(cell, "accuracy at end") is not None
        texts[f"speed-up to {100 * target:.0f} %, {cost}"] = "1.00x" if is_baseline else own
    return texts | {
        heading: show(rows.find(cell, column.quantity, None), column.style) for heading, column in SHARES.items()
    }


def _row_of_all(label: str, pairs: list[tuple[dict[int, float], dict[int, float]]]) -> dict[str, Any]:
    """``pairs``: accuracy at end by seed, of the method and of the baseline, for each family.

    Only seeds that both have on every family count, so that families weigh the same in every row.
    """
    seeds = sorted(set.intersection(*({*side} for pair in pairs for side in pair)))
    strata = [tuple([[side[seed]] for seed in seeds] for side in pair) for pair in pairs]
    row = {"method": label, "seeds": str(len(seeds)), "place": float("-inf")}
    if seeds:
        middle, base = (interquartile_mean(*(stratum[side] for stratum in strata)) for side in (0, 1))
        row["place"] = middle.mean - base.mean
        row |= {"interquartile mean at end, %": _text(middle, "percent"), "of the baseline, %": _text(base, "percent")}
        if any(own is not base for own, base in pairs):
            row["probability of improvement"] = _text(probability_of_improvement(*strata), "share")  # type: ignore[arg-type]
    return row


def _text(summary: Summary, style: str) -> str:
    return show(SimpleNamespace(**vars(summary), quantity="", p_holm=None), style)


def _ends(runs: Runs) -> dict[str, dict[int, float]]:
    """Cell -> seed -> accuracy at its last evaluation."""
    ends: dict[str, dict[int, float]] = {}
    last: Any = runs.headline.groupby(["cell", "seed"], sort=False).accuracy.last().items()
    for (cell, seed), accuracy in last:
        ends.setdefault(cell, {})[seed] = accuracy
    return ends


def _seeds(rows: Lookup, cell: str) -> int:
    row = rows.find(cell, "accuracy at end")
    return 0 if row is None else int(row.seeds)


def _note(experiment: Experiment, rows: Lookup, family: Family, most: int) -> str:
    sentences = [
        f"Against {experiment.labels[family.baseline]}, paired over seeds",
        "Ordered by the primary endpoint, "
        + ("the speed-up in steps" if experiment.judged_by == "speed-up" else "points gained on average over a run"),
        "Whatever a method samples and throws away counts in its rollouts and tokens",
        "Seconds are of training, as the clock showed beside whatever else ran; choosing (drawing, observing, measuring) comes "
        "on top, the pass before training that reads angles is in neither; pairs that were not executed alike are left out",
    ]
    cells = family.cells.values()
    if any(is_oracle(experiment.cells[cell]) for cell in cells):
        sentences.append("The oracle is no method: it measures all pass rates by rollouts that count in no budget")
    if few := [cell for cell in cells if 0 < _seeds(rows, cell) < most]:
        sentences.append(
            f"{len(few)} have fewer than {most} seeds: speed-ups are over common seeds, accuracies and shares over each row's "
            f"own; from fewer than {FEWEST_FOR_A_STAR} seeds there can be no star"
        )
    if missing := [
        label_of(experiment, method, cell) for method, cell in family.cells.items() if not _seeds(rows, cell)
    ]:
        sentences.append(f"No runs yet: {', '.join(missing)}")
    if asked := sorted({experiment.asked_in[cell] for cell in cells if cell in experiment.asked_in}):
        sentences.append(f"Some methods have their test against the baseline in {', '.join(asked)}, and no star here")
    return ". ".join(sentences) + "."
