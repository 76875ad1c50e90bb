"""How alike the orders are that a schedule could follow on one set: by layer and definition, the release's, length, level."""

from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from analysis.angle_gradient.resampling import complete, spearman

COLUMNS = ("first", "second", "value", "low", "high", "kendall", "n")
LENGTH, RELEASED = "question length", "released"
FEW_LAYERS = 5


def sort_keys(
    problems: pd.DataFrame, angles: pd.DataFrame, site: str, more_layers: tuple[int, ...] = ()
) -> pd.DataFrame:
    """By problem_id, what would be sorted by: the angle at a few evenly spaced layers and ``more_layers``; at the last layer
    its parts and the angle without i = j; the release's score; length, level, completion tokens.

    The release sorts NaN first, as if it were its largest score; its column does the same.
    """
    mine = angles[angles.site == site]
    wide = mine.pivot_table(index="problem_id", columns="layer", values="angle", aggfunc="first")
    layers, last = sorted(wide.columns), max(wide.columns)
    few = {layers[place] for place in np.linspace(0, len(layers) - 1, min(FEW_LAYERS, len(layers))).round().astype(int)}
    keys = {f"angle, layer {layer}": wide[layer] for layer in sorted(few | {*more_layers} & {*layers})}
    at_last = mine[mine.layer == last].set_index("problem_id")
    tokens = at_last.question_tokens
    without_diagonal = ((at_last.c_intra * tokens - 1) / (tokens - 1)).where(tokens > 1) + at_last.c_inter
    parts = {"C_intra": at_last.c_intra, "C_inter": at_last.c_inter, "angle without i = j": without_diagonal}
    own = problems.set_index("problem_id")
    released = own.released.fillna(own.released.max() + 1)
    known = {RELEASED: released, LENGTH: own.question_tokens, "level": own.difficulty}
    return pd.DataFrame(keys | parts | known | {"completion tokens": own.completion_tokens})


def order_correlations(keys: pd.DataFrame, *, seed: int = 0, resamples: int = 1000) -> pd.DataFrame:
    """Spearman (``value``, with its interval over problems) and Kendall's tau-b of every pair of orders: `COLUMNS`.

    An order that is the same for all problems, as the release's of short prompts, has no row.
    """
    table = complete(keys.sort_index())
    pairs = spearman(keys.sort_index(), seed=seed, resamples=resamples)
    tau = {pair: float(kendalltau(table[pair[0]], table[pair[1]]).statistic) for pair in combinations(table, 2)}
    found = [tau[first, second] for first, second in zip(pairs["first"], pairs["second"], strict=True)]
    return pairs.assign(kendall=found)[list(COLUMNS)]
