"""Does the order help other losses too? TRL's variants of GRPO's, and RLOO, each with uniform draws and with GAIN-RL's.

Only the losses of Dr. GRPO and DAPO are taken: all variants of GRPO divide advantages by their group's deviation, and no
group is left out or drawn again.
"""

from experiments.cells import UNIFORM, assemble, cell, gaussian
from gainrl.runs.experiment import Experiment

ALGORITHMS = {
    "grpo": ("GRPO", {"loss": "grpo"}),
    "dr_grpo": ("Dr. GRPO", {"loss": "dr_grpo"}),
    "dapo": ("DAPO", {"loss": "dapo"}),
    "bnpo": ("BNPO", {"loss": "bnpo"}),
    "rloo": ("RLOO", {"algorithm": "rloo"}),
}


def experiment(scale: str = "tiny") -> Experiment:
    schedules = {"uniform": ("uniform", UNIFORM), "gaussian": ("GAIN-RL", gaussian(scale))}
    cells = {
        f"{algorithm}-{name}": (f"{printed}, {label}", cell(scale, schedule, training=training))
        for algorithm, (printed, training) in ALGORITHMS.items()
        for name, (label, schedule) in schedules.items()
    }
    return assemble(
        scale,
        "algorithms",
        "Losses, with and without the schedule",
        cells,
        baseline="grpo-uniform",
        asked_in={"grpo-gaussian": "ablate_schedule"},
    )
