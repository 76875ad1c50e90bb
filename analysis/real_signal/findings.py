"""All that a study's measurements say: tables over its sets, and the two answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from analysis.real_signal.layers import by_layer
from analysis.real_signal.orders import order_correlations, sort_keys
from analysis.real_signal.prediction import DECIDING, against_last, complete_targets, feature_table, predictions
from analysis.real_signal.words import another_layer, correlation_holds
from gainrl.errors import InputError
from gainrl.runs.study import Study

if TYPE_CHECKING:
    from gainrl.studies.real_signal import MeasuredSet


@dataclass(frozen=True)
class Findings:
    """``layers`` and ``orders`` have a column ``set``; ``last`` is the layer that the paper reads."""

    layers: pd.DataFrame
    predictions: pd.DataFrame
    against_last: pd.DataFrame
    orders: pd.DataFrame
    last: int
    answers: tuple[str, str]


def findings(study: Study, sets: Mapping[str, "MeasuredSet"]) -> Findings:
    """Raises InputError: a set has too few problems for the cross-validation."""
    site, seeds = study.sites[0], {"seed": study.seed, "resamples": study.resamples}
    few = [name for name, measured in sets.items() if len(measured.problems) < 2 * study.folds]
    if few:
        raise InputError(f"{few[0]} has {len(sets[few[0]].problems)} problems; at least {2 * study.folds} are needed")
    by_set = {name: by_layer(measured.angles, measured.gradients, **seeds) for name, measured in sets.items()}
    scheduled = sets[study.scheduled]
    mine = scheduled.angles[scheduled.angles.site == site]
    wide = mine.pivot_table(index="problem_id", columns="layer", values="angle", aggfunc="first")
    last = int(max(wide.columns))
    targets = complete_targets(scheduled.problems, scheduled.gradients).loc[wide.index]
    features = feature_table(scheduled.problems, wide[last]).loc[wide.index]
    against = against_last(wide, targets, folds=study.folds, **seeds)
    orders = [
        order_correlations(sort_keys(measured.problems, measured.angles, site, best_layers(against)), **seeds).assign(
            set=name
        )
        for name, measured in sets.items()
    ]
    titles = {name: measurement.title for name, measurement in study.measurements.items()}
    answers = correlation_holds(by_set, titles, study.primary, last), another_layer(against, last)
    return Findings(
        pd.concat([table.assign(set=name) for name, table in by_set.items()], ignore_index=True),
        predictions(features, targets, folds=study.folds, **seeds),
        against,
        pd.concat(orders, ignore_index=True),
        last,
        answers,
    )


def best_layers(against: pd.DataFrame) -> tuple[int, ...]:
    """The layer that leads the last by most, for each deciding target."""
    leaders = [
        rows.layer.iloc[int(rows["value"].to_numpy().argmax())]
        for target, rows in against.groupby("target")
        if target in DECIDING
    ]
    return tuple(sorted({int(layer) for layer in leaders}))
