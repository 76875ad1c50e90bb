"""The study's two answers, one sentence each, by rules that were written down before any number was seen (results/NOTES.md)."""

from collections.abc import Mapping

import pandas as pd

from analysis.angle_gradient.resampling import Estimate
from analysis.real_signal.layers import PLAIN, TOGETHER, at, chosen, clear, spans
from analysis.real_signal.prediction import DECIDING, TARGETS

NOT_ANSWERED = "Not answered: nothing could be correlated."


def correlation_holds(tables: Mapping[str, pd.DataFrame], titles: Mapping[str, str], primary: str, last: int) -> str:
    """Does the paper's correlation hold for this model, in which layers, and what of it is length?

    The endpoint is the partial rank correlation of the last layer's angle with the gradient norm of the supervised loss (mean
    over tokens), with everything held fixed, on the primary set: **yes** where its interval lies above 0, **the other way
    round** below 0, **no** where it contains 0. Layers are named whose simultaneous band leaves 0 out.

    Args:
        tables: set -> `analysis.real_signal.layers.by_layer`.
        last: the layer that the paper reads.
    """
    table = tables[primary]
    plain, endpoint = at(table, last), at(table, last, TOGETHER)
    if plain is None or endpoint is None:
        return NOT_ANSWERED
    above, left = clear(chosen(table, PLAIN)), clear(chosen(table, TOGETHER))
    turned = clear(chosen(table, TOGETHER), -1)
    held = _listed(chosen(table, TOGETHER).held.iloc[0].split(", "))
    others = [
        f"{titles[name]} {found}" for name in tables if name != primary and (found := at(tables[name], last, TOGETHER))
    ]
    sentence = (
        f"{_ANSWER[endpoint.sign]}: on {endpoint.n:,} problems of {titles[primary]} the rank correlation of the last layer's "
        f"angle, which the paper reads, with the gradient norm is {plain}, and {endpoint} given {held}; with simultaneous "
        f"bands it is above 0 in {_layers(above)} as it stands and in {_layers(left)} given these, so that "
        f"{_share(above, left)}"
    )
    sentence += f", and below 0 given these in {_layers(turned)}" if turned else ""
    also = f" The last layer on other sets, given what can be held fixed there: {', '.join(others)}." if others else ""
    return f"{sentence}.{also}"


_ANSWER = {1: "Yes", 0: "No", -1: "The other way round"}


def _share(above: list[int], left: list[int]) -> str:
    if not above and not left:
        return "there is no correlation for lengths to explain"
    if not left:
        return "these data show nothing of it that is not length or level"
    if set(above) <= set(left):
        return "it is not length or level alone in any layer that has it"
    gone = sorted(set(above) - set(left))
    return f"in {_layers(gone)} nothing is seen of it that is not length or level"


def another_layer(against: pd.DataFrame, last: int) -> str:
    """Would another layer than the last make a better order?

    **Yes** where, for p(1-p) and for the norm of the GRPO gradient alike, the simultaneous band of some layer's lead over the
    last layer (out-of-fold R^2 of the angle alone) lies above 0; **for one of two** where it does for one of them; else **no**.
    """
    found = {target: rows for target in DECIDING if len(rows := against[against.target == target])}
    if not found:
        return NOT_ANSWERED
    better = {target: sorted(int(layer) for layer in rows[rows.band_low > 0].layer) for target, rows in found.items()}
    both = sorted(set.intersection(*map(set, better.values()))) if len(found) == len(DECIDING) else []
    answer = f"Yes, {_layers(both)}" if both else "For one of two targets" if any(better.values()) else "No"
    words = [f"{_NAMED[target]} better in {_lead(rows, better[target])}" for target, rows in found.items()]
    return f"{answer}: measured against the angle of the last layer ({last}), that of another predicts {', and '.join(words)}."


_NAMED = TARGETS | {"gradient": "the GRPO gradient norm"}


def _lead(rows: pd.DataFrame, better: list[int]) -> str:
    best = rows.iloc[int(rows["value"].to_numpy().argmax())]
    band = Estimate(best["value"], best.band_low, best.band_high, int(best.n))
    return (
        f"{_layers(better)} (largest lead: layer {best.layer:.0f}, out-of-fold R² {best.alone:.2f}, which is {band} more "
        "than the last layer's, simultaneous band)"
    )


def is_sort_by_length(correlation: Estimate | None) -> bool:
    """Whether an order is called a sort by length, by its rank correlation with the question's length.

    The correlation, of either sign, must be beyond 0.9 and its interval beyond 0.8.
    """
    if correlation is None or not correlation.sign:
        return False
    return abs(correlation.value) > 0.9 and min(abs(correlation.low), abs(correlation.high)) > 0.8


def _layers(layers: list[int]) -> str:
    return f"layer{'s' if len(layers) > 1 else ''} {spans(layers)}" if layers else "no layer"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
