"""Experiments by name, and the paper's numbers with their source."""

import importlib
import pkgutil

import experiments
from gainrl.config import Experiment
from gainrl.errors import unknown_name

PAPER_SPEED_UP = "more than 2.5x"
"""Training acceleration of GAIN-RL over vanilla GRPO. Source: abstract of arXiv 2506.02281."""


def experiment_names() -> list[str]:
    """Every module of this package but this one."""
    return sorted(module.name for module in pkgutil.iter_modules(experiments.__path__) if module.name != "base")


def load_experiment(name: str, scale: str = "tiny") -> Experiment:
    """The experiment as it stands in its module. Raises InputError for an unknown name or scale."""
    if name not in experiment_names():
        raise unknown_name("experiment", name, experiment_names())
    module = importlib.import_module(f"experiments.{name}")
    if scale not in module.SCALES:
        raise unknown_name(f"scale of {name}", scale, module.SCALES)
    result: Experiment = module.experiment(scale)
    return result
