"""One comparison over several models: each (model, seed) is a pair, so that a few seeds a model are many pairs together."""

import pandas as pd

from analysis.comparison import compare
from analysis.control import Controls, against_control
from analysis.runs import Runs
from gainrl.runs.experiment import Experiment


def pooled(experiment: Experiment, runs: Runs) -> tuple[Experiment, pd.DataFrame, Controls] | None:
    """The comparison of an experiment's schedules over all of its models, and with their control.

    None for one model, and where the models do not train on the same set.

    The cells of the returned experiment are the schedules, its "seeds" the (model, seed) pairs. Where neither schedule is
    better, each pair may as well have been the other way round, whatever its model and problems are: the sign-flip test
    holds. Pairs of one seed share their problems, which the interval does not know.
    """
    runs_of = experiment.cells.values()
    if len({run.model.name for run in runs_of}) < 2 or len({run.problems.train for run in runs_of}) > 1:
        return None
    cells: dict[str, str] = {}  # the first cell of each schedule
    for cell, run in experiment.cells.items():
        cells.setdefault(run.schedule.model_dump_json(), cell)
    members = Runs({first: {} for first in cells.values()})
    number: dict[tuple[str, int], int] = {}
    for cell, run in experiment.cells.items():
        for seed, record in runs[cell].items():
            pair = number.setdefault((run.model.name, seed), len(number))
            members[cells[run.schedule.model_dump_json()]][pair] = record
    firsts = list(members)
    baseline = cells[experiment.cells[experiment.baseline].schedule.model_dump_json()]
    labels = {cell: experiment.labels[cell].rpartition(", ")[2] for cell in firsts}
    together = experiment.model_copy(
        update={
            "cells": {cell: experiment.cells[cell] for cell in firsts},
            "labels": labels,
            "baseline": baseline,
            "asked_in": {},
        }
    )
    return together, compare(together, members), against_control(together, members)
