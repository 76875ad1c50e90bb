"""Which signal orders the problems: GAIN-RL's Gaussian over parts and definitions of the angle, and over length.

``released`` orders by what the release's script computes, which is close to an order by length.
"""

from experiments.cells import assemble, cell, gaussian
from gainrl.runs.experiment import Experiment

ORDERS = {
    "angle": "angle (the paper's)",
    "c_intra": "C_intra alone",
    "c_inter": "C_inter alone",
    "off-diagonal": "angle without i = j",
    "released": "angle as released",
    "length": "question length",
}


def experiment(scale: str = "tiny") -> Experiment:
    return assemble(
        scale,
        "ablate_signal",
        "Signals that order the problems",
        {order: (label, cell(scale, gaussian(scale, order))) for order, label in ORDERS.items()},
        baseline="angle",
    )
