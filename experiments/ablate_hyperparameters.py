"""One value at a time around the paper's: problems per draw (n), sigma, alpha, beta.

A change of n changes only how often the schedule moves. A generation's prompts stay the same, so n is a multiple of them, and
at ``paper``, where they are the paper's n, only larger ones are tried.
"""

from experiments import paper
from experiments.cells import SIGMA_AT, assemble, cell, gaussian
from gainrl.runs.experiment import Experiment

DRAW_SIZES = {"tiny": (16, 32, 128, 320), "paper": (512, 1024)}


def experiment(scale: str = "tiny") -> Experiment:
    one_batch = cell(scale, gaussian(scale)).training.prompts_per_generation
    values = {
        "sigma": [SIGMA_AT[scale] * factor for factor in (0.25, 0.5, 2.0, 4.0)],
        "alpha": [paper.ALPHA * factor for factor in (0.25, 0.5, 2.0, 4.0)],
        "beta": [paper.BETA + change for change in (-0.25, 0.25)],
    }
    cells = {"paper": ("the paper's values", cell(scale, gaussian(scale)))}
    for n in DRAW_SIZES[scale]:
        training = {"prompts_per_epoch": n, "prompts_per_generation": one_batch}
        cells[f"n-{n}"] = (f"n = {n:,}", cell(scale, gaussian(scale), training=training))
    for name, tried in values.items():
        for value in tried:
            schedule = gaussian(scale, "angle", **{name: value})
            cells[f"{name}-{value:g}"] = (f"{name} = {value:g}", cell(scale, schedule))
    return assemble(scale, "ablate_hyperparameters", "Values of the schedule", cells, baseline="paper")
