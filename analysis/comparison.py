"""The comparison of schedules: accuracy, cost to each target, speed-up over the baseline. Pure functions of run folders."""

from collections.abc import Callable
from dataclasses import asdict

import pandas as pd

from analysis.runs import Runs, accuracy_curves, common_seeds, training_curves
from gainrl.config import Experiment
from gainrl.stats import Reached, Summary, reached, speed_up, summarize, summarize_reached

MISSING = "–"  # noqa: RUF001 (an en dash is what a missing cell prints)
COSTS = {"steps": "step", "problems": "problems_seen", "completion tokens": "completion_tokens"}


def compare(experiment: Experiment, runs: Runs) -> pd.DataFrame:
    """Long table: a row a (cell, quantity, target) with mean, interval, seeds, censored seeds and bound.

    Quantities: accuracy at start, accuracy at end, seconds a step, and for each target steps, problems and completion
    tokens to it, and speed-up (baseline's steps / the cell's, paired over the seeds that all cells have).
    """
    curves, training = accuracy_curves(runs), training_curves(runs)
    seeds = common_seeds(runs)
    rows = []

    def add(cell: str, quantity: str, target: float | None, summary: Summary | None) -> None:
        if summary is not None:
            rows.append({"cell": cell, "quantity": quantity, "target": target, **asdict(summary)})

    for cell, by_seed in runs.items():
        if not by_seed:
            continue
        mine = curves[curves.cell == cell].sort_values("step")
        add(cell, "accuracy at start", None, summarize(mine.groupby("seed").accuracy.first().tolist()))
        add(cell, "accuracy at end", None, summarize(mine.groupby("seed").accuracy.last().tolist()))
        step_seconds = training[training.cell == cell].groupby("seed").seconds.median()
        add(cell, "seconds a step", None, summarize(step_seconds.tolist()))
        for target in experiment.targets:
            for cost, column in COSTS.items():
                when = [_reached(mine, seed, column, target) for seed in by_seed]
                add(cell, f"{cost} to target", target, summarize_reached(when))
            if runs[experiment.baseline] and cell != experiment.baseline:
                base = curves[curves.cell == experiment.baseline].sort_values("step")
                pairs = [[_reached(frame, seed, "step", target) for seed in seeds] for frame in (base, mine)]
                add(cell, "speed-up", target, speed_up(*pairs))
    return pd.DataFrame(rows)


def _reached(curves: pd.DataFrame, seed: int, column: str, target: float) -> Reached:
    mine = curves[curves.seed == seed]
    return reached(mine.accuracy.tolist(), mine[column].tolist(), target)


def markdown(experiment: Experiment, table: pd.DataFrame) -> str:
    """The comparison as Markdown: accuracies; steps and speed-up; problems and tokens."""
    seeds = sorted(table.seeds.unique())
    count = f"{seeds[0]} seed{'s' if seeds[0] > 1 else ''}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]} seeds"
    note = "mean [95 % bootstrap interval over seeds]" if seeds[0] >= 3 else "no interval from fewer than three seeds"
    percent, whole, times = (lambda v: f"{100 * v:.1f}"), (lambda v: f"{v:,.0f}"), (lambda v: f"{v:.2f}x")
    parts = [
        f"# {experiment.title}",
        f"{count} a cell; {note}. `>N`: not reached within N, or a bound that follows from it.",
        _grid(
            experiment,
            table,
            {
                "accuracy at start, %": ("accuracy at start", None, percent),
                "accuracy at end, %": ("accuracy at end", None, percent),
                "seconds a step": ("seconds a step", None, lambda v: f"{v:.2f}"),
            },
        ),
        _grid(experiment, table, _by_target(experiment, "steps to {}", "steps to target", whole)
              | _by_target(experiment, "speed-up to {}", "speed-up", times)),
        _grid(experiment, table, _by_target(experiment, "problems to {}", "problems to target", whole)
              | _by_target(experiment, "tokens to {}", "completion tokens to target", whole)),
    ]  # fmt: skip
    return "\n\n".join([*parts, *filter(None, [experiment.reference])]) + "\n"


Column = tuple[str, float | None, Callable[[float], str]]


def _by_target(experiment: Experiment, heading: str, quantity: str, style: Callable[[float], str]) -> dict[str, Column]:
    return {heading.format(f"{100 * target:.0f} %"): (quantity, target, style) for target in experiment.targets}


def _grid(experiment: Experiment, table: pd.DataFrame, columns: dict[str, Column]) -> str:
    rows = [
        {"schedule": label, **{heading: _cell(table, cell, *column) for heading, column in columns.items()}}
        for cell, label in experiment.labels.items()
    ]
    return str(
        pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True, colalign=["left"] + ["right"] * len(columns))
    )


def _cell(table: pd.DataFrame, cell: str, quantity: str, target: float | None, style: Callable[[float], str]) -> str:
    mine = table[(table.cell == cell) & (table.quantity == quantity)]
    mine = mine if target is None else mine[mine.target == target]
    if mine.empty:
        return MISSING
    row = mine.iloc[0]
    interval = "" if pd.isna(row.low) else f" [{style(row.low)}, {style(row.high)}]"
    reached_by = (
        f" ({row.seeds - row.censored} of {row.seeds} seeds reached it)" if row.censored and row.seeds > 1 else ""
    )
    return f"{row.bound}{style(row['mean'])}{interval}{reached_by}"
