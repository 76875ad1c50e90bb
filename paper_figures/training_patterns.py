"""What training does: the concentration of all problems over the steps, and which problems are learnt when.

The frame that goes in is that of `gainrl.patterns.trace`: a row a (step, problem_id), correct is 0 or 1.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from analysis.angle_gradient import FEWEST, Estimate, spearman
from gainrl.stats import summarize
from paper_figures import style

QUARTERS = ("highest quarter", "second quarter", "third quarter", "lowest quarter")
PARTS = {"c_intra": "C_intra", "c_inter": "C_inter", "neuron_agreement": "neuron agreement"}
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
    """Means with 95 % bootstrap intervals over problems; every panel has a scale of its own."""
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
    axes["accuracy"].get_legend().remove()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=4,
        fontsize=7.5,
        title="means; problems by their angle at the first step; bands: 95 % bootstrap intervals over problems",
        title_fontsize=7.5,
    )
    figure.suptitle(f"{title} ({frame.problem_id.nunique():,} problems)", x=0.01, ha="left", fontsize=10)
    return figure


def summary(frame: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Columns quantity, value, low, high, n: what `words` says, with 95 % bootstrap intervals over problems.

    - ``rise of c_intra``, ``rise of c_inter``, ``rise of neuron_agreement``: mean over problems of last step minus first
      step, paired
    - ``angle and step solved``: Spearman of the angle at the first step with `solved_for_good`
    - ``neuron_agreement and step solved``: Spearman of the agreement at the last step with it

    A quantity that cannot be had (one step, under ten problems, all solved at the same step, no neurons) has no row.
    """
    rows = []
    for part in PARTS:
        wide = frame.pivot_table(index="problem_id", columns="step", values=part)
        rise = (wide.iloc[:, -1] - wide.iloc[:, 0]).dropna().tolist() if wide.shape[1] > 1 else []
        if len(rise) >= FEWEST:
            mean = summarize(_jackknifed(rise) if part == "neuron_agreement" else rise, seed=seed)
            rows.append((f"rise of {part}", mean.mean, mean.low, mean.high, mean.seeds))
    agreement = frame[frame.step == frame.step.max()].set_index("problem_id").neuron_agreement.dropna()
    for name, values in {"angle": initial_angle(frame), "neuron_agreement": agreement}.items():
        pair = pd.DataFrame({"angle": values, "solved": solved_for_good(frame)}).dropna()
        for found in spearman(pair.sort_index(), seed=seed).itertuples():
            rows.append((f"{name} and step solved", found.value, found.low, found.high, found.n))
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high", "n"])


def words(summary: pd.DataFrame) -> str:
    """One sentence that the numbers decide."""
    found = {row.quantity: Estimate(row.value, row.low, row.high, row.n) for row in summary.itertuples()}
    clauses = []
    for part, name in PARTS.items():
        if rise := found.get(f"rise of {part}"):
            moves = {1: "rises", -1: "falls", 0: "cannot be told to move"}[rise.sign]
            interval = f"{rise.value:+.2g} [{rise.low:+.2g}, {rise.high:+.2g}]"
            clauses.append(f"{name} {moves} from the first step to the last ({interval}, {rise.n:,} problems)")
    for name, what, step in (("angle", "angle", "first"), ("neuron_agreement", "neuron agreement", "last")):
        if order := found.get(f"{name} and step solved"):
            when = {-1: "earlier", 1: "later", 0: "neither earlier nor later, as far as can be told"}[order.sign]
            clauses.append(
                f"problems of higher {what} at the {step} step are solved for good {when} "
                f"(rank correlation of {what} and step {order}, {order.n:,} problems)"
            )
    return "; ".join(clauses) + "." if clauses else "Nothing can be said."


def _jackknifed(agreement: list[float]) -> list[float]:
    """Pseudo-values of a mean over pairs of problems from each problem's mean over its pairs: the mean is the same, their
    spread is that of the pairs' mean, in which every problem counts twice (Hoeffding 1948, Ann. Math. Stat. 19:293)."""
    values = np.asarray(agreement)
    return (2 * values - values.mean()).tolist()


def solved_for_good(frame: pd.DataFrame) -> pd.Series:
    """By problem_id, the first step from which the problem stays solved; one after the last step where there is none."""
    graded = frame.dropna(subset="correct")
    steps = np.sort(graded.step.unique())
    last_wrong = graded.step.where(graded.correct == 0).groupby(graded.problem_id).max().fillna(-np.inf)
    after = np.append(steps, steps[-1] + 1)[np.searchsorted(steps, last_wrong, side="right")]
    return pd.Series(after, index=last_wrong.index)


def initial_angle(frame: pd.DataFrame) -> pd.Series:
    """By problem_id, the angle at the first step."""
    return frame[frame.step == frame.step.min()].set_index("problem_id")["angle"].dropna()


def _quarters(angle: pd.Series) -> pd.Series:
    return pd.qcut(angle.sort_index().rank(method="first"), 4, labels=QUARTERS[::-1]).astype(str)
