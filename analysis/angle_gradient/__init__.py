"""Angle against gradient: correlations with their intervals, and what they say."""

from analysis.angle_gradient.correlations import (
    ANGLES,
    COLUMNS,
    FEATURES,
    LABELS,
    LOSSES,
    PARTIALS,
    STATISTICS,
    WEIGHTS,
    best_partial,
    correlations,
    find,
    with_token_sums,
)
from analysis.angle_gradient.resampling import FEWEST, Estimate, spearman
from analysis.angle_gradient.words import markdown, verdict

__all__ = [
    "ANGLES",
    "COLUMNS",
    "FEATURES",
    "FEWEST",
    "LABELS",
    "LOSSES",
    "PARTIALS",
    "STATISTICS",
    "WEIGHTS",
    "Estimate",
    "best_partial",
    "correlations",
    "find",
    "markdown",
    "spearman",
    "verdict",
    "with_token_sums",
]
