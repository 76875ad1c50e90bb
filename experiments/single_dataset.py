"""One training set at a time, the smallest model: does the speed-up depend on the problems?

GSM8K, MATH and AMC carry a difficulty for AdaRFT that is the sets' own or ours (`gainrl.problems.hub`): the paper's is not
known. sigma is the paper's for all: on AMC's fewer than 1,000 problems that is close to uniform. At ``tiny`` each
family of problems has its own model, which knows its words.
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
"""By set, where it is another than the one that is studied."""


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
        reference=f"Listing, which does not say which model or training set: {paper.LISTING}.",
    )
