"""Experiments by name, and the paper's values with their source beside each."""

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import experiments
from gainrl.config import Experiment
from gainrl.errors import unknown_name

if TYPE_CHECKING:
    from gainrl.records import Report

SCALES = ("tiny", "paper")
NO_EXPERIMENTS = {"base", "cells", "measurements"}
"""Modules of this package that experiments are made with."""

PAPER_SPEED_UP = "more than 2.5x"
"""Training acceleration of GAIN-RL over vanilla GRPO. Source: abstract of arXiv 2506.02281."""
PAPER_DATA_EFFICIENCY = "better than vanilla GRPO on all data with half of the data"
"""Source: abstract of arXiv 2506.02281."""
PAPER_LISTING = (
    "training steps to target accuracy: GSM8K 220, MATH500 180, MinervaMath 220, AMC23 240, mean of six benchmarks 193; "
    "GSM8K accuracy 90.1 (avg@8), AMC 2023 68.4 (avg@8)"
)
"""Source: the paper's public benchmark listing, which does not say of which model or of which row a value is."""

SIGMA = 1000.0
ALPHA = 2.0
BETA = 0.5
AMPLITUDE = 500.0
"""All four: the release's configuration, equal in both of its trainers. AMPLITUDE stands for the paper's n/2."""
LARGEST_DRAW = 1024
"""Prompts a draw in the release's DeepScaleR scripts, beside which it has that AMPLITUDE."""
DRAWS = 200
"""Epochs in all scripts of the release; its sampler gives one draw an epoch."""
EVALUATE_EVERY = 5
"""Draws, in the release's verl scripts."""
GENERATIONS = 8
"""Rollouts a prompt, in all scripts of the release."""
LEARNING_RATE = 1e-6
"""In all scripts of the release, constant."""
KL = 0.001
"""In the release's verl scripts, with the low-variance estimator, which is TRL's; its TRL script has 0.005."""
MINI_BATCH = 256
"""Prompts an optimizer step, in all scripts of the release."""

FollowUp = Callable[[Experiment, Path, "Report"], str]
"""Measures what runs do not (plan, runs folder, report) and returns Markdown that says where the files are."""


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"experiments.{name}")


def experiment_names() -> list[str]:
    """Every module of this package but those that experiments are made with."""
    return sorted({module.name for module in pkgutil.iter_modules(experiments.__path__)} - NO_EXPERIMENTS)


def scales(name: str) -> tuple[str, ...]:
    """Scales of an experiment: both, unless its module says otherwise. Raises InputError for an unknown name."""
    if name not in experiment_names():
        raise unknown_name("experiment", name, experiment_names())
    result: tuple[str, ...] = getattr(_module(name), "SCALES", SCALES)
    return result


def load_experiment(name: str, scale: str = "tiny") -> Experiment:
    """The experiment as it stands in its module. Raises InputError for an unknown name or scale."""
    if scale not in scales(name):
        raise unknown_name(f"scale of {name}", scale, scales(name))
    result: Experiment = _module(name).experiment(scale)
    return result


def follow_up(name: str) -> FollowUp | None:
    """What an experiment measures after its runs; None where the runs are all. What is finished is not made again."""
    return getattr(_module(name), "follow_up", None)
