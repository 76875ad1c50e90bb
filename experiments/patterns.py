"""The signal along layers, training and problems (the paper's first three observations): GRPO and GAIN-RL, checkpoints kept.

Layer-wise: cosines between the tokens of one prompt, before training and after. Epoch-wise and data-wise: concentration
and greedy answers of fixed training problems at every checkpoint.
"""

from experiments.cells import SMALL_KEPT, STUDIED, assemble, cell, methods
from gainrl.runs.experiment import Experiment

SCALES = ("tiny", "small", "paper")
KEEP_EVERY = {"tiny": 10, "small": SMALL_KEPT, "paper": 40}


def followed(model: str) -> int:
    """How many training problems are followed, the first ones: fewer where a model is slow on a CPU."""
    return 256 if model == STUDIED["small"][0] else 1024


def experiment(scale: str = "tiny") -> Experiment:
    training = {"keep_every": KEEP_EVERY[scale]}
    cells = {
        name: (label, cell(scale, schedule, training=training))
        for name, (label, schedule) in methods(scale).items()
        if name != "adarft"
    }
    return assemble(scale, "patterns", "Angle and accuracy along training", cells, baseline="grpo")
