"""What an order adds: the same schedule over a random order is the control that shares everything else with it."""

import pandas as pd

from analysis.comparison import compare
from analysis.runs import Runs
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Experiment

Controls = list[tuple[Experiment, pd.DataFrame]]
"""For each control the experiment of it (the baseline) and its like, and their comparison"""


def against_control(experiment: Experiment, runs: Runs) -> Controls:
    """For each control with finished runs, the comparison with it.

    Alike are cells that differ from the control by the order alone. Holm's adjustment is over these cells.
    """
    result = []
    for control, run in experiment.cells.items():
        if run.schedule.order != "random" or not runs[control]:
            continue
        alike = {name: other for name, other in experiment.cells.items() if runs[name] and _reordered(other) == run}
        if len(alike) > 1:
            direct = experiment.model_copy(update={"cells": alike, "baseline": control, "labels": {
                name: label for name, label in experiment.labels.items() if name in alike
            }, "asked_in": {name: asking for name, asking in experiment.asked_in.items() if name in alike}})  # fmt: skip
            result.append((direct, compare(direct, runs.only(alike))))
    return result


def _reordered(run: RunConfig) -> RunConfig:
    return run.model_copy(update={"schedule": run.schedule.model_copy(update={"order": "random"})})
