"""Training: TRL's trainers drawing from a schedule, and one run from its config to a finished folder."""

from gainrl.training.trainer import Scheduled, ScheduledGRPOTrainer, ScheduledRLOOTrainer, training_dataset

__all__ = ["Scheduled", "ScheduledGRPOTrainer", "ScheduledRLOOTrainer", "training_dataset"]
