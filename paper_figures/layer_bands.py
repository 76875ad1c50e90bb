"""The angle's rank correlation with the gradient norm by layer, a panel a control, a curve a site, with simultaneous bands."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.real_signal.layers import STATISTICS
from analysis.real_signal.prediction import TARGETS
from analysis.real_signal.report import SITES
from paper_figures import style

COLUMNS = ["panel", "curve", "layer", "value", "low", "high", "band_low", "band_high", "n"]


def data(layers: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS`, of one set, loss and choice of weights in `analysis.real_signal.layers.by_layer`."""
    angle = layers[layers.feature == "angle"]
    order = {statistic: place for place, statistic in enumerate(STATISTICS)}
    angle = angle.sort_values("statistic", key=lambda names: names.map(order), kind="stable")
    return angle.assign(panel=angle.statistic, curve=angle.site.map(SITES))[COLUMNS]


def data_against_last(against: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS`, of `analysis.real_signal.prediction.against_last`: how much a layer's R² is above the last layer's."""
    return against.assign(panel=against.target.map(TARGETS), curve="lead over the last layer")[COLUMNS]


def plot(frame: pd.DataFrame, *, title: str, ylabel: str = "rank correlation") -> Figure:
    """Bands are simultaneous; bars, of the first curve and of a site of one layer, are the intervals of a layer alone."""
    style.use()
    names, curves = list(dict.fromkeys(frame.panel)), list(dict.fromkeys(frame.curve))
    layers = (float(frame.layer.min()) - 0.5, float(frame.layer.max()) + 0.5)
    low, high = (np.nanquantile(frame[["low", "high", "band_low", "band_high"]], end) for end in (0, 1))
    margin = 0.05 * (high - low)
    limits = layers, (float(min(low, 0) - margin), float(max(high, 0) + margin))
    figure, axes = style.panels(len(names), height=1.7, limits=limits, words="layer")
    colours = style.colours(curves)
    for ax, name in zip(axes, names, strict=True):
        ax.axhline(0, color="0.6", lw=0.8, zorder=0)
        for curve in curves:
            mine = frame[(frame.panel == name) & (frame.curve == curve)].sort_values("layer")
            _curve(ax, mine, curve, colours[curve], bars=curve == curves[0] or len(mine) == 1)
        style.panel_title(ax, name)
    axes[0].set_ylabel(ylabel)
    fewest, most = int(frame.n.min()), int(frame.n.max())
    problems = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    figure.suptitle(f"{title} ({problems} problems)", x=0.01, ha="left", fontsize=9)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7.5,
        title="shaded: 95 % for all layers together; bars: for one alone", title_fontsize=7.5,
    )  # fmt: skip
    return figure


def _curve(ax: Axes, frame: pd.DataFrame, name: str, colour: tuple[float, float, float], *, bars: bool) -> None:
    if bars:
        reach = [(frame.value - frame.low).clip(lower=0), (frame.high - frame.value).clip(lower=0)]
        ax.errorbar(frame.layer, frame.value, reach, fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.7)
    ax.plot(frame.layer, frame.value, color=colour, lw=1.1, marker="o", ms=2 if len(frame) > 1 else 4, label=name)
    ax.fill_between(frame.layer, frame.band_low, frame.band_high, color=colour, alpha=0.15, lw=0)
