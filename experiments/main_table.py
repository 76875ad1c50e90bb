"""The paper's main table: four models, three methods and a control; steps to target and accuracy on the benchmarks.

At ``paper`` all train on DeepScaleR as published by AdaRFT's authors, with the difficulty that AdaRFT needs, so that a
model's cells differ in the schedule alone. At ``small`` there is one model; one more cell reads its angle halfway up.
"""

from experiments import paper
from experiments.cells import MIDDLE_LAYER, MODELS, assemble, cell, control, methods, middle
from gainrl.runs.experiment import Experiment

SCALES = ("tiny", "small", "paper")
TRAIN = {"tiny": "arithmetic", "small": "skills", "paper": "deepscaler-difficulty"}
STUDIED_MODEL = {"tiny": "math-1.5b", "small": "135m", "paper": "math-1.5b"}
"""Key of the model whose GRPO is the baseline."""
ELSEWHERE, ELSEWHERE_PROBLEMS, ELSEWHERE_COMPLETION = "gsm8k", 200, 256
"""What runs that keep models are asked before and after, though none trains on it: the first so many problems, at most so many
tokens each."""
STAND_INS = ", ".join(f"{model['tiny']} for {name}" for name, model in MODELS.values() if "tiny" in model)


def experiment(scale: str = "tiny") -> Experiment:
    cells = {
        f"{key}-{method}": (
            label if scale == "small" else f"{model[scale] if scale == 'tiny' else name}, {label}",
            cell(scale, schedule, model=model[scale], train=TRAIN[scale]),
        )
        for key, (name, model) in MODELS.items()
        if scale in model
        for method, (label, schedule) in (methods(scale) | control(scale)).items()
    }
    studied = STUDIED_MODEL[scale]
    cells |= {
        f"{studied}-{name}": (
            label,
            cell(scale, schedule, signal={"layer": MIDDLE_LAYER}),
        )
        for name, (label, schedule) in middle(scale).items()
    }
    return assemble(
        scale,
        "main_table",
        "Steps to target and accuracy" + (", four models" if scale != "small" else ""),
        cells,
        baseline=f"{studied}-grpo",
        asked_in={f"{studied}-{method}": "ablate_schedule" for method in ("adarft", "gainrl", "control")}
        if scale == "tiny"
        else {},
        reference=(
            f"Paper: GAIN-RL {paper.SPEED_UP} over vanilla GRPO (abstract). Listing, which does not say which model: "
            f"{paper.LISTING}. A model's rows are compared with its own GRPO row."
            + (f" The suite's models stand where the paper has its own: {STAND_INS}." if scale == "tiny" else "")
        ),
    )
