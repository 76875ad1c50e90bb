"""Experiments by name: each module but those in `SHARED` has a function ``experiment(scale)`` that returns its cells, or
``study(scale)`` where nothing is trained and problem sets are measured.

A module may name its scales in ``SCALES``; by default they are `USUAL`. What some experiments measure after their runs is in
`gainrl.cli.follow_ups`.
"""

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from gainrl.errors import InputError, unknown_name
from gainrl.runs.experiment import Experiment
from gainrl.runs.study import Study

SCALES = {
    "tiny": "models made on the spot; minutes a run on a CPU",
    "small": "SmolLM2-135M, which make small installs; under an hour a run on a core with AMX",
    "paper": "models and problem sets of the hub; GPUs",
}
"""Scale -> what it needs."""
USUAL = ("tiny", "paper")
SHARED = {"cells", "paper", "questions"}
"""Modules that the experiments are built with, and what is asked of several."""


def of_scale(folder: Path, scale: str) -> Path:
    """Where runs or results of a scale lie: the same cells at another scale are other runs."""
    return folder if scale == "tiny" else folder / scale


def experiment_names() -> list[str]:
    """Every experiment that trains."""
    return [name for name in _names() if hasattr(_module(name), "experiment")]


def study_names() -> list[str]:
    """Every study, which trains nothing."""
    return [name for name in _names() if hasattr(_module(name), "study")]


def scales(name: str) -> tuple[str, ...]:
    """Scales of an experiment or a study. Raises InputError for an unknown name."""
    result: tuple[str, ...] = getattr(_module(name), "SCALES", USUAL)
    return result


def load_experiment(name: str, scale: str = "tiny") -> Experiment:
    """The experiment that its module defines.

    Raises InputError for an unknown name or scale, for a study, and where the module's settings do not fit at this scale.
    """
    if name in study_names():
        raise InputError(
            f"{name} is a study that trains nothing; valid with it: gainrl reproduce, which writes its report, list, show "
            "and publish"
        )
    _require_scale(name, scale)
    try:
        result: Experiment = _module(name).experiment(scale)
    except InputError as error:
        raise InputError(f"experiments/{name}.py at scale {scale}: {error}") from error
    return result


def load_study(name: str, scale: str) -> Study:
    """The study that its module defines. Raises InputError for an unknown name or scale."""
    if name not in study_names():
        raise unknown_name("study", name, study_names())
    _require_scale(name, scale)
    result: Study = _module(name).study(scale)
    return result


def _require_scale(name: str, scale: str) -> None:
    if scale not in scales(name):
        raise unknown_name(f"scale of {name}", scale, scales(name))


def _names() -> list[str]:
    """Every module of this package but the shared ones."""
    return sorted({module.name for module in pkgutil.iter_modules(__path__)} - SHARED)


def _module(name: str) -> ModuleType:
    if name not in _names():
        raise unknown_name("experiment", name, _names())
    return importlib.import_module(f"experiments.{name}")
