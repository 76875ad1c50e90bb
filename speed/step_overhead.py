"""What a schedule costs: a step of `ScheduledGRPOTrainer` against one of TRL's unmodified GRPOTrainer.

The quickstart's settings, but for two that keep the work of all steps equal: every completion has all its tokens, and
the learning rate is 0. The trainers take turns step by step, in a random order, so that what else the machine does
falls on all of them alike. Drawing, feedback and data loading count as part of the step that they delay.
"""

import tempfile
import time
from pathlib import Path
from threading import Semaphore, Thread
from typing import Any

import numpy as np
import pandas as pd
import tyro
from rich.progress import track
from scipy.stats import bootstrap
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from experiments import load_experiment
from gainrl.grading import accuracy_reward
from gainrl.models import TINY_RECIPES
from gainrl.models.tiny import random_tiny_model, tiny_tokenizer
from gainrl.problems import load_problems
from gainrl.rng import generator
from gainrl.schedules import Gaussian, Uniform
from gainrl.training import ScheduledGRPOTrainer, training_dataset
from gainrl.training.arguments import trl_arguments
from speed.report import publish

WARM_STEPS = 4


class Turns(TrainerCallback):
    """Lets a trainer, which gets a thread of its own, do one step each time it is told to, and measures the step."""

    def __init__(self, trainer: GRPOTrainer) -> None:
        self.go, self.done = Semaphore(0), Semaphore(0)
        self.failed: BaseException | None = None
        self.trainer = trainer
        trainer.add_callback(self)
        trainer.remove_callback(PrinterCallback)

    def start(self) -> None:
        Thread(target=self._train, daemon=True).start()

    def _train(self) -> None:
        try:
            self.trainer.train()
        except BaseException as error:
            self.failed = error
        self.done.release()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.done.release()
        self.go.acquire()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.done.release()
        self.go.acquire()

    def wait(self) -> None:
        """Until the trainer has done its step (or stands before its first)."""
        self.done.acquire()
        if self.failed is not None:
            raise self.failed

    def step(self) -> float:
        """Seconds from the end of the trainer's last step to the end of its next, less the wait for the others."""
        began = time.perf_counter()
        self.go.release()
        self.wait()
        return time.perf_counter() - began


def make(variant: str, steps: int) -> Turns:
    """A trainer that can take turns."""
    run = load_experiment("quickstart").cells["gainrl"]
    problems = load_problems("arithmetic", limit=run.problems.train_size)
    random_keys = generator(0, "random order").permutation(len(problems))
    tokenizer = tiny_tokenizer()
    settings = trl_arguments(run, Path(tempfile.gettempdir())).to_dict()
    tokens = run.training.max_completion_tokens
    settings |= {"max_steps": steps, "learning_rate": 0.0, "generation_kwargs": {"min_new_tokens": tokens}}
    common = {
        "model": random_tiny_model(TINY_RECIPES["tiny"], tokenizer, seed=0),
        "processing_class": tokenizer,
        "reward_funcs": accuracy_reward,
        "args": GRPOConfig(**{key: value for key, value in settings.items() if key != "generation_batch_size"}),
        "train_dataset": training_dataset(problems),
    }
    if variant == "TRL":
        trainer = GRPOTrainer(**common)
    else:
        schedule = Uniform(random_keys) if variant == "uniform" else Gaussian(random_keys, sigma=64.0)
        trainer = ScheduledGRPOTrainer(
            **common, schedule=schedule, prompts_per_epoch=run.training.prompts_per_epoch, signal=run.signal
        )
    return Turns(trainer)


def main(steps: int = 160) -> None:
    """Measure and publish.

    Args:
        steps: Steps of each trainer that count.
    """
    labels = {"TRL": "TRL's GRPOTrainer", "uniform": "ours, uniform", "gaussian": "ours, gaussian with the angle"}
    # All are made before the first begins: making one resets the state that accelerate shares between them.
    trainers = {name: make(name, WARM_STEPS + steps + 1) for name in labels}
    for turns in trainers.values():
        turns.start()
        turns.wait()
    seconds: dict[str, list[float]] = {name: [] for name in labels}
    rng = generator(0, "turns")
    for _ in track(range(WARM_STEPS + steps), description="steps of each"):
        for name in rng.permutation(list(labels)):
            seconds[name].append(trainers[name].step())
    measured = {name: np.array(values[WARM_STEPS:]) for name, values in seconds.items()}
    rows = []
    for name, label in labels.items():
        row = {"trainer": label, "seconds a step": measured[name].mean(), "ratio to TRL": 1.0}
        if name != "TRL":
            pair = (measured[name], measured["TRL"])
            interval = bootstrap(
                pair, _ratio, paired=True, vectorized=False, rng=generator(0, "bootstrap")
            ).confidence_interval
            row |= {"ratio to TRL": _ratio(*pair), "low": float(interval.low), "high": float(interval.high)}
        rows.append(row)
    note = f"{steps} steps of each, in turns; ratio of the means, 95 % bootstrap interval over paired steps."
    publish("step_overhead", "A step of ScheduledGRPOTrainer against TRL's GRPOTrainer", pd.DataFrame(rows), note)


def _ratio(mine: Any, theirs: Any) -> float:
    return float(np.mean(mine) / np.mean(theirs))


if __name__ == "__main__":
    tyro.cli(main)
