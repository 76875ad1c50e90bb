"""Training: TRL's trainers, drawing from a schedule."""

from gainrl.trainer.checkpoints import newest, remove_all
from gainrl.trainer.engine import engine_of, let_vllm_take_new_weights
from gainrl.trainer.scheduled import (
    ROW,
    Epoch,
    Scheduled,
    ScheduledGRPOTrainer,
    ScheduledRLOOTrainer,
    training_dataset,
)

__all__ = [
    "ROW",
    "Epoch",
    "Scheduled",
    "ScheduledGRPOTrainer",
    "ScheduledRLOOTrainer",
    "engine_of",
    "let_vllm_take_new_weights",
    "newest",
    "remove_all",
    "training_dataset",
]
