"""What training does: the concentration of all problems over the steps, and which problems are learnt when.

The frame that goes in is that of `gainrl.studies.patterns.trace`: a row a (step, problem_id), correct is 0 or 1.
What the numbers say is in `analysis.patterns`.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.patterns import PARTS, initial_angle
from paper_figures import style

QUARTERS = ("highest quarter", "second quarter", "third quarter", "lowest quarter")
ENDS = {True: "solved at the end", False: "wrong at the end"}


def data(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns panel (`PARTS` | accuracy), step, problem_id, quarter (of the angle at the first step), end (`ENDS`), y."""
    long = frame.rename(columns={"correct": "accuracy"}).melt(
        ["step", "problem_id"], [*PARTS, "accuracy"], var_name="panel", value_name="y"
    )
    long["y"] = long.y.astype(float) * np.where(long.panel == "accuracy", 100, 1)
    quarter = _quarters(initial_angle(frame))
    last = frame[frame.step == frame.step.max()].set_index("problem_id")
    end = last.correct.dropna().astype(bool).map(ENDS)
    long = long.assign(quarter=long.problem_id.map(quarter), end=long.problem_id.map(end))
    return long.dropna(subset="y")[["panel", "step", "problem_id", "quarter", "end", "y"]]


def plot(frame: pd.DataFrame, *, title: str = "Concentration and learning") -> Figure:
    """Means with 95 % intervals over problems; every panel has a scale of its own."""
    style.use()
    parts = [part for part in PARTS if (frame.panel == part).any()]  # a model may have no neurons that can be read
    figure, axes = plt.subplot_mosaic(
        [[part, "accuracy"] for part in parts], figsize=(style.COLUMN_INCHES, 4.4), layout="constrained"
    )
    colours = style.colours([*PARTS, *ENDS.values()])
    common = {"x": "step", "y": "y", "errorbar": ("ci", 95), "seed": 0, "marker": "o", "ms": 3, "markeredgewidth": 0}
    ends = [*ENDS.values()]
    split = {"hue": "end", "hue_order": ends, "palette": colours, "style": "end", "style_order": ends}
    for part in parts:
        how = split if part == "neuron_agreement" else {"color": colours[part]}
        sns.lineplot(frame[frame.panel == part], **common, **how, ax=axes[part])
        axes[part].set(xlabel="", ylabel=PARTS[part].replace(" ", "\n"))
        axes[part].tick_params(labelbottom=part == parts[-1])
    axes[parts[-1]].set_xlabel("optimizer step")
    if "neuron_agreement" in parts:
        axes["neuron_agreement"].legend(
            title=None, fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), borderaxespad=0
        )
    accuracy = frame[frame.panel == "accuracy"].dropna(subset="quarter")
    sns.lineplot(
        accuracy,
        **common,
        hue="quarter",
        hue_order=QUARTERS,
        palette=sns.color_palette("viridis_r", 4),
        ax=axes["accuracy"],
    )
    axes["accuracy"].set(xlabel="optimizer step", ylabel="accuracy, greedy (%)")
    handles, labels = axes["accuracy"].get_legend_handles_labels()
    if legend := axes["accuracy"].get_legend():
        legend.remove()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        fontsize=7.5,
        title="means; problems by their angle at the first step; bands: 95 % intervals over problems",
        title_fontsize=7.5,
    )
    figure.suptitle(f"{title} ({frame.problem_id.nunique():,} problems)", x=0.01, ha="left", fontsize=10)
    return figure


def _quarters(angle: pd.Series) -> pd.Series:
    return pd.qcut(angle.sort_index().rank(method="first"), 4, labels=QUARTERS[::-1]).astype(str)
