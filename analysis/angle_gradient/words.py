"""What correlations say, in words and tables that the numbers decide."""

from collections.abc import Sequence

import pandas as pd

from analysis.angle_gradient.correlations import (
    FEATURES,
    LABELS,
    LOSSES,
    STATISTICS,
    WEIGHTS,
    best_partial,
    find,
)
from analysis.angle_gradient.resampling import FEWEST, Estimate
from analysis.comparison import MISSING


def verdict(correlations: pd.DataFrame, *, model: str, problems: str, probed_layer: int, what: str = "") -> str:
    """One paragraph that the numbers decide: what the angle has to do with the norm of the whole model's gradient.

    The claim is supported (contradicted) where the rank correlation, the partial one with the most controls and the one
    within tenths of length all have their interval above (below) 0; "but not beyond" the controls where one of the
    latter two contains 0; undecided where the first contains 0, or where two have opposite signs.

    Args:
        what: more about what was measured, in brackets behind the layer.
    """
    plain_by_loss = {loss: plain for loss in LOSSES if (plain := find(correlations, loss, probed_layer))}
    size = f"{max(plain.n for plain in plain_by_loss.values()):,} problems" if plain_by_loss else "Problems"
    opening = (
        f"{size} of {problems}, one model ({model}), hidden states of layer {probed_layer}{f' ({what})' if what else ''}; "
        "brackets hold bootstrap intervals over problems."
    )
    claims = [
        f"for the {LOSSES[loss]} {_claim(correlations, loss, plain_by_loss[loss], probed_layer)}"
        for loss in plain_by_loss
    ]
    closing = (
        "The paper's claim, that angle concentration goes with the size of the gradient, is on these data and for this one "
        f"model: {'; '.join(claims) or 'undecided, for nothing could be correlated'}."
    )
    return " ".join([opening, *(_findings(correlations, *one, probed_layer) for one in plain_by_loss.items()), closing])


def _findings(table: pd.DataFrame, loss: str, plain: Estimate, layer: int) -> str:
    partial = best_partial(table, loss, layer)
    positive = find(table, loss, layer, subset="non-zero")
    within, levels = find(table, loss, layer, statistic="within levels"), _level_signs(table, loss, layer)
    length = find(table, loss, layer, statistic="within lengths")
    summed = find(table, loss, layer, weights="model, summed over tokens")
    bare = find(table, loss, layer, "off_diagonal")
    sentences = [
        f"For the {LOSSES[loss]} ({plain.n:,} problems), set against the norm of the whole model's gradient, the angle "
        f"{_RELATION[plain.sign]} (rank correlation {plain})",
        partial and f"given {partial[0]}, it {_RELATION[partial[1].sign]} (partial {partial[1]})",
        positive
        and f"among the {positive.n:,} problems whose gradient is not 0, it {_RELATION[positive.sign]} ({positive})",
        within and f"within levels of difficulty {_sign(plain, within)} ({within}; {levels})",
        length and f"within tenths of question length {_sign(plain, length)} ({length})",
        summed and f"for the loss summed over tokens it {_RELATION[summed.sign]} ({summed})",
        bare and f"without the i = j terms {_sign(plain, bare)} ({bare})",
        _strongest(table, loss, layer),
    ]
    return " ".join(f"{_capital(sentence)}." for sentence in sentences if sentence)


_RELATION = {1: "goes with it", -1: "runs against it", 0: "is indistinguishable from no relation"}


def _sign(plain: Estimate, other: Estimate) -> str:
    if not other.sign:
        return "no sign can be determined"
    if not plain.sign:
        return f"the sign is {'positive' if other.sign > 0 else 'negative'}"
    return "the sign stays" if other.sign == plain.sign else "the sign turns"


def _level_signs(table: pd.DataFrame, loss: str, layer: int) -> str:
    names = [name for name in table.statistic.unique() if name.startswith("level ")]
    levels = [level for name in names if (level := find(table, loss, layer, statistic=name))]
    return f"positive in {sum(level.value > 0 for level in levels)} of {len(levels)} levels"


def _strongest(table: pd.DataFrame, loss: str, layer: int) -> str:
    found = {feature: estimate for feature in FEATURES if (estimate := find(table, loss, layer, feature))}
    best = max(found, key=lambda feature: abs(found[feature].value))
    return f"the largest rank correlation is that of {LABELS[best]} ({found[best]})" + (
        "" if best == "angle" else ", not that of the angle"
    )


def _claim(table: pd.DataFrame, loss: str, plain: Estimate, layer: int) -> str:
    controls, partial = best_partial(table, loss, layer) or ("", None)
    if not plain.sign:
        return f"undecided (a relation shows only given {controls})" if partial and partial.sign else "undecided"
    word = "supported" if plain.sign > 0 else "contradicted"
    if partial is None:
        return f"{word} (neither lengths nor difficulty could be held fixed)"
    within = find(table, loss, layer, statistic="within lengths")
    signs = {partial.sign, within.sign} if within else {partial.sign}
    if -plain.sign in signs:
        return f"undecided (the sign turns given {controls})"
    return word if 0 not in signs else f"{word}, but not beyond {controls}"


def markdown(correlations: pd.DataFrame, verdict: str, notes: Sequence[str] = ()) -> str:
    """The verdict, notes, for each loss the probed layer's tables (features by statistics), and the angle layer by layer."""
    parts = [verdict, *(["\n".join(f"- {note}" for note in notes)] if notes else []), _KEY]
    if correlations.empty:
        return "\n\n".join(parts[:-1]) + "\n"
    correlations = correlations.assign(
        cell=[str(Estimate(*row)) for row in correlations[list(Estimate._fields)].itertuples(index=False)],
        feature=correlations.feature.map(LABELS),
    )
    probed = correlations[correlations.layer.isin(correlations[correlations.statistic == "pearson"].layer)]
    for (loss, subset), mine in probed.groupby(["loss", "subset"], sort=False):
        which = "problems" if subset == "all" else "problems whose gradient is not 0"
        parts.append(f"## {_capital(LOSSES[str(loss)])}, layer {mine.layer.iloc[0]}: {mine.n.max():,} {which}")
        levels = sorted({s for s in mine.statistic if s.startswith("level ")}, key=lambda s: float(s.split()[1]))
        parts += [
            _grid(mine, ["weights", "feature"], "statistic", columns) for columns in (STATISTICS, levels) if columns
        ]
    angle = correlations[(correlations.feature == "angle") & (correlations.statistic == "spearman")]
    parts += [
        "## Rank correlation of the angle with the gradient norm, layer by layer",
        _grid(
            angle.assign(weights="gradient of " + angle.weights),
            ["loss", "subset", "layer"],
            "weights",
            [f"gradient of {weights}" for weights in WEIGHTS],
        ),
    ]
    return "\n\n".join(parts) + "\n"


_KEY = (
    "Value [bootstrap interval over problems]. Weights: the gradient norm is that of the whole model, of the layer alone, or "
    "of the projections in it that read the probed hidden states; or that of the whole model for the loss summed over the "
    "completion's tokens instead of their mean. Spearman and the partial correlations are of ranks (the "
    "controls are taken out linearly in ranks); Pearson is with the logarithm of the norm where no norm is 0, else with the "
    f"norm. Within levels: ranks taken inside each level of difficulty of at least {FEWEST} problems, and pooled."
)

_PLACE = {name: place for place, name in enumerate([*LOSSES, "all", "non-zero", *WEIGHTS, *LABELS.values()])}


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _grid(cells: pd.DataFrame, rows: list[str], across: str, columns: Sequence[str]) -> str:
    """Rows in the order of this module's names; an en dash where there is no cell."""
    cells = cells[cells[across].isin(columns)].sort_values(
        rows, key=lambda column: column.map(_PLACE.get).fillna(column)
    )
    index = pd.MultiIndex.from_frame(cells[rows].drop_duplicates())
    wide = cells.pivot_table(index=rows, columns=across, values="cell", aggfunc="first").reindex(
        index=index, columns=list(columns)
    )
    text = wide.astype(object).where(wide.notna(), MISSING).reset_index()
    alignment = ["left"] * len(rows) + ["right"] * len(columns)
    return str(text.to_markdown(index=False, disable_numparse=True, colalign=alignment))
