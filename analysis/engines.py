"""The same cells trained by TRL and by verl, side by side."""

import numpy as np
import pandas as pd

from analysis.runs import Runs
from gainrl.errors import InputError
from gainrl.runs.experiment import Experiment
from gainrl.runs.records import RunRecord
from gainrl.statistics import reached

FIRST = 10
"""Training steps whose accuracies are compared one by one: later the runs have gone ways of their own."""


def side_by_side(experiment: Experiment, by_trl: Runs, by_verl: Runs) -> pd.DataFrame:
    """A row a cell, seed and engine: the held-out accuracy at the start and at the end, the first step at the primary target,
    seconds a step; beside verl's whether the start weights (warm-ups round differently on other machines) and the first draw
    are the same, and the mean distance of the training accuracies of the first `FIRST` steps from TRL's.

    Raises InputError: no cell has a seed by both engines.
    """
    rows = []
    for cell in experiment.cells:
        for seed in sorted(set(by_trl.get(cell, {})) & set(by_verl.get(cell, {}))):
            pair = {"trl": by_trl[cell][seed], "verl": by_verl[cell][seed]}
            curves = {"trl": by_trl.headline, "verl": by_verl.headline}
            for engine, run in pair.items():
                curve = curves[engine].query("cell == @cell and seed == @seed")
                rows.append({"cell": cell, "seed": seed, "engine": engine, **_summary(experiment, run, curve)})
            rows[-1] |= _agreement(pair["trl"], pair["verl"])
    if not rows:
        raise InputError(f"no cell of {experiment.name} has a seed by both engines")
    return pd.DataFrame(rows)


def _summary(experiment: Experiment, run: RunRecord, curve: pd.DataFrame) -> dict[str, object]:
    found = reached(curve.accuracy, curve.step, experiment.primary_target)
    return {
        "accuracy at start, %": f"{100 * curve.accuracy.iloc[0]:.1f}",
        "accuracy at end, %": f"{100 * curve.accuracy.iloc[-1]:.1f}",
        f"steps to {100 * experiment.primary_target:g} %": f"{'>' if found.censored else ''}{found.at:.0f}",
        "seconds a step": f"{run.metrics().seconds.median():.2f}",
    }


def _agreement(trl: RunRecord, verl: RunRecord) -> dict[str, object]:
    first = [run.draws().query("epoch == 0").problem_id.tolist() for run in (trl, verl)]
    one, other = (run.metrics().accuracy.dropna().to_numpy()[:FIRST] for run in (trl, verl))
    models = [run.read_json("environment.json").get("inputs", {}).get("model") for run in (trl, verl)]
    return {
        "same start weights": "yes" if models[0] == models[1] else "no",
        "same first draw": "yes" if first[0] == first[1] else "no",
        f"distance in the first {FIRST} steps, points": f"{100 * np.abs(one - other).mean():.1f}",
    }


def markdown(table: pd.DataFrame) -> str:
    """The table as it stands in docs/verl_engine.md."""
    return str(table.fillna("").to_markdown(index=False, disable_numparse=True))
