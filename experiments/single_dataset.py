"""One training set at a time, the smallest model: does the speed-up depend on the problems?

AdaRFT's difficulty on GSM8K, MATH and AMC is the set's own or the suite's (`gainrl.problems.hub`): the paper's is not known.
sigma is the paper's for all sets, which on AMC's fewer than 1,000 problems is close to uniform. At ``tiny`` each family of
problems has its own model, which knows its words.
"""

from experiments import paper
from experiments.cells import STUDIED, assemble, cell, methods
from gainrl.runs.experiment import Experiment

SETS = {
    "tiny": {"arithmetic": "arithmetic", "lists": "lists"},
    "paper": {"gsm8k": "GSM8K", "math": "MATH", "amc": "AMC"},
}
"""By scale: registered set -> its name in print."""
MODELS = {"lists": "tiny-lists"}
"""By set, where it is not the model of `STUDIED`."""


def experiment(scale: str = "tiny") -> Experiment:
    cells = {
        f"{train}-{method}": (f"{name}, {label}", cell(scale, schedule, model=MODELS.get(train), train=train))
        for train, name in SETS[scale].items()
        for method, (label, schedule) in methods(scale).items()
    }
    return assemble(
        scale,
        "single_dataset",
        "One training set at a time",
        cells,
        baseline=f"{STUDIED[scale][1]}-grpo",
        asked_in=dict.fromkeys(("arithmetic-adarft", "arithmetic-gainrl"), "ablate_schedule")
        | {"lists-gainrl": "ablate_schedule_lists"},
        reference=f"Listing, which does not say which model or training set: {paper.LISTING}.",
    )
