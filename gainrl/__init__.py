"""GAIN-RL for one's own TRL scripts: ``from gainrl import score_problems, Gaussian, ScheduledGRPOTrainer``.

Names are imported when they are first used, so that ``import gainrl`` costs nothing.
"""

import importlib
from typing import Any

_PUBLIC = {
    "gainrl.runs.config": ("SignalConfig",),
    "gainrl.studies.gradients": ("squared_gradient_norms",),
    "gainrl.grading": ("accuracy_reward", "grade"),
    "gainrl.models.loading": ("load_model", "load_tokenizer"),
    "gainrl.scoring": ("Scores", "load_released_order", "score_problems"),
    "gainrl.problems": ("Problem", "ProblemSet", "load_problems"),
    "gainrl.prompts": ("Prompt",),
    "gainrl.models.generation.rollouts": ("sample_completions",),
    "gainrl.schedules": ("AdaRFT", "Feedback", "Gaussian", "Ordered", "Outcome", "Schedule", "Uniform"),
    "gainrl.angle": ("angle_concentration", "released_concentration"),
    "gainrl.training": ("ScheduledGRPOTrainer", "ScheduledRLOOTrainer", "training_dataset"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gainrl' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
