"""The methods of a family of problems: bars by speed-up, then the chance of an improvement and the interquartile mean."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from analysis.comparison import Lookup
from analysis.leaderboard import Family, is_oracle, label_of, ranking
from gainrl.runs.experiment import Experiment
from paper_figures import style
from paper_figures.ablation import ratio_axis

PANELS = {
    "speed-up": "speed-up in steps",
    "probability of improvement": "probability\nof improvement",
    "interquartile mean of accuracy at end": "interquartile mean\nat end (%)",
}
IN_ROLLOUTS = "in rollouts, where more is sampled than trained"
SAME = 0.01
"""Ratios that differ by less are not told apart."""
FASTER, SLOWER, OPEN, ORACLE = *(sns.color_palette("colorblind")[place] for place in (2, 3, 7)), "black"


def data(experiment: Experiment, comparison: pd.DataFrame, family: Family) -> pd.DataFrame:
    """Columns panel (`PANELS`), method (its label), oracle, value, low, high, bound, seeds, standout; methods in their order.

    Bars have what they are in rollouts too, as ``in_rollouts``. Those without runs, and the baseline, which is the line at 1,
    are left out of all panels but the last.
    """
    lookup, rows = Lookup(comparison), []
    for method in ranking(experiment, lookup, family):
        cell = family.cells[method]
        for panel in PANELS:
            target = experiment.primary_target if panel == "speed-up" else None
            if (row := lookup.find(cell, panel, target)) is not None:
                unit = 100 if panel.startswith("interquartile") else 1
                rows.append(
                    {
                        "panel": panel,
                        "method": label_of(experiment, method, cell),
                        "oracle": is_oracle(experiment.cells[cell]),
                        "value": unit * row.mean,
                        "low": float("nan") if pd.isna(row.low) else unit * row.low,
                        "high": float("nan") if pd.isna(row.high) else unit * row.high,
                        "bound": row.bound,
                        "seeds": row.seeds,
                        "standout": bool(row.p_holm < 0.05),
                        "in_rollouts": getattr(lookup.find(cell, "speed-up in rollouts", target), "mean", float("nan")),
                    }
                )
    return pd.DataFrame(rows)


def plot(experiment: Experiment, family: Family, frame: pd.DataFrame) -> Figure:
    """Lines: 95 % intervals. Coloured bars differ significantly from the baseline (Holm); hatched ones are bounds."""
    style.use()
    labels = list(dict.fromkeys(frame.method[~frame.oracle]))
    figure, axes = plt.subplots(
        1, 3, figsize=(style.COLUMN_INCHES, 1.35 + 0.24 * len(labels)), sharey=True, layout="constrained",
        width_ratios=(2.4, 1, 1),
    )  # fmt: skip
    for ax, (panel, words) in zip(axes, PANELS.items(), strict=True):
        mine = frame[frame.panel == panel]
        methods: Iterable[Any] = mine[~mine.oracle].itertuples()
        for row in methods:
            (_bar if panel == "speed-up" else _dot)(ax, row, labels.index(row.method))
        oracles: Iterable[Any] = mine[mine.oracle].itertuples()
        for place, row in enumerate(oracles):
            _oracle(ax, row, "-:"[place % 2], shaded=panel == "speed-up")
        ax.set_xlabel(words, fontsize=8)
        ax.tick_params(axis="y", length=0)
    axes[0].axvline(1, color="0.4", lw=0.8, zorder=3)
    axes[1].axvline(0.5, color="0.6", lw=0.8, zorder=0)
    axes[1].set(xlim=(-0.04, 1.04), xticks=(0, 0.5, 1))
    ratio_axis(axes[0])
    counts = frame.groupby("method").seeds.max()
    names = [f"{label} ({counts[label]})" if counts[label] < counts.max() else label for label in labels]
    axes[0].set(yticks=range(len(labels)), yticklabels=names, ylim=(len(labels) - 0.4, -0.6))
    figure.legend(handles=_keys(axes[0], frame), loc="outside lower center", ncols=2, fontsize=7)
    target = f"{100 * experiment.primary_target:.0f} %"
    title = f"{family.name}: to {target}, against {experiment.labels[experiment.baseline]} ({counts.max()} seeds, or as given)"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure


def _bar(ax: Axes, row: Any, y: int) -> None:
    colour = OPEN if not row.standout else FASTER if row.value > 1 else SLOWER
    look = {"color": "white", "edgecolor": colour, "hatch": "////"} if row.bound else {"color": colour}
    ax.barh(y, row.value - 1, 0.7, left=1, lw=0.8, zorder=1, **look)
    if not row.bound and pd.notna(row.low):
        ax.plot([row.low, row.high], [y, y], color="black", lw=1, zorder=2)
    if abs(row.in_rollouts / row.value - 1) > SAME:
        ax.plot(row.in_rollouts, y, "D", ms=4, color="black", mfc="white", zorder=3, label=IN_ROLLOUTS)


def _dot(ax: Axes, row: Any, y: int) -> None:
    if pd.notna(row.low):
        ax.plot([row.low, row.high], [y, y], color="0.3", lw=1)
    ax.plot(row.value, y, "o", ms=3.5, color="0.3")


def _oracle(ax: Axes, row: Any, line: str, shaded: bool) -> None:
    """Not a row but a line through all of them, with its interval where ``shaded``."""
    if shaded and not row.bound and pd.notna(row.low):
        ax.axvspan(row.low, row.high, color="0.5", alpha=0.12, lw=0, zorder=0)
    ax.axvline(row.value, color=ORACLE, ls=line, lw=1, zorder=0, label=row.method)


def _keys(ax: Axes, frame: pd.DataFrame) -> list[Any]:
    """Oracles, and of the bars' colours those that are there."""
    speeds = frame[(frame.panel == "speed-up") & ~frame.oracle]
    looks = {
        "significantly faster": ({"color": FASTER}, (speeds.standout & (speeds.value > 1)).any()),
        "significantly slower": ({"color": SLOWER}, (speeds.standout & (speeds.value < 1)).any()),
        "no star: not significant, few seeds, or tested elsewhere": ({"color": OPEN}, (~speeds.standout).any()),
        "a bound, or both have runs that did not reach it": (
            {"facecolor": "white", "edgecolor": OPEN, "hatch": "////"},
            (speeds.bound != "").any(),
        ),
    }
    bars = [Patch(label=label, **look) for label, (look, there) in looks.items() if there]
    lines = {str(line.get_label()): line for line in ax.lines if not str(line.get_label()).startswith("_")}
    return [*lines.values(), *bars]
