"""Intervals over seeds, costs to target with censoring, comparisons of cells. Pure functions of numbers."""

from gainrl.statistics.aggregates import interquartile_mean, probability_of_improvement
from gainrl.statistics.intervals import FEWEST_SEEDS, Summary, mean_interval, summarize, summarize_accuracy
from gainrl.statistics.reaching import (
    Reached,
    median_reached,
    reached,
    restricted_means,
    saved,
    speed_up,
    summarize_reached,
)
from gainrl.statistics.significance import FEWEST_FOR_A_STAR, holm, paired_p

__all__ = [
    "FEWEST_FOR_A_STAR",
    "FEWEST_SEEDS",
    "Reached",
    "Summary",
    "holm",
    "interquartile_mean",
    "mean_interval",
    "median_reached",
    "paired_p",
    "probability_of_improvement",
    "reached",
    "restricted_means",
    "saved",
    "speed_up",
    "summarize",
    "summarize_accuracy",
    "summarize_reached",
]
