"""All training problems against half of them, drawn at random by the run's seed; GRPO and GAIN-RL.

At ``paper`` a half is of DeepScaleR's 40,315 problems, counted before prompts that are too long are left out.
"""

from experiments import paper
from experiments.cells import MODELS, assemble, cell, methods
from experiments.main_table import STUDIED_MODEL, TRAIN
from gainrl.runs.experiment import Experiment

SCALES = ("tiny", "small", "paper")
HALF = {"tiny": 512, "small": 512, "paper": 20_157}


def experiment(scale: str = "tiny") -> Experiment:
    model = MODELS[STUDIED_MODEL[scale]][1][scale]
    amounts = {"all": {}, "half": {"train_size": HALF[scale], "sample": True}}
    schedules = {name: method for name, method in methods(scale).items() if name != "adarft"}
    cells = {
        f"{amount}-{name}": (
            f"{label}, {amount} data",
            cell(scale, schedule, model=model, train=TRAIN[scale], problems=problems),
        )
        for amount, problems in amounts.items()
        for name, (label, schedule) in schedules.items()
    }
    return assemble(
        scale,
        "data_efficiency",
        "Half of the data against all of it",
        cells,
        baseline="all-grpo",
        asked_in={"all-gainrl": "ablate_schedule"},
        reference=f"Paper: GAIN-RL {paper.DATA_EFFICIENCY} (abstract).",
    )
