"""What training does to the angle and to the problems: of one run, over problems; of several, over seeds.

``python -m analysis.patterns FOLDER`` puts measurements of several seeds together.

The frame that goes in is that of `gainrl.studies.patterns.trace`: a row a (step, problem_id), correct is 0 or 1.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.angle_gradient import FEWEST, Estimate, spearman
from gainrl.columns import Column, Rows, read_csv
from gainrl.errors import InputError
from gainrl.files import write_text
from gainrl.statistics import summarize

PARTS = {"c_intra": "C_intra", "c_inter": "C_inter", "neuron_agreement": "neuron agreement"}
"""Column -> its name in print."""
SUMMARY = {"quantity": Column("text"), "value": Column()}
"""What is read of a summary.csv."""


def over_seeds(folder: Path) -> str:
    """What the summaries of ``folder``'s measurements <cell>-seed-<k> say together: a row a (cell, quantity), in Markdown.

    They are in a summary.csv each, or in one that holds all, as they are published. Writes summary.md beside them.
    """
    found = pd.concat(_summaries(folder), ignore_index=True)
    named = found.measurement.str.extract(r"^(?P<cell>.+)-seed-(?P<seed>\d+)$").astype({"seed": int})
    rows = []
    for (cell, quantity), group in (
        found.join(named).sort_values("seed", kind="stable").groupby(["cell", "quantity"], sort=False)
    ):
        mean = summarize(group.value.tolist())
        interval = "" if mean.low is None else f" [{mean.low:+.2g}, {mean.high:+.2g}]"
        single = ", ".join(f"{value:+.2g}" for value in group.value)
        rows.append((cell, quantity, f"{mean.mean:+.2g}{interval}", single))
    table = pd.DataFrame(rows, columns=["cell", "quantity", "mean [95 % interval over seeds]", "each seed"])
    table = table.sort_values("cell", kind="stable")
    text = f"# Along training, over seeds\n\n{table.to_markdown(index=False, disable_numparse=True)}\n"
    write_text(folder / "summary.md", text)
    return text


def _summaries(folder: Path) -> list[pd.DataFrame]:
    if (published := folder / "summary.csv").exists():
        return [read_csv(published, Rows({**SUMMARY, "measurement": Column("text")}))]
    paths = sorted(folder.glob("*-seed-*/summary.csv"))
    if not paths:
        raise InputError(f"{folder} holds no summary.csv; gainrl patterns and gainrl reproduce patterns write them")
    return [read_csv(path, Rows(SUMMARY)).assign(measurement=path.parent.name) for path in paths]


def summary(frame: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
    """Columns quantity, value, low, high, n: what `words` says, with 95 % intervals over problems.

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
            low, high = (mean.mean if end is None else end for end in (mean.low, mean.high))  # where all rise alike
            rows.append((f"rise of {part}", mean.mean, low, high, mean.seeds))
    agreement = frame[frame.step == frame.step.max()].set_index("problem_id").neuron_agreement.dropna()
    for name, values in {"angle": initial_angle(frame), "neuron_agreement": agreement}.items():
        pair = pd.DataFrame({"angle": values, "solved": solved_for_good(frame)}).dropna()
        found: Any
        for found in spearman(pair.sort_index(), seed=seed).itertuples():
            rows.append((f"{name} and step solved", found.value, found.low, found.high, found.n))
    return pd.DataFrame(rows, columns=["quantity", "value", "low", "high", "n"])


def words(summary: pd.DataFrame) -> str:
    """One sentence that the numbers decide."""
    rows: Iterable[Any] = summary.itertuples()
    found = {row.quantity: Estimate(row.value, row.low, row.high, row.n) for row in rows}
    clauses = []
    for part, name in PARTS.items():
        if rise := found.get(f"rise of {part}"):
            moves = {1: "rises", -1: "falls", 0: "does not move significantly"}[rise.sign]
            interval = f"{rise.value:+.2g} [{rise.low:+.2g}, {rise.high:+.2g}]"
            clauses.append(f"{name} {moves} from the first step to the last ({interval}, {rise.n:,} problems)")
    for name, what, step in (("angle", "angle", "first"), ("neuron_agreement", "neuron agreement", "last")):
        if order := found.get(f"{name} and step solved"):
            when = {-1: "earlier", 1: "later", 0: "neither significantly earlier nor later"}[order.sign]
            clauses.append(
                f"problems of higher {what} at the {step} step are solved for good {when} "
                f"(rank correlation of {what} and step {order}, {order.n:,} problems)"
            )
    return "; ".join(clauses) + "." if clauses else "Nothing can be said."


def _jackknifed(agreement: list[float]) -> list[float]:
    """Pseudo-values of a mean over pairs of problems from each problem's mean over its pairs: the mean is the same, their
    spread is that of the pairs' mean, in which every problem counts twice (Hoeffding 1948, Ann. Math. Stat. 19:293)."""
    values = np.asarray(agreement)
    pseudo: list[float] = (2 * values - values.mean()).tolist()
    return pseudo


def solved_for_good(frame: pd.DataFrame) -> pd.Series:
    """By problem_id, the first step from which the problem stays solved; one after the last step where there is none."""
    graded = frame.dropna(subset="correct")
    steps = np.sort(graded.step.unique())
    last_wrong = graded.step.where(graded.correct == 0).groupby(graded.problem_id).max().fillna(-np.inf)
    after = np.append(steps, steps[-1] + 1)[np.searchsorted(steps, last_wrong, side="right")]
    return pd.Series(after, index=last_wrong.index)


def initial_angle(frame: pd.DataFrame) -> pd.Series:
    """By problem_id, the angle at the first step."""
    angle: pd.Series = frame[frame.step == frame.step.min()].set_index("problem_id")["angle"]
    return angle.dropna()


if __name__ == "__main__":
    print(over_seeds(Path(sys.argv[1])))
