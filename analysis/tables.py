"""The comparison as grids of text, ready to be printed. Training sets without any run are left out."""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pandas as pd

from analysis.comparison import BUDGETS, MISSING, Lookup, headlines
from analysis.control import Controls
from analysis.kinds import PARTS, accuracy_by_kind, at_parts, drawn_by_kind
from analysis.paper import against_paper, departures, differences, paper, settings
from analysis.pooled import pooled
from analysis.runs import MEAN, Runs, baseline_of
from gainrl.runs.experiment import Experiment
from gainrl.statistics import FEWEST_FOR_A_STAR, FEWEST_SEEDS

SIGNIFICANT = 0.05
Style = Callable[[float], str]
STYLES: dict[str, Style] = {
    "percent": lambda v: f"{100 * v:.1f}",
    "points": lambda v: f"{100 * v:+.1f}",
    "whole": lambda v: f"{v:,.0f}",
    "signed": lambda v: f"{v:+,.0f}",
    "times": lambda v: f"{v:.2f}x",
    "milliseconds": lambda v: f"{1000 * v:.2g}" if v < 0.01 else f"{1000 * v:,.0f}",
    "seconds": lambda v: f"{v:.2f}" if v < 5 else f"{v:.1f}" if v < 100 else f"{v:,.0f}",
    "share": lambda v: f"{v:.2f}",
    "difference": lambda v: f"{v:+.2f}",
}


class Grid(NamedTuple):
    """A table of text; its first column is the cell's label, the others are aligned right."""

    title: str
    table: pd.DataFrame
    note: str = ""
    words: bool = False
    """The columns are text, aligned left."""


class Column(NamedTuple):
    quantity: str
    target: float | None
    style: str
    benchmark: str | None = None


ACCURACY = {
    "accuracy at start, %": Column("accuracy at start", None, "percent"),
    "accuracy at end, %": Column("accuracy at end", None, "percent"),
    "gained over baseline, points": Column("accuracy gained", None, "points"),
    "seconds a step": Column("seconds a step", None, "seconds"),
}
STEPS = {"steps to": ("steps to target", "whole"), "speed-up to": ("speed-up", "times")}
TOKENS = {
    "tokens to": ("completion tokens to target", "whole"),
    "speed-up in tokens to": ("speed-up in tokens", "times"),
}
ROLLOUTS = {
    "rollouts to": ("rollouts to target", "whole"),
    "speed-up in rollouts to": ("speed-up in rollouts", "times"),
}
SECONDS = {
    "seconds to": ("seconds to target", "seconds"),
    "speed-up in seconds to": ("speed-up in seconds", "times"),
}
PROBLEMS = {"problems to": ("problems to target", "whole")}
ON_AVERAGE = "gained on average over a run, points"
BUDGET = {
    "gained at equal steps, points": Column("accuracy gained", None, "points"),
    ON_AVERAGE: Column("average accuracy gained", None, "points"),
    **{f"{quantity.removeprefix('accuracy ')}, points": Column(quantity, None, "points") for quantity in BUDGETS},
}
DRAWN = {
    "pass rate, first sixth, %": Column("early pass rate", None, "percent"),
    "without a gradient, first sixth, %": Column("early drawn without a gradient", None, "percent"),
    "without a gradient, whole run, %": Column("drawn without a gradient", None, "percent"),
    "rollouts without a gradient, %": Column("rollouts without a gradient", None, "percent"),
    "choosing, ms a step": Column("seconds of choosing a step", None, "milliseconds"),
    "choosing, % of the time": Column("share of choosing", None, "percent"),
}
SPEED_UPS = ("speed-up to", "speed-up in tokens to")
FURTHER = {"median steps to": ("median steps to target", "whole"), "steps saved to": ("steps saved", "signed")}
ENDS = {
    "interquartile mean at end, %": Column("interquartile mean of accuracy at end", None, "percent"),
    "probability of improvement": Column("probability of improvement", None, "share"),
}
DRAWN_NOTE = (
    "Of the problems that were trained; early is the first sixth of a run. A problem has no gradient where all of its "
    "rollouts get the same reward. The share of rollouts is of all that were sampled, with those that were thrown away. "
    "Choosing: drawing, observing, and what a schedule measures to choose by, without the pass before training that reads "
    "angles."
)
BUDGET_NOTE = (
    "At the end, when all have taken the same number of steps; on average over a run; then where "
    "both of a pair have spent what the thriftier of the two has at its end. Rollouts and tokens are of everything that was "
    "sampled. Seconds are of training, without choosing, as the clock showed beside whatever else ran."
)
SECONDS_NOTE = (
    "As the clock showed, without choosing. Where runs shared their machine with other work, a ratio of seconds is one of "
    "loads too; it tells methods apart only on a machine that did nothing else. Ratios are of pairs that had as many "
    "processors and threads and were executed alike."
)
FURTHER_NOTE = (
    "Medians by the product-limit estimate. Speed-ups and steps saved are paired over seeds, within a pair's smaller budget. "
    "Probability of improvement: that a run ends higher than one of the baseline."
)
ORDER_NOTE = "The same schedule in all rows; paired over seeds; Holm's adjustment covers these cells only."
POOLED_NOTE = (
    "Each (model, seed) is a pair; Holm's adjustment as above, over these rows. Pairs of one seed share their problems, which "
    "the intervals do not know."
)
PAPER_STYLES = {"accuracy at end": "percent", "steps to target": "whole", "speed-up": "times"}


def grids(experiment: Experiment, comparison: pd.DataFrame, controls: Controls, runs: Runs) -> list[Grid]:
    """Accuracies; steps; what the order adds; other costs; equal budgets; draws; medians; each benchmark; paper; settings."""
    rows = Lookup(comparison)

    def grid(title: str, columns: dict[str, Column], note: str = "") -> Grid:
        return Grid(title, _grid(experiment, rows, columns), note)

    result = [
        grid("Accuracy", ACCURACY),
        grid("Steps to target", _by_target(experiment, STEPS)),
        *_order_grids(controls),
        *_pooled_grids(experiment, runs),
        grid("Rollouts to target", _by_target(experiment, ROLLOUTS)),
        grid("Completion tokens to target", _by_target(experiment, TOKENS)),
        grid("Seconds to target", _by_target(experiment, SECONDS), SECONDS_NOTE),
        grid("Problems to target", _by_target(experiment, PROBLEMS)),
        grid("Accuracy at an equal budget", _marked(experiment, BUDGET), BUDGET_NOTE),
        grid("Drawn problems", DRAWN, DRAWN_NOTE),
        *_kind_grids(experiment, runs),
        grid("Further statistics", _by_target(experiment, FURTHER) | ENDS, FURTHER_NOTE),
        *_each_benchmark(grid, experiment, comparison),
    ]
    paper_grid = _paper_grid(experiment, comparison)
    return [*result, *([paper_grid] if paper_grid else []), *_settings_grids(experiment, runs)]


def seeds_and_marks(experiment: Experiment, comparison: pd.DataFrame) -> str:
    """What stands under the title: how many seeds, what brackets and marks mean."""
    seeds = sorted(comparison.seeds[comparison.quantity == "accuracy at end"].unique())
    count = f"{seeds[0]} to {seeds[-1]} seeds" if len(seeds) > 1 else f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}"
    sentences = [f"{count} a cell; no interval from fewer than three seeds"]
    if seeds[-1] >= FEWEST_SEEDS:
        sentences = [
            f"{count} a cell; mean [95 % interval over seeds, of accuracies at start and end over problems too]"
        ]
    sentences.append("`>N`: not reached within N, or a bound that this implies")
    if (comparison.bound == "~").any():
        sentences.append("`~`: both sides have runs that did not reach the target")
    if comparison.p_holm.notna().any():
        sentences.append(
            "`*`: differs from its baseline, p < 0.05 in an exact sign-flip test over paired seeds, adjusted (Holm) over all "
            "cells in the primary column, over all cells and targets in any other"
        )
        if seeds[0] < FEWEST_FOR_A_STAR:
            sentences.append(f"There can be no `*` from fewer than {FEWEST_FOR_A_STAR} seeds")
    for asking, cells in sorted(_asked_elsewhere(experiment, set(comparison.cell)).items()):
        sentences.append(f"Tested in {asking}, not here: {', '.join(cells)}")
    return ". ".join(sentences) + "."


def _asked_elsewhere(experiment: Experiment, cells: set[str]) -> dict[str, list[str]]:
    """Asking experiment -> labels of those of the cells that it asks about."""
    asked: dict[str, list[str]] = {}
    for cell, asking in experiment.asked_in.items():
        if cell in cells:
            asked.setdefault(asking, []).append(experiment.labels[cell])
    return asked


def show(row: Any | None, style: str) -> str:
    """One cell of a table: ``>27 (1 of 3 seeds reached it)``, ``0.83x [0.67x, 1.00x]*``, or the en dash."""
    if row is None:
        return MISSING
    text, print_ = f"{row.bound}{STYLES[style](row.mean)}", STYLES[style]
    if not row.bound and pd.notna(row.low):
        text += f" [{print_(row.low)}, {'not reached' if math.isinf(row.high) else print_(row.high)}]"
    if row.quantity == "steps to target" and row.censored and row.seeds > 1:
        text += f" ({row.seeds - row.censored} of {row.seeds} seeds reached it)"
    return f"{text}*" if pd.notna(row.p_holm) and row.p_holm < SIGNIFICANT else text


def _grid(experiment: Experiment, rows: Lookup, columns: dict[str, Column]) -> pd.DataFrame:
    def text(cell: str, column: Column) -> str:
        return show(rows.find(cell, column.quantity, column.target, column.benchmark), column.style)

    with_runs = {experiment.cells[cell].problems.train for cell in rows.cells}
    return pd.DataFrame(
        {"cell": label} | {heading: text(cell, column) for heading, column in columns.items()}
        for cell, label in experiment.labels.items()
        if experiment.cells[cell].problems.train in with_runs
    )


def _by_target(experiment: Experiment, kinds: dict[str, tuple[str, str]]) -> dict[str, Column]:
    columns = {
        f"{heading} {100 * target:.0f} %": Column(quantity, target, style)
        for heading, (quantity, style) in kinds.items()
        for target in experiment.targets
    }
    return _marked(experiment, columns)


def _marked(experiment: Experiment, columns: dict[str, Column]) -> dict[str, Column]:
    """With a word in the heading of the column that decides."""
    return {
        f"{heading} (primary)" if (column.quantity, column.target) == experiment.endpoint else heading: column
        for heading, column in columns.items()
    }


def _each_benchmark(grid: Callable[..., Grid], experiment: Experiment, comparison: pd.DataFrame) -> list[Grid]:
    if MEAN not in set(comparison.benchmark):
        return []
    names = [name for name in comparison.benchmark.unique() if name]

    def columns(quantity: str, target: float | None, style: str) -> dict[str, Column]:
        return {name: Column(quantity, target, style, name) for name in names}

    result = [grid("Accuracy at end, %, by benchmark", columns("accuracy at end", None, "percent"))]
    for target in experiment.targets:
        result.append(grid(f"Steps to {100 * target:.0f} %, by benchmark", columns("steps to target", target, "whole")))
        result.append(grid(f"Speed-up to {100 * target:.0f} %, by benchmark", columns("speed-up", target, "times")))
    return result


def _kind_grids(experiment: Experiment, runs: Runs) -> list[Grid]:
    """Which skill was learnt when, and which was drawn when; nothing where problems are of no kinds."""
    result = []
    for benchmark, accuracy in at_parts(accuracy_by_kind(runs)).groupby("benchmark", sort=False):
        steps = ", ".join(map(str, sorted(accuracy.step.unique())))
        note = f"At steps {steps}; mean over seeds."
        result.append(
            Grid(f"Accuracy by kind, %: {benchmark}", _in_parts(experiment, accuracy, "step", "accuracy"), note)
        )
    for train, shares in drawn_by_kind(runs).groupby("train", sort=False):
        note = f"In each of the {PARTS} parts of the draws of a run; mean over seeds."
        result.append(Grid(f"Drawn by kind, %: {train}", _in_parts(experiment, shares, "part", "share"), note))
    return result


def _in_parts(experiment: Experiment, frame: pd.DataFrame, part: str, value: str) -> pd.DataFrame:
    """A row a cell, a column a kind: the values by part, with slashes between them."""
    wide = frame.sort_values(part).pivot_table(
        index="cell", columns="kind", values=value, aggfunc=lambda of: " / ".join(f"{100 * share:.0f}" for share in of)
    )
    rows = wide.reindex([cell for cell in experiment.labels if cell in wide.index]).fillna(MISSING)
    return rows.rename(index=experiment.labels).rename_axis(index="cell", columns=None).reset_index()


def _order_grids(controls: Controls) -> list[Grid]:
    result = []
    for direct, comparison in controls:
        columns = _by_target(direct, {kind: (STEPS | TOKENS)[kind] for kind in SPEED_UPS})
        columns |= {"gained, points": ACCURACY["gained over baseline, points"]}
        if direct.judged_by == "average accuracy gained":
            columns |= _marked(direct, {ON_AVERAGE: BUDGET[ON_AVERAGE]})
        table = _grid(direct, Lookup(comparison), columns)
        control = direct.labels[direct.baseline]
        title = f"What the order adds: against {control}"
        result.append(Grid(title, table[table.cell != control].reset_index(drop=True), ORDER_NOTE))
    return result


def _pooled_grids(experiment: Experiment, runs: Runs) -> list[Grid]:
    """The schedules over all models together: against the baseline, then against their control."""
    together = pooled(experiment, runs)
    if together is None:
        return []
    pool, comparison, controls = together
    columns = _by_target(pool, {kind: (STEPS | TOKENS)[kind] for kind in SPEED_UPS})
    table = _grid(pool, Lookup(comparison), columns)
    table = table[table.cell != pool.labels[pool.baseline]].reset_index(drop=True)
    result = [Grid(f"Against {pool.labels[pool.baseline]}", table), *_order_grids(controls)]
    return [Grid(f"All models together: {grid.title}", grid.table, POOLED_NOTE) for grid in result]


def _paper_grid(experiment: Experiment, comparison: pd.DataFrame) -> Grid | None:
    ours = against_paper(experiment, comparison).dropna(subset="paper")
    if ours.empty:
        return None
    rows, first = [], headlines(comparison)
    ours_rows: Iterable[Any] = ours.itertuples(index=False)
    for row in ours_rows:
        style = PAPER_STYLES[row.quantity]
        target = "" if pd.isna(row.target) else f" {100 * row.target:.0f} %"
        rows.append(
            {
                "cell": experiment.labels[row.cell],
                "what": f"{row.quantity}{target}" + (f", {row.benchmark}" if row.benchmark != first[row.cell] else ""),
                "paper": f"{row.paper_bound}{STYLES[style](row.paper)} ({row.paper_source})",
                "ours": show(row, style),
            }
        )
    sources = paper()["sources"]
    named = "; ".join(f"{source}: {sources[source]}" for source in dict.fromkeys(ours.paper_source))
    return Grid(
        "The paper beside ours",
        pd.DataFrame(rows),
        f"{named}. Other models, problems and settings (see below): beside each other, not to be subtracted.",
    )


def _settings_grids(experiment: Experiment, runs: Runs) -> list[Grid]:
    configs = settings(runs)
    rows = []
    for cell, config in configs.items():
        baseline = baseline_of(experiment, cell)
        own = differences(config, configs[baseline]) if baseline != cell and baseline in configs else ""
        rows.append({"cell": experiment.labels[cell], "differs from its baseline by": own or MISSING})
    return [
        Grid("Cells", pd.DataFrame(rows), words=True),
        Grid(
            "Settings that differ from the release's scripts",
            departures(configs),
            paper()["sources"]["scripts"],
            words=True,
        ),
    ]
