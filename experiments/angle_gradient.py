"""Angle against gradient norm at warm-up and along training with GRPO, for the same training problems.

The schedule is uniform, so that what is trained does not depend on what is measured.
"""

from experiments.cells import UNIFORM, assemble, cell
from gainrl.runs.experiment import Experiment

KEEP_EVERY = 40
"""Optimizer steps between the models that are measured."""
PROBLEMS = 300
"""How many training problems are measured, the first ones."""
SAMPLES = 8
"""Completions per problem for the GRPO loss."""


def experiment(scale: str = "tiny") -> Experiment:
    cells = {"grpo": ("GRPO (uniform)", cell(scale, UNIFORM, training={"keep_every": KEEP_EVERY}))}
    return assemble(scale, "angle_gradient", "Angle against gradient along training", cells, baseline="grpo")
