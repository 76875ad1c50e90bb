"""Does the angle predict what matters to a schedule, beside what costs nothing to know?

Cross-validated linear models of ranks: every number is replaced by its rank among the problems that the model is fitted on,
kinds by indicators, the target by its rank. R^2 is out of fold,

    R^2 = 1 - sum_i (y_i - prediction_i)^2 / sum_i (y_i - mean of y in the other folds)^2,

so that a feature that says nothing has an R^2 of about 0 or a little less. Intervals: percentile bootstrap over problems of
their out-of-fold errors, the models being as they were fitted.

Shapes: R samples (row 0 the data, the others its resamples), N problems, M models, K columns of a model.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from analysis.angle_gradient.bands import pointwise, simultaneous
from analysis.angle_gradient.resampling import Floats, counts
from gainrl.errors import InputError
from gainrl.rng import generator

TARGETS = {
    "variance": "p(1-p)",
    "gradient": "GRPO gradient norm",
    "pass_rate": "pass rate p",
}
DECIDING = ("variance", "gradient")
"""Of them, those that say whether another layer would order better: a pass rate alone says nothing about that."""
FEATURES = {
    "angle": "angle",
    "question_tokens": "question length",
    "difficulty": "level",
    "kind": "kind",
    "question_logp": "log-probability of the question",
    "first_entropy": "entropy of the first token",
    "completion_entropy": "entropy of the first 8 tokens",
}
WITHOUT, WITH, ADDED = "all without angle", "all with angle", "what the angle adds"
COLUMNS = ("target", "features", "value", "low", "high", "n")
AGAINST_LAST = ("target", "layer", "alone", "value", "low", "high", "band_low", "band_high", "n")


def predictions(
    features: pd.DataFrame, targets: pd.DataFrame, *, folds: int = 10, seed: int = 0, resamples: int = 1000
) -> pd.DataFrame:
    """R^2 of each feature alone, of all without the angle and with it, and of the difference: a row a (target, features).

    Args:
        features: by problem; those of `FEATURES` that it has, one of them ``angle``. One that is missing somewhere or the same
            everywhere is left out.
        targets: `TARGETS` by problem; one that is the same everywhere is left out.
    """
    usable = [name for name in FEATURES if name in features and _varies(features[name])]
    others = [name for name in usable if name != "angle"]
    models = {FEATURES[name]: [name] for name in usable} | {WITHOUT: others, WITH: [*others, "angle"]}
    models = {name: columns for name, columns in models.items() if columns and set(columns) <= set(usable)}
    rows = []
    for target in (name for name in TARGETS if _varies(targets[name])):
        errors = {
            name: out_of_fold(features[columns], targets[target], folds, seed) for name, columns in models.items()
        }
        shares_RM = _shares(errors, len(features), seed, resamples)
        names = [*models]
        if {WITHOUT, WITH} <= models.keys():
            added_R = shares_RM[:, names.index(WITH)] - shares_RM[:, names.index(WITHOUT)]
            shares_RM, names = np.column_stack([shares_RM, added_R]), [*names, ADDED]
        own = pointwise(shares_RM[1:])
        rows += [
            [target, name, value, low, high, len(features)]
            for name, value, low, high in zip(names, shares_RM[0], own.low, own.high, strict=True)
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def against_last(
    angles: pd.DataFrame, targets: pd.DataFrame, *, folds: int = 10, seed: int = 0, resamples: int = 1000
) -> pd.DataFrame:
    """R^2 of the angle alone at each layer (``alone``), and how much it is above the last layer's (``value``).

    Bands hold over all layers but the last together, so that the best one may be picked by looking. `AGAINST_LAST`.

    Args:
        angles: by problem, a column a layer.
        targets: `TARGETS` by problem.
    """
    tables, last = [], max(angles.columns)
    for target in (name for name in TARGETS if _varies(targets[name])):
        errors = {layer: out_of_fold(angles[[layer]], targets[target], folds, seed) for layer in angles}
        shares_RL = _shares(errors, len(angles), seed, resamples)
        alone = pd.DataFrame({"layer": [*errors], "alone": shares_RL[0]}).astype({"layer": int})
        above_RL = shares_RL - shares_RL[:, [[*errors].index(last)]]
        own, band = pointwise(above_RL[1:]), simultaneous(above_RL[0], above_RL[1:])
        limits = {"low": own.low, "high": own.high, "band_low": band.low, "band_high": band.high}
        table = alone.assign(target=target, value=above_RL[0], n=len(angles), **limits)
        tables.append(table[table.layer != last])
    return (
        pd.concat(tables, ignore_index=True)[list(AGAINST_LAST)] if tables else pd.DataFrame(columns=list(AGAINST_LAST))
    )


def out_of_fold(features: pd.DataFrame, target: pd.Series, folds: int, seed: int) -> Floats:
    """Squared errors of the model, and of the mean alone, for each problem when its fold is left out: (2, N).

    Raises InputError: there are fewer than two problems a fold.
    """
    if len(features) < 2 * folds:
        raise InputError(f"{len(features)} problems are too few for {folds} folds; at least {2 * folds} are needed")
    y_N, errors_2N = rankdata(target) / len(target), np.empty((2, len(features)))
    for held in np.array_split(generator(seed, "folds").permutation(len(features)), folds):
        fitted = np.setdiff1d(np.arange(len(features)), held)
        design_NK = _design(features, fitted)
        weights_K = np.linalg.lstsq(design_NK[fitted], y_N[fitted], rcond=None)[0]
        errors_2N[0, held] = (y_N[held] - design_NK[held] @ weights_K) ** 2
        errors_2N[1, held] = (y_N[held] - y_N[fitted].mean()) ** 2
    return errors_2N


def _design(features: pd.DataFrame, fitted: NDArray[np.intp]) -> Floats:
    """A constant, each number's midrank among the fitted problems as a share of them, an indicator of each kind but one."""
    columns = [np.ones(len(features))]
    for name in features:
        values = features[name]
        if pd.api.types.is_numeric_dtype(values):
            known, all_N = np.sort(values.to_numpy(dtype=float)[fitted]), values.to_numpy(dtype=float)
            midrank_N = (np.searchsorted(known, all_N) + np.searchsorted(known, all_N, side="right")) / 2
            columns.append(midrank_N / len(fitted))
        else:
            columns += [(values == kind).to_numpy(dtype=float) for kind in sorted(set(values))[1:]]
    return np.column_stack(columns)


def _shares(errors: Mapping[Any, Floats], size: int, seed: int, resamples: int) -> Floats:
    """R^2 of each model in each sample, (R, M)."""
    counts_RN = counts(size, seed, resamples)
    own_NM, mean_NM = (np.column_stack([error_2N[which] for error_2N in errors.values()]) for which in (0, 1))
    return np.asarray(1 - (counts_RN @ own_NM) / (counts_RN @ mean_NM))


def _varies(values: pd.Series) -> bool:
    return bool(values.notna().all()) and len(set(values)) > 1


def complete_targets(problems: pd.DataFrame, gradients: pd.DataFrame) -> pd.DataFrame:
    """`TARGETS` by problem_id, from a set's tables: pass rate, its variance, and the norm of the GRPO loss's gradient."""
    grpo = gradients[gradients.loss == "grpo"].drop_duplicates("problem_id").set_index("problem_id").gradient_model
    rate = problems.set_index("problem_id").pass_rate
    return pd.DataFrame({"variance": rate * (1 - rate), "gradient": grpo, "pass_rate": rate}).reindex(rate.index)


def feature_table(
    problems: pd.DataFrame, angle: "pd.Series[float]", names: Sequence[str] = tuple(FEATURES)
) -> pd.DataFrame:
    """`FEATURES` by problem_id, with the angle of one layer and site."""
    table = problems.set_index("problem_id").assign(angle=angle)
    return table[[name for name in names if name in table]]
