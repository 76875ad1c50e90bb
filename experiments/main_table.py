"""The paper's main table: four models, three methods and a control; steps to target and accuracy on the benchmarks.

At ``paper`` all train on DeepScaleR as published by AdaRFT's authors, with the difficulty that AdaRFT needs, so that a
model's cells differ in the schedule alone.
"""

from experiments import paper
from experiments.cells import MODELS, assemble, cell, control, methods
from gainrl.runs.experiment import Experiment

TRAIN = {"tiny": "arithmetic", "paper": "deepscaler-difficulty"}

STAND_INS = ", ".join(f"{model['tiny']} for {name}" for name, model in MODELS.values())


def experiment(scale: str = "tiny") -> Experiment:
    cells = {
        f"{key}-{method}": (
            f"{name if scale == 'paper' else model[scale]}, {label}",
            cell(scale, schedule, model=model[scale], train=TRAIN[scale]),
        )
        for key, (name, model) in MODELS.items()
        for method, (label, schedule) in (methods(scale) | control(scale)).items()
    }
    return assemble(
        scale,
        "main_table",
        "Steps to target and accuracy, four models",
        cells,
        baseline="math-1.5b-grpo",
        asked_in={f"math-1.5b-{method}": "ablate_schedule" for method in ("adarft", "gainrl", "control")},
        reference=(
            f"Paper: GAIN-RL {paper.SPEED_UP} over vanilla GRPO (abstract). Listing, which does not say which model: "
            f"{paper.LISTING}. A model's rows are compared with its own GRPO row."
            + (f" The suite's models stand where the paper has its own: {STAND_INS}." if scale == "tiny" else "")
        ),
    )
