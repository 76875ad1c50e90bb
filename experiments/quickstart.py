"""The main job in minutes on two cores: GRPO, AdaRFT, GAIN-RL and its control, trained from the same tiny model.

The control is GAIN-RL's Gaussian over a random order: a gain that it shares with GAIN-RL is not due to the angle.
"""

from experiments import paper
from experiments.cells import assemble, cell, control, methods
from gainrl.runs.experiment import Experiment

SCALES = ("tiny",)


def experiment(scale: str = "tiny") -> Experiment:
    schedules = methods(scale) | control(scale)
    return assemble(
        scale,
        "quickstart",
        "Steps to target accuracy on generated arithmetic",
        {name: (label, cell(scale, schedule)) for name, (label, schedule) in schedules.items()},
        baseline="grpo",
        asked_in=dict.fromkeys((name for name in schedules if name != "grpo"), "ablate_schedule"),
        reference=f"Paper, on larger models and other problems: GAIN-RL {paper.SPEED_UP} over vanilla GRPO (abstract).",
    )
