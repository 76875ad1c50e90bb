"""How mu moves: the paper's update, its terms alone, and the updates of the release's two trainers.

The released updates have a step amplitude of 500 for draws of 1,024; at ``tiny`` it has the same ratio to the draw.
"""

from experiments import paper
from experiments.cells import TINY_DRAW, assemble, cell, gaussian
from gainrl.runs.experiment import Experiment

AMPLITUDE = {"tiny": paper.AMPLITUDE / paper.LARGEST_DRAW * TINY_DRAW, "paper": paper.AMPLITUDE}


def experiment(scale: str = "tiny") -> Experiment:
    amplitude = AMPLITUDE[scale]
    schedules = {
        "paper": ("the paper's", gaussian(scale)),
        "accuracy": ("accuracy term alone", gaussian(scale, angle_term=False)),
        "angle": ("angle term alone", gaussian(scale, accuracy_term=False)),
        "neither": ("mu stays at 0", gaussian(scale, accuracy_term=False, angle_term=False)),
        "released-trl": ("release, TRL", gaussian(scale, update="released-trl", amplitude=amplitude)),
        "released-verl": ("release, verl", gaussian(scale, update="released-verl", amplitude=amplitude)),
    }
    return assemble(
        scale,
        "ablate_update",
        "Updates of mu",
        {name: (label, cell(scale, schedule)) for name, (label, schedule) in schedules.items()},
        baseline="paper",
    )
