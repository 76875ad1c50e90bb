"""Angle against gradient norm at every layer and site, plain and with lengths and level held fixed, with simultaneous bands.

Pure functions of a set's tables (`gainrl.studies.real_signal.MeasuredSet`).

Shapes: R samples (row 0 the data, the others its resamples), N problems, K columns.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.angle_gradient.bands import pointwise, simultaneous_correlations
from analysis.angle_gradient.correlations import LOSSES
from analysis.angle_gradient.resampling import (
    FEWEST,
    Estimate,
    Floats,
    complete,
    correlation,
    counts,
    partial,
    products,
)

CONTROLS = {
    "question length": "question_tokens",
    "level": "difficulty",
    "completion tokens": "completion_tokens",
}
"""What is held fixed, one by one and together, linearly in ranks."""
PLAIN, TOGETHER = "plain", "all together"
STATISTICS = (PLAIN, *(f"given {name}" for name in CONTROLS), TOGETHER)
WEIGHTS = {"mean": "gradient_model", "sum": "gradient_sum"}
"""The loss is the mean over a completion's tokens, or their sum; of the supervised loss the sum's gradient is the mean's times
the number of tokens."""
FEATURES = ("angle", "c_intra", "c_inter")
"""At the first site; at the others the angle alone."""
COLUMNS = (
    "loss", "weights", "site", "layer", "feature", "statistic", "held",
    "value", "low", "high", "band_low", "band_high", "n",
)  # fmt: skip


def by_layer(
    angles: pd.DataFrame, gradients: pd.DataFrame, *, seed: int = 0, resamples: int = 1000, confidence: float = 0.95
) -> pd.DataFrame:
    """Rank correlations with the whole model's gradient norm: a row a loss, weights, site, layer, feature and statistic.

    ``low`` and ``high`` are the percentile bootstrap's over problems, for one layer; ``band_low`` and ``band_high`` hold over
    all layers of the site together (`analysis.angle_gradient.bands`). ``held`` names the controls that were held fixed: one
    that is missing or the same for all problems cannot be.
    """
    tables = []
    for loss, sample in _samples(gradients):
        for place, (site, table) in enumerate(angles.groupby("site", sort=False)):
            for feature in FEATURES if place == 0 else FEATURES[:1]:
                wide = table.pivot_table(index="problem_id", columns="layer", values=feature, aggfunc="first")
                found = _of_layers(wide, sample, seed, resamples, confidence)
                tables += [one.assign(loss=loss, site=site, feature=feature) for one in found]
    if not tables:
        return pd.DataFrame(columns=list(COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def _samples(gradients: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(loss, a row a problem: its gradient norms and the controls)."""
    summed = gradients.assign(gradient_sum=gradients.gradient_model * gradients.completion_tokens)
    for loss in LOSSES:
        whole = summed[summed.loss == loss].drop_duplicates("problem_id").set_index("problem_id")
        norms = [column for weights, column in WEIGHTS.items() if not (loss == "grpo" and weights == "sum")]
        if len(whole):
            yield loss, whole[[*norms, *CONTROLS.values()]]


def _of_layers(
    wide: pd.DataFrame, sample: pd.DataFrame, seed: int, resamples: int, confidence: float
) -> Iterator[pd.DataFrame]:
    table = complete(sample.join(wide, how="inner").sort_index())
    if len(table) < FEWEST:
        return
    known = [layer for layer in wide.columns if layer in table]
    held = {name: column for name, column in CONTROLS.items() if column in table}
    norms = {weights: table.columns.get_loc(column) for weights, column in WEIGHTS.items() if column in table}
    places = table.columns.get_indexer(pd.Index(known))
    counts_RN = counts(len(table), seed, resamples)
    rank_RKK = correlation(products(table.to_numpy(), counts_RN, ranked=True))
    for statistic, names in _statistics(held).items():
        columns = table.columns.get_indexer(pd.Index([held[name] for name in names]))
        values_RKK = partial(rank_RKK, columns) if names else rank_RKK
        for weights, norm in norms.items():
            limits = _limits(values_RKK[:, norm, places], confidence)
            yield limits.assign(layer=known, weights=weights, statistic=statistic, held=", ".join(names), n=len(table))


def _statistics(held: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Statistic -> the controls that it holds fixed."""
    alone = {f"given {name}": (name,) for name in held}
    return {PLAIN: (), **alone, **({TOGETHER: tuple(held)} if held else {})}


def _limits(values_RL: Floats, confidence: float) -> pd.DataFrame:
    value_L, draws_RL = values_RL[0], values_RL[1:]
    own, band = pointwise(draws_RL, confidence), simultaneous_correlations(value_L, draws_RL, confidence)
    return pd.DataFrame(
        {"value": value_L, "low": own.low, "high": own.high, "band_low": band.low, "band_high": band.high}
    )


def at(
    table: pd.DataFrame,
    layer: int,
    statistic: str = PLAIN,
    *,
    loss: str = "supervised",
    weights: str = "mean",
    site: str = "mlp_input",
    feature: str = "angle",
) -> Estimate | None:
    """One layer's correlation with the interval that holds for it alone, or None where there is none."""
    mine = chosen(table, statistic, loss=loss, weights=weights, site=site, feature=feature)
    mine = mine[mine.layer == layer]
    if mine.empty:
        return None
    row = mine.iloc[0]
    return Estimate(float(row.value), float(row.low), float(row.high), int(row.n))


def chosen(
    table: pd.DataFrame,
    statistic: str,
    *,
    loss: str = "supervised",
    weights: str = "mean",
    site: str = "mlp_input",
    feature: str = "angle",
) -> pd.DataFrame:
    """The rows of one statistic, by layer."""
    wanted = {"statistic": statistic, "loss": loss, "weights": weights, "site": site, "feature": feature}
    return table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)].sort_values("layer")


def clear(rows: pd.DataFrame, sign: int = 1) -> list[int]:
    """Layers whose simultaneous band lies on that side of 0."""
    return [int(layer) for layer in rows[rows.band_low > 0 if sign > 0 else rows.band_high < 0].layer]


def spans(layers: Sequence[int]) -> str:
    """Layers in words: 3 to 7, 9."""
    breaks = np.flatnonzero(np.diff(layers) > 1) + 1
    runs = [run.tolist() for run in np.split(np.array(layers, dtype=int), breaks) if len(run)]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
