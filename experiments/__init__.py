"""Experiments by name: each module but those in `SHARED` has a function ``experiment(scale)`` that returns its cells.

A module may name its scales in ``SCALES``; by default they are `USUAL`. What some experiments measure after their runs is in
`gainrl.cli.follow_ups`.
"""

import importlib
import pkgutil
from types import ModuleType

from gainrl.errors import unknown_name
from gainrl.runs.experiment import Experiment

SCALES = {
    "tiny": "models made on the spot; minutes a run on a CPU",
    "small": "SmolLM2-135M, which make small installs; two hours a run on a CPU",
    "paper": "models and problem sets of the hub; GPUs",
}
"""Scale -> what it needs."""
USUAL = ("tiny", "paper")
SHARED = {"cells", "paper", "questions"}
"""Modules that the experiments are built with, and what is asked of several."""


def experiment_names() -> list[str]:
    """Every module of this package but the shared ones."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - SHARED)


def scales(name: str) -> tuple[str, ...]:
    """Scales of an experiment. Raises InputError for an unknown name."""
    result: tuple[str, ...] = getattr(_module(name), "SCALES", USUAL)
    return result


def load_experiment(name: str, scale: str = "tiny") -> Experiment:
    """The experiment that its module defines. Raises InputError for an unknown name or scale."""
    if scale not in scales(name):
        raise unknown_name(f"scale of {name}", scale, scales(name))
    result: Experiment = _module(name).experiment(scale)
    return result


def _module(name: str) -> ModuleType:
    if name not in experiment_names():
        raise unknown_name("experiment", name, experiment_names())
    return importlib.import_module(f"experiments.{name}")
