"""How the angle moves while a model is trained: the quickstart's uniform and GAIN-RL cells, with checkpoints kept.

`gainrl patterns` reads the checkpoints (PAPER.md's epoch-wise and data-wise patterns).
"""

from experiments import quickstart
from gainrl.config import Experiment, RunConfig

SCALES = ("tiny",)
CELLS = ("grpo", "gainrl")
KEEP_EVERY = 10


def experiment(scale: str = "tiny") -> Experiment:
    whole = quickstart.experiment(scale)
    return Experiment(
        name="patterns",
        title="Angle and accuracy along training, tiny model",
        cells={name: _keeping(whole.cells[name]) for name in CELLS},
        labels={name: whole.labels[name] for name in CELLS},
        baseline=whole.baseline,
        targets=whole.targets,
    )


def _keeping(cell: RunConfig) -> RunConfig:
    training = cell.training.model_copy(update={"keep_every": KEEP_EVERY})
    return cell.model_copy(update={"training": training})
