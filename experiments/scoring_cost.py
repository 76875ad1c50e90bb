"""The cost of the order: the time to score a run's training problems once, compared with that of its optimizer steps."""

from experiments.cells import assemble, cell, methods
from gainrl.runs.experiment import Experiment

REPEATS = 3
"""Number of scorings; their median is reported."""


def experiment(scale: str = "tiny") -> Experiment:
    cells = {
        name: (label, cell(scale, schedule)) for name, (label, schedule) in methods(scale).items() if name != "adarft"
    }
    return assemble(
        scale, "scoring_cost", "Cost of the order", cells, baseline="grpo", asked_in={"gainrl": "ablate_schedule"}
    )
