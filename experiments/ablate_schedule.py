"""Which part of GAIN-RL makes the difference: the order, or the way through it?

The oracle is the positive control: an order by the variance of the base model's reward, over 16 completions a problem that
no cell is charged for. Where it gains nothing, this experiment could not see an order that helps. The wide cells have
four times the width, so that the price of a narrow window and the gain of an order can be told apart.
"""

from experiments import paper
from experiments.cells import ADARFT, SIGMA_AT, UNIFORM, assemble, cell, gaussian
from gainrl.runs.config import ScheduleConfig
from gainrl.runs.experiment import Experiment

SCALES = ("tiny", "small", "paper")
REFERENCE = f"Paper: GAIN-RL (Gaussian over angle) {paper.SPEED_UP} over vanilla GRPO (abstract)."


def schedules(scale: str) -> dict[str, tuple[str, ScheduleConfig]]:
    """Cell -> (label, schedule)."""
    wide = 4 * SIGMA_AT[scale]
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
        "oracle": ("Gaussian over reward variance (oracle)", gaussian(scale, "reward-variance")),
        "random-wide": ("wide Gaussian over a random order", gaussian(scale, "random", sigma=wide)),
        "oracle-wide": ("wide Gaussian over reward variance (oracle)", gaussian(scale, "reward-variance", sigma=wide)),
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
