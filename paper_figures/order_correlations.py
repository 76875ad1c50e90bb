"""How alike the orders are: rank correlations of angle, its parts and definitions, length and difficulty."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.comparison import MISSING
from gainrl.schedules import ORDERS
from paper_figures import style


def data(correlations: pd.DataFrame) -> pd.DataFrame:
    """Columns first, second, correlation (mean over models and problem sets), lowest, highest, sets."""
    grouped = correlations.groupby(["first", "second"], sort=False).correlation
    frame = grouped.agg(correlation="mean", lowest="min", highest="max", sets="size")
    return frame.reset_index()


def plot(frame: pd.DataFrame) -> Figure:
    """The lower triangle; under each mean the range over models and problem sets, where there are several.

    An order that is constant (the release's scores of short prompts are all NaN) has an en dash.
    """
    style.use()
    names = [order for order in ORDERS if order in {*frame["first"], *frame["second"]}]
    wide = frame.pivot_table(index="second", columns="first", values="correlation")
    wide = wide.reindex(index=names[1:], columns=names[:-1])
    figure, ax = plt.subplots(figsize=(style.COLUMN_INCHES, 1.0 + 0.42 * len(names)), layout="constrained")
    sns.heatmap(wide, cmap="RdBu_r", vmin=-1, vmax=1, linewidths=0.5, ax=ax, cbar_kws={"label": "rank correlation"})
    rows: Iterable[Any] = frame.itertuples()
    for row in rows:
        place = names.index(row.first) + 0.5, names.index(row.second) - 0.5
        spread = f"\n{row.lowest:.2f} to {row.highest:.2f}" if row.sets > 1 else ""
        colour = "white" if abs(row.correlation) > 0.6 else "black"
        text = f"{row.correlation:.2f}{spread}" if pd.notna(row.correlation) else MISSING
        ax.text(*place, text, ha="center", va="center", fontsize=6, color=colour)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(labelsize=7, length=0, rotation=0)
    ax.tick_params(axis="x", rotation=45)
    least, most = int(frame.sets.min()), int(frame.sets.max())
    models = f"{most} model{'s' if most > 1 else ''}" if least == most else f"{least} to {most} models a pair"
    figure.suptitle(f"How alike the orders are ({models})", x=0.01, ha="left", fontsize=9)
    return figure
