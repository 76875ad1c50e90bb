"""Prefill a problem set once and read the signal: scores, one row a problem, with what they were made from."""

from gainrl.probe.engine import score_problems
from gainrl.probe.release import load_released_order
from gainrl.probe.scores import COLUMNS, Scores, signal_metadata
from gainrl.probe.sites import capture, span_masks

__all__ = ["COLUMNS", "Scores", "capture", "load_released_order", "score_problems", "signal_metadata", "span_masks"]
