"""What is learnt of each kind of problem, and how much of each is drawn, along training: which skill was trained when."""

from functools import cache

import numpy as np
import pandas as pd

from analysis.runs import RUN, Runs
from gainrl.problems import FAMILIES, load_problems
from gainrl.runs.records import RunRecord

PREFIX = "accuracy of "
"""What the metrics of kinds begin with in a run's evaluations."""
PARTS = 3
"""A run is told in so many parts."""


def accuracy_by_kind(runs: Runs) -> pd.DataFrame:
    """Held-out accuracy: columns cell, seed, benchmark, kind, step, accuracy. No rows where no benchmark has kinds."""
    of_kinds = runs.evaluations[runs.evaluations.metric.str.startswith(PREFIX)]
    named = of_kinds.assign(kind=of_kinds.metric.str.removeprefix(PREFIX)).rename(columns={"value": "accuracy"})
    return named[[*RUN, "benchmark", "kind", "step", "accuracy"]].reset_index(drop=True)


def at_parts(accuracy: pd.DataFrame) -> pd.DataFrame:
    """The same at the start of training and at the end of each of its `PARTS`: columns benchmark, cell, kind, step, accuracy.

    Mean over seeds; between two evaluations by a straight line.
    """
    steps = np.linspace(0, accuracy.step.max() if len(accuracy) else 0, PARTS + 1).round()
    rows = [
        {"benchmark": benchmark, "cell": cell, "kind": kind, "step": int(step), "accuracy": value}
        for (benchmark, cell, kind, _), curve in accuracy.groupby(["benchmark", "cell", "kind", "seed"], sort=False)
        for step, value in zip(steps, np.interp(steps, curve.step, curve.accuracy), strict=True)
    ]
    keys = ["benchmark", "cell", "kind", "step"]
    return pd.DataFrame(rows, columns=[*keys, "accuracy"]).groupby(keys, sort=False).accuracy.mean().reset_index()


def drawn_by_kind(runs: Runs) -> pd.DataFrame:
    """Shares of the drawn problems: columns train (the set), cell, kind, part (0, 1, ...), share. Mean over seeds.

    Of sets that the suite generates with kinds; no rows for others. A kind that a run never drew has the share 0 in it.
    """
    keys = ["train", "cell", "kind", "part"]
    named = pd.concat([_named(run).assign(cell=cell, seed=seed) for cell in runs for seed, run in runs[cell].items()])
    if named.empty:
        return pd.DataFrame(columns=[*keys, "share"])
    tables = [
        pd.crosstab([drawn.cell, drawn.seed, drawn.part], drawn.kind, normalize="index")
        .melt(value_name="share", ignore_index=False)
        .assign(train=train)
        for train, drawn in named.groupby("train", sort=False)
    ]
    return pd.concat(tables).groupby(keys, sort=False).share.mean().reset_index()


def _named(run: RunRecord) -> pd.DataFrame:
    """A row a drawn problem of a known kind: train, kind, part."""
    config, draws = run.config(), run.draws(columns=["epoch", "problem_id"])
    problems = config.problems
    kinds = _kinds(problems.train, config.seed, None if problems.sample else problems.train_size)
    parts = PARTS * draws.epoch // (draws.epoch.max() + 1)
    named = pd.DataFrame({"kind": draws.problem_id.map(kinds), "part": parts, "train": problems.train})
    return named.dropna(subset="kind")


@cache
def _kinds(train: str, seed: int, size: int | None) -> dict[str, str]:
    """Problem id -> kind, of a generated set that has kinds; of others nothing."""
    if train not in FAMILIES:
        return {}
    problems = load_problems(train, seed=seed, limit=size)
    pairs = zip(problems.ids, (problem.kind for problem in problems.problems), strict=True)
    return {problem_id: kind for problem_id, kind in pairs if kind is not None}
