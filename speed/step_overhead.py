"""What a schedule costs: a step of `ScheduledGRPOTrainer` against one of TRL's unmodified GRPOTrainer.

The quickstart's settings, but for two that keep the work of all steps equal: every completion has all its tokens, and
the learning rate is 0. The trainers take turns, in another order each round; a round's ratio is paired.
"""

import time
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from rich.progress import track
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from experiments.base import load_experiment
from gainrl.grading import accuracy_reward
from gainrl.models import TINY_RECIPES
from gainrl.models.tiny import random_tiny_model, tiny_tokenizer
from gainrl.problems import load_problems
from gainrl.schedules import Gaussian, Uniform
from gainrl.seeding import generator
from gainrl.stats import summarize
from gainrl.train import grpo_arguments
from gainrl.trainer import ScheduledGRPOTrainer, training_dataset
from speed.report import publish

WARM_STEPS = 4


class Clock(TrainerCallback):
    """Times of the ends of steps, so that drawing, feedback and data loading count."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def seconds_a_step(variant: str, steps: int) -> float:
    """Mean over ``steps`` steps of a new trainer, after a few that do not count."""
    run = load_experiment("quickstart").cells["gainrl"]
    problems = load_problems("arithmetic", limit=run.problems.train_size)
    random_keys = generator(0, "random order").permutation(len(problems))
    tokenizer = tiny_tokenizer()
    settings = grpo_arguments(run, Path("unused")).to_dict()
    tokens = run.training.max_completion_tokens
    settings |= {"max_steps": WARM_STEPS + steps, "learning_rate": 0.0, "generation_kwargs": {"min_new_tokens": tokens}}
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
    clock = Clock()
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return (clock.ends[-1] - clock.ends[WARM_STEPS - 1]) / steps


def main(rounds: int = 12, steps: int = 24) -> None:
    """Measure and publish.

    Args:
        rounds: How often all three take their turn.
        steps: Steps of a turn.
    """
    names = ("TRL", "uniform", "gaussian")
    orders = list(permutations(names))
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in track(range(rounds), description="rounds"):
        for name in orders[number % len(orders)]:
            seconds[name].append(seconds_a_step(name, steps))
    rows = []
    for name, label in zip(names, ("TRL's GRPOTrainer", "ours, uniform", "ours, gaussian with the angle"), strict=True):
        ratio = summarize([mine / theirs for mine, theirs in zip(seconds[name], seconds["TRL"], strict=True)])
        median = float(np.median(seconds[name]))
        rows.append({"trainer": label, "seconds a step (median)": median, "ratio to TRL (mean)": ratio.mean,
                     "low": ratio.low, "high": ratio.high})  # fmt: skip
    note = f"{rounds} rounds of {steps} steps each; ratio: paired within a round, 95 % bootstrap interval over rounds."
    publish("step_overhead", "A step of ScheduledGRPOTrainer against TRL's GRPOTrainer", pd.DataFrame(rows), note)


if __name__ == "__main__":
    tyro.cli(main)
