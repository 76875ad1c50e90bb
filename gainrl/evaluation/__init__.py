"""Evaluation: on held-out problems in memory while training, and on the benchmarks from a model folder."""

from gainrl.evaluation.heldout import Accuracy, HeldOut

__all__ = ["Accuracy", "HeldOut"]
