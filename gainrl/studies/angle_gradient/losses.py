"""The losses whose gradients are measured, as weighted completions of each problem.

Shapes: R rows (completions), T tokens of a row.
"""

from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from gainrl.errors import InputError
from gainrl.problems import ProblemSet
from gainrl.prompts import EncodedPrompt

ADVANTAGE_EPSILON = 1e-4
"""What TRL adds to the standard deviation of a group's rewards."""

Row = tuple[list[int], float]
"""Completion tokens, and the weight of each in the loss."""


def supervised_rows(
    tokenizer: PreTrainedTokenizerBase, problems: ProblemSet, completions: Mapping[str, str] | None
) -> list[list[Row]]:
    if completions is not None and (missing := [name for name in problems.ids if name not in completions]):
        raise InputError(f"no completion for problem {missing[0]} ({len(missing)} have none)")
    texts = [
        problem.gold_completion if completions is None else completions[problem.problem_id]
        for problem in problems.problems
    ]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens = [[*ids, *end] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return [[(ids, 1 / len(ids))] for ids in tokens]


def grpo_rows(problems: ProblemSet, rollouts: pd.DataFrame) -> list[list[Row]]:
    by_problem = dict(list(rollouts.groupby("problem_id", sort=False)))
    groups = []
    for name in problems.ids:
        group = by_problem[name]
        reward_G = group["correct"].astype(float)
        advantage_G = (reward_G - reward_G.mean()) / (reward_G.std() + ADVANTAGE_EPSILON)
        groups.append(
            [
                (list(ids), advantage / len(ids) / len(group))
                for ids, advantage in zip(group["ids"], advantage_G, strict=True)
            ]
        )
    return groups


def tensors(
    prompts: Sequence[EncodedPrompt], groups: Sequence[Sequence[Row]], device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Token ids, mask, loss weights, and which tokens are the question's: (R, T) each, padded on the right."""
    ids, weights, questions = [], [], []
    for prompt, group in zip(prompts, groups, strict=True):
        prompt_ids = torch.as_tensor(prompt.ids, dtype=torch.long)
        position = torch.arange(len(prompt_ids))
        for completion, weight in group:
            ids.append(torch.cat([prompt_ids, torch.tensor(completion)]))
            weights.append(torch.cat([torch.zeros(len(prompt_ids)), torch.full((len(completion),), weight)]))
            questions.append((position >= prompt.prefix_tokens) & (position < prompt.question_end))
    mask = [torch.ones_like(row) for row in ids]
    length = max(len(row) for row in ids)
    padded = [nn.functional.pad(row, (0, length - len(row))) for row in questions]
    ids_RT, mask_RT, weight_RT = (nn.utils.rnn.pad_sequence(rows, batch_first=True) for rows in (ids, mask, weights))
    return ids_RT.to(device), mask_RT.to(device), weight_RT.to(device), torch.stack(padded).to(device)
