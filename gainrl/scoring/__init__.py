"""The pass over a problem set that reads the signal: hooks, prefill, and the scores file that it writes."""

from gainrl.scoring.hooks import capture, span_masks
from gainrl.scoring.prefill import score_problems
from gainrl.scoring.scores import SCORE_COLUMNS, Scores, load_released_order, signal_metadata

__all__ = [
    "SCORE_COLUMNS",
    "Scores",
    "capture",
    "load_released_order",
    "score_problems",
    "signal_metadata",
    "span_masks",
]
