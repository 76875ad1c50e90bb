"""Evaluation: on held-out problems in memory while training, and on the benchmarks from a model folder."""
