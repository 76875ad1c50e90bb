"""Evaluation: on held-out problems during training, and of a model on the benchmarks."""
