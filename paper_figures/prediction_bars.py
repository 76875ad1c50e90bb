"""What predicts what matters to a schedule: out-of-fold R² of each feature alone, of all without the angle and with it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.real_signal.prediction import ADDED, TARGETS, WITH, WITHOUT
from paper_figures import style


def data(predictions: pd.DataFrame) -> pd.DataFrame:
    """Columns panel, features, value, low, high, n: `analysis.real_signal.prediction.predictions` by target's name in print."""
    return predictions.assign(panel=predictions.target.map(TARGETS)).drop(columns="target")


def plot(frame: pd.DataFrame, *, title: str = "What predicts what matters to a schedule") -> Figure:
    """A panel a target, a bar a model; what the angle adds comes last."""
    style.use()
    panels, names = list(dict.fromkeys(frame.panel)), list(dict.fromkeys(frame.features))
    figure, axes = plt.subplots(
        1, len(panels), figsize=(style.COLUMN_INCHES, 1.2 + 0.2 * len(names)), sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    single, together, added = style.colours(["single", "together", "added"]).values()
    for ax, panel in zip(axes[0], panels, strict=True):
        mine = frame[frame.panel == panel].set_index("features").reindex(names)
        shades = [added if name == ADDED else together if name in (WITH, WITHOUT) else single for name in names]
        reach = np.maximum(0, [mine.value - mine.low, mine.high - mine.value])
        ax.barh(range(len(names)), mine.value, xerr=reach, color=shades, height=0.7, error_kw={"elinewidth": 0.8})
        ax.axvline(0, color="0.4", lw=0.8)
        ax.set(yticks=range(len(names)), yticklabels=names, xlabel="out-of-fold R²")
        ax.tick_params(labelsize=7)
        style.panel_title(ax, panel)
    axes[0, 0].invert_yaxis()
    figure.suptitle(f"{title} ({frame.n.max():,} problems)", x=0.01, ha="left", fontsize=9)
    return figure
