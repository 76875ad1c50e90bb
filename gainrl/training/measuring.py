"""Pass rates of the whole training set by the model in training, for a schedule that measures them."""

from typing import Any

import numpy as np

from gainrl.models.generation.trl import trainer_backend
from gainrl.rng import torch_seed
from gainrl.schedules import Floats

BATCH_TOKENS = 16_384
"""Most tokens of a batch, prompts and completions together."""


def measured_pass_rates(trainer: Any) -> Floats:
    """Share of the schedule's ``measures`` rollouts of each problem that are correct: (N,); 0 where none has a verdict.

    The rollouts count in no metric, and take no random number from training.
    """
    size, examples = trainer.schedule.measures, list(trainer.train_dataset)
    prompts = [example["prompt"] for example in examples]
    ids, *_ = trainer._tokenize_prompts(prompts)
    with trainer_backend(trainer, BATCH_TOKENS) as backend:
        completions = backend(
            [prompt for prompt in ids for _ in range(size)],
            max_tokens=trainer.max_completion_length,
            temperature=trainer.temperature,
            seed=torch_seed(trainer.args.seed, f"pass rates before epoch {trainer.tally.epochs}"),
        )
    written = [completion.ids for completion in completions]
    texts = trainer.processing_class.batch_decode(written, skip_special_tokens=True)
    conversations = not isinstance(prompts[0], str)
    answers = [[{"role": "assistant", "content": text}] if conversations else text for text in texts]
    repeated = [example for example in examples for _ in range(size)]
    rewards = trainer.reward_plainly(repeated, [example["prompt"] for example in repeated], answers, written)
    correct_N = rewards[: len(repeated), trainer.accuracy_column].reshape(len(examples), size).double().cpu().numpy()
    graded_N = np.maximum(1, (~np.isnan(correct_N)).sum(axis=1))
    return np.asarray(np.nansum(correct_N, axis=1) / graded_N, dtype=np.float64)
