"""Prefill a problem set once and read the signal: scores, one row a problem, with what they were made from."""

from gainrl.probe.engine import score_problems
from gainrl.probe.neurons import agreement, neuron_directions
from gainrl.probe.release import load_released_order
from gainrl.probe.scores import COLUMNS, Scores, signal_metadata
from gainrl.probe.sites import capture, has_site, span_masks

__all__ = [
    "COLUMNS",
    "Scores",
    "agreement",
    "capture",
    "has_site",
    "load_released_order",
    "neuron_directions",
    "score_problems",
    "signal_metadata",
    "span_masks",
]
