"""One run, from its config to a finished run folder."""

from gainrl.train.arguments import trl_arguments
from gainrl.train.inputs import build_schedule, training_problems
from gainrl.train.run import Interrupted, train_run

__all__ = ["Interrupted", "build_schedule", "train_run", "training_problems", "trl_arguments"]
