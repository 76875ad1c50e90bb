"""Which part of the order was trained when: the ranks of the drawn problems over the epochs, and mu."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.runs import Runs
from gainrl.runs.experiment import Experiment
from paper_figures import style

RIBBONS = {0.90: 0.2, 0.50: 0.35}
"""Share of the drawn problems -> opacity of its ribbon."""


def data(experiment: Experiment, runs: Runs) -> pd.DataFrame:
    """Columns cell, schedule (its label), epoch, quantile, rank (of the problems that all seeds drew), mu, seeds.

    No rows where no schedule has an order.
    """
    drawn = runs.draws.dropna(subset="rank").astype({"rank": float})
    tails = sorted({0.5, *((1 - share) / 2 for share in RIBBONS), *((1 + share) / 2 for share in RIBBONS)})
    ranks = (
        drawn.groupby(["cell", "epoch"])["rank"].quantile(np.array(tails)).rename_axis(["cell", "epoch", "quantile"])
    )
    training = runs.training
    mu = training.groupby(["cell", "epoch"]).mu.mean() if "mu" in training else pd.Series(dtype=float, name="mu")
    frame = ranks.reset_index()
    keys = pd.MultiIndex.from_frame(frame[["cell", "epoch"]])
    return frame.assign(
        schedule=frame.cell.map(experiment.labels),
        mu=mu.reindex(keys).to_numpy() if len(mu) else float("nan"),
        seeds=frame.cell.map(drawn.groupby("cell").seed.nunique()),
    )


def plot(experiment: Experiment, frame: pd.DataFrame) -> Figure:
    """A panel a cell: median and the middle 50 and 90 % of the drawn ranks, mu dashed."""
    style.use()
    cells = [cell for cell in experiment.labels if cell in set(frame.cell)]
    limits = (0, frame.epoch.max()), (0, frame["rank"].max())
    figure, axes = style.panels(len(cells), height=1.7, limits=limits, words="epoch")
    for ax, cell in zip(axes, cells, strict=True):
        _ribbons(ax, frame[frame.cell == cell])
        style.panel_title(ax, experiment.labels[cell])
    figure.supylabel("rank of drawn problems", fontsize=8)
    seeds = style.count(int(frame.seeds.min()), int(frame.seeds.max()))
    figure.suptitle(f"What was trained when ({seeds})", x=0.01, ha="left", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    return figure


def _ribbons(ax: Axes, frame: pd.DataFrame) -> None:
    wide = frame.pivot_table(index="epoch", columns="quantile", values="rank")
    quantiles, ranks = wide.columns.to_numpy(dtype=float), wide.to_numpy()
    colour = sns.color_palette("colorblind")[0]
    for share, alpha in RIBBONS.items():
        low, high = (ranks[:, int(np.abs(quantiles - end).argmin())] for end in ((1 - share) / 2, (1 + share) / 2))
        ax.fill_between(
            wide.index, low, high, color=colour, alpha=alpha, lw=0, label=f"middle {share:.0%} of the problems"
        )
    ax.plot(wide.index, wide[0.5], color=colour, lw=1.2, label="median")
    mu = frame.drop_duplicates("epoch")
    ax.plot(mu.epoch, mu.mu, color="black", ls="--", lw=1, label="mu, mean over seeds")
