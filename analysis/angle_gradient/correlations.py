"""Does a problem's angle concentration go with the size of its gradient, and what is left without lengths and difficulty?

Pure functions of a tidy frame ``measured``, one row a (problem, layer, loss): problem_id, layer, loss (`LOSSES`), the
`FEATURES`, and norms of the gradient of the sample's loss (`WEIGHTS`).

The losses are means over the tokens of a completion, so a long completion has a small gradient for that reason alone. Hence
its number of tokens is a control, and the gradient of the loss summed over tokens is looked at too: for the one completion
of the supervised loss it is the mean's times the number of tokens, exactly.

Shapes: R samples (row 0 the data, the others its resamples), N problems, K columns.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from analysis.angle_gradient.resampling import (
    FEWEST,
    Estimate,
    Floats,
    at_least_one,
    complete,
    correlation,
    counts,
    pairs,
    partial,
    products,
)
from gainrl.errors import InputError, unknown_name

LOSSES = {"supervised": "supervised loss", "grpo": "GRPO loss"}
LABELS = {
    "angle": "angle",
    "c_intra": "C_intra",
    "c_inter": "C_inter",
    "off_diagonal": "angle without i = j",
    "question_tokens": "question length",
    "difficulty": "difficulty",
    "completion_tokens": "completion tokens",
    "pass_rate": "pass rate",
}
FEATURES = tuple(LABELS)
ANGLES = FEATURES[:4]
WEIGHTS = {
    "model": "gradient_model",
    "layer": "gradient_layer",
    "projection": "gradient_projection",
    "model, summed over tokens": "gradient_sum",
}
PARTIALS = {
    "partial: log length": ("question_tokens",),
    "partial: difficulty": ("difficulty",),
    "partial: completion tokens": ("completion_tokens",),
    "partial: log length and difficulty": ("question_tokens", "difficulty"),
    "partial: log length, difficulty and completion tokens": ("question_tokens", "difficulty", "completion_tokens"),
}
"""What each partial rank correlation holds fixed, linearly in ranks: where ranks bend against each other, a trace of the
control is left, which ``within lengths`` is rid of. A length has the ranks of its logarithm."""
CONTROLS = ("question_tokens", "difficulty", "completion_tokens")
TENTHS = 10
STATISTICS = ("spearman", "pearson", *PARTIALS, "within levels", "within lengths")
COLUMNS = ("loss", "subset", "layer", "weights", "feature", "statistic", "value", "low", "high", "n")


def correlations(
    measured: pd.DataFrame, *, probed_layer: int, seed: int = 0, resamples: int = 1000, confidence: float = 0.95
) -> pd.DataFrame:
    """Long table of `COLUMNS`: the correlation of a feature with a gradient norm, its interval, n (problems used).

    Subset is ``all``, and ``non-zero`` (gradient above 0) where that is fewer. Statistics:

    - ``spearman``
    - ``pearson``: with the logarithm of the norm where no norm of the subset is 0, else with the norm itself
    - ``partial: ...``: partial rank correlation given `PARTIALS`; none for a control itself
    - ``level <d>``: Spearman among the problems of difficulty d
    - ``within levels``: the same pooled; ranks are taken, centred and divided by their number inside each such level
    - ``within lengths``: likewise inside tenths of the problems by question length

    The probed layer has them all. Any other has, for `ANGLES`, spearman and the partial ones.
    Intervals: percentile bootstrap over problems. A feature that is constant or missing everywhere has no row and costs no
    problem; of the other columns, only problems that have them all are used.

    Raises:
        InputError: a column is missing, a loss is unknown, or the probed layer was not measured.
    """
    _check(measured, probed_layer)
    measured = with_token_sums(measured)
    tables = []
    for loss in LOSSES:
        for layer, block in measured[measured.loss == loss].sort_values("problem_id").groupby("layer"):
            probed = layer == probed_layer
            features = FEATURES if probed else (*ANGLES, *CONTROLS)
            for subset, sample in _subsets(block[[*features, *WEIGHTS.values()]]):
                counts_RN = counts(len(sample), seed, resamples)
                for statistic, n, values_RKK in _statistics(sample, counts_RN, probed):
                    found = pairs(values_RKK, sample.columns, confidence)
                    tables.append(found.assign(statistic=statistic, n=n, loss=loss, subset=subset, layer=layer))
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    table = pd.concat(tables, ignore_index=True).rename(columns={"first": "feature"})
    weights = table.second.map({column: name for name, column in WEIGHTS.items()})
    wanted = table.feature.isin(ANGLES) | (table.feature.isin(FEATURES) & (table.layer == probed_layer))
    return table.assign(weights=weights)[wanted & weights.notna()].reset_index(drop=True)[list(COLUMNS)]


def with_token_sums(measured: pd.DataFrame) -> pd.DataFrame:
    """The measurements with ``gradient_sum``; missing, as ``completion_tokens`` is, where an older version measured."""
    if "completion_tokens" not in measured:
        return measured.assign(completion_tokens=np.nan, gradient_sum=np.nan)
    sums = measured.gradient_model * measured.completion_tokens
    return measured.assign(gradient_sum=sums.where(measured.loss == "supervised"))


def find(
    table: pd.DataFrame,
    loss: str,
    layer: int,
    feature: str = "angle",
    statistic: str = "spearman",
    *,
    weights: str = "model",
    subset: str = "all",
) -> Estimate | None:
    """One correlation of the long table, or None where it has none."""
    wanted = {"loss": loss, "layer": layer, "feature": feature, "statistic": statistic}
    mine = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    mine = mine[(mine.weights == weights) & (mine.subset == subset)]
    if mine.empty:
        return None
    row = mine.iloc[0]
    return Estimate(float(row.value), float(row.low), float(row.high), int(row.n))


def best_partial(
    table: pd.DataFrame, loss: str, layer: int, *, weights: str = "model", subset: str = "all", tokens: bool = True
) -> tuple[str, Estimate] | None:
    """The angle's partial rank correlation that holds most fixed, and what it holds fixed in words.

    ``tokens``: whether the number of completion tokens may be among it.
    """
    names = [name for name, controls in PARTIALS.items() if tokens or "completion_tokens" not in controls]
    for name in reversed(names):
        if estimate := find(table, loss, layer, statistic=name, weights=weights, subset=subset):
            return name.removeprefix("partial: ").replace("log ", ""), estimate
    return None


def _check(measured: pd.DataFrame, probed_layer: int) -> None:
    needed = {"problem_id", "layer", "loss", *FEATURES, *WEIGHTS.values()} - {"completion_tokens", "gradient_sum"}
    if missing := sorted(needed - set(measured.columns)):
        raise InputError(f"the measurements have no column {', '.join(missing)}")
    for loss in set(measured.loss) - set(LOSSES):
        raise unknown_name("loss", loss, LOSSES)
    if probed_layer not in set(measured.layer):
        layers = ", ".join(str(layer) for layer in sorted(set(measured.layer)))
        raise InputError(f"layer {probed_layer} was not measured; measured: {layers}")


def _subsets(block: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    everyone = complete(block)
    samples = [("all", everyone)]
    norms = [column for column in WEIGHTS.values() if column in everyone]
    for norm in norms:
        positive = everyone[everyone[norm] > 0]
        if len(positive) < len(everyone):
            samples.append(("non-zero", positive.drop(columns=[other for other in norms if other != norm])))
    return ((subset, sample) for subset, sample in samples if len(sample) >= FEWEST)


def _statistics(sample: pd.DataFrame, counts_RN: Floats, everything: bool) -> Iterator[tuple[str, int, Floats]]:
    """(statistic, problems used, correlations of all columns (R, K, K))."""
    rank_RKK = correlation(products(sample.to_numpy(), counts_RN, ranked=True))
    yield "spearman", len(sample), rank_RKK
    possible = [name for name, controls in PARTIALS.items() if set(controls) <= set(sample.columns)]
    for name in possible:
        yield name, len(sample), partial(rank_RKK, sample.columns.get_indexer(pd.Index(PARTIALS[name])))
    if everything:
        yield "pearson", len(sample), correlation(products(_standardized(sample), counts_RN, ranked=False))
        if "difficulty" in sample:
            levels = sample["difficulty"]
            yield from _within(sample, counts_RN, "difficulty", levels, "level", "within levels")
        if "question_tokens" in sample:
            tenths = pd.qcut(sample["question_tokens"], TENTHS, labels=False, duplicates="drop")
            yield from _within(sample, counts_RN, "question_tokens", tenths, None, "within lengths")


def _within(
    sample: pd.DataFrame, counts_RN: Floats, column: str, groups: pd.Series, single: str | None, pooled: str
) -> Iterator[tuple[str, int, Floats]]:
    """Rank correlations inside groups of equal or like ``column``: of each (named ``single`` and its value), and pooled."""
    values_NK, pooled_RKK, used = sample.to_numpy(), np.zeros((1, 1, 1)), 0
    for group, rows in sorted(groups.reset_index(drop=True).groupby(groups.to_numpy()).indices.items()):
        if len(rows) >= FEWEST:
            part_RN = counts_RN[:, rows]
            products_RKK = products(values_NK[rows], part_RN, ranked=True)
            if single is not None:
                yield f"{single} {group:.3g}", len(rows), correlation(products_RKK)
            pooled_RKK = pooled_RKK + products_RKK / at_least_one(part_RN.sum(1))[:, None, None] ** 2
            used += len(rows)
    if used:
        own = sample.columns.get_indexer(pd.Index([column]))
        pooled_RKK = pooled_RKK.copy()
        pooled_RKK[:, own] = pooled_RKK[:, :, own] = 0  # what is left of the grouping column itself says nothing
        yield pooled, used, correlation(pooled_RKK)


def _standardized(sample: pd.DataFrame) -> Floats:
    """Norms that are all above 0 as logarithms; mean 0 and deviation 1, so that one threshold tells what is constant."""
    norms = [column for column in WEIGHTS.values() if column in sample and (sample[column] > 0).all()]
    values_NK: Floats = sample.assign(**{norm: np.log(sample[norm]) for norm in norms}).to_numpy()
    spread_K = values_NK.std(axis=0)
    return np.asarray((values_NK - values_NK.mean(axis=0)) / np.where(spread_K > 0, spread_K, 1))
