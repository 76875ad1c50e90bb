"""What a run is, and what an experiment is: frozen, complete, validated. A config raises; it never corrects itself."""

from gainrl.config.experiment import Execution, Experiment
from gainrl.config.run import (
    Definition,
    EvaluationConfig,
    Frozen,
    ModelConfig,
    ProblemsConfig,
    RunConfig,
    ScheduleConfig,
    SignalConfig,
    Site,
    TrainingConfig,
    complete_options,
    hash_of,
)
from gainrl.config.slurm import SlurmOptions

__all__ = [
    "Definition",
    "EvaluationConfig",
    "Execution",
    "Experiment",
    "Frozen",
    "ModelConfig",
    "ProblemsConfig",
    "RunConfig",
    "ScheduleConfig",
    "SignalConfig",
    "Site",
    "SlurmOptions",
    "TrainingConfig",
    "complete_options",
    "hash_of",
]
