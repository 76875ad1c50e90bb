"""Evaluation: on held-out problems during training, and of a model on the benchmarks."""

from gainrl.evaluation.heldout import Accuracy, HeldOut

__all__ = ["Accuracy", "HeldOut"]
