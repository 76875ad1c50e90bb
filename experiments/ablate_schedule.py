"""Which part of GAIN-RL makes the difference: the order, or the way through it?"""

from experiments import paper
from experiments.cells import ADARFT, UNIFORM, assemble, cell, gaussian
from gainrl.runs.config import ScheduleConfig
from gainrl.runs.experiment import Experiment

REFERENCE = f"Paper: GAIN-RL (Gaussian over angle) {paper.SPEED_UP} over vanilla GRPO (abstract)."


def schedules(scale: str) -> dict[str, tuple[str, ScheduleConfig]]:
    """Cell -> (label, schedule)."""
    lowest_first = ScheduleConfig(name="ordered", order="angle", options={"reverse": True})
    return {
        "uniform": ("uniform", UNIFORM),
        "ordered-up": ("highest angle first", ScheduleConfig(name="ordered", order="angle")),
        "ordered-down": ("lowest angle first", lowest_first),
        "gaussian": ("Gaussian over angle", gaussian(scale)),
        "adarft": ("AdaRFT", ADARFT),
        "random": ("Gaussian over a random order", gaussian(scale, "random")),
        "length": ("Gaussian over length", gaussian(scale, "length")),
        "difficulty": ("Gaussian over difficulty", gaussian(scale, "difficulty")),
    }


def experiment(scale: str = "tiny") -> Experiment:
    return assemble(
        scale,
        "ablate_schedule",
        "Sampling schedules",
        {name: (label, cell(scale, schedule)) for name, (label, schedule) in schedules(scale).items()},
        baseline="uniform",
        reference=REFERENCE,
    )
