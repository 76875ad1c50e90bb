"""The main job in minutes on two cores: GRPO, AdaRFT, GAIN-RL and its control, trained from the same tiny model.

The control is GAIN-RL's Gaussian over a random order: what it shares with GAIN-RL is not owed to the angle.
"""

from experiments.base import PAPER_SPEED_UP
from gainrl.config import (
    EvaluationConfig,
    Experiment,
    ModelConfig,
    ProblemsConfig,
    RunConfig,
    ScheduleConfig,
    TrainingConfig,
)

SCALES = ("tiny",)

SIGMA = 64.0
"""A sixteenth of the order, the width of one draw. The paper's configuration has 1000, for some 40,000 problems."""

SCHEDULES = {
    "grpo": ("GRPO (uniform)", ScheduleConfig(name="uniform")),
    "adarft": ("AdaRFT", ScheduleConfig(name="adarft", order="difficulty")),
    "gainrl": ("GAIN-RL (angle)", ScheduleConfig(name="gaussian", order="angle", options={"sigma": SIGMA})),
    "control": ("control (random)", ScheduleConfig(name="gaussian", order="random", options={"sigma": SIGMA})),
}


def experiment(scale: str = "tiny") -> Experiment:
    return Experiment(
        name="quickstart",
        title="Steps to target accuracy on generated arithmetic, tiny model",
        cells={name: _cell(schedule) for name, (_, schedule) in SCHEDULES.items()},
        labels={name: label for name, (label, _) in SCHEDULES.items()},
        baseline="grpo",
        targets=(0.6, 0.7, 0.8),
        reference=f"Paper, on larger models and other problems: GAIN-RL {PAPER_SPEED_UP} over vanilla GRPO (abstract).",
    )


def _cell(schedule: ScheduleConfig) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name="tiny"),
        problems=ProblemsConfig(train="arithmetic", heldout=("arithmetic",), train_size=1024, heldout_size=600),
        schedule=schedule,
        training=TrainingConfig(
            steps=120,
            prompts_per_step=16,
            generations=8,
            prompts_per_epoch=64,
            learning_rate=2e-4,
            max_completion_tokens=26,
        ),
        evaluation=EvaluationConfig(every=5, max_completion_tokens=26),
    )
