"""Uniform sampling, GAIN-RL, its control and the oracle on another family of problems: does the answer depend on the task?"""

from experiments.ablate_schedule import REFERENCE, schedules
from experiments.cells import assemble, cell
from gainrl.runs.experiment import Experiment

SCALES = ("tiny",)
CELLS = ("uniform", "gaussian", "random", "oracle")


def experiment(scale: str = "tiny") -> Experiment:
    return assemble(
        scale,
        "ablate_schedule_lists",
        "Sampling schedules on lists",
        {
            name: (label, cell(scale, schedule, model="tiny-lists", train="lists"))
            for name, (label, schedule) in schedules(scale).items()
            if name in CELLS
        },
        baseline="uniform",
        reference=REFERENCE,
    )
