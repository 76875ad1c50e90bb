"""Angle against gradient: the measurement, and the folder that keeps its finished stages."""

from gainrl.studies.angle_gradient.measure import Measured, cosine_matrices, measure
from gainrl.studies.angle_gradient.stages import Settings, measure_into, read_completions

__all__ = ["Measured", "Settings", "cosine_matrices", "measure", "measure_into", "read_completions"]
