"""The losses whose gradients are measured, as weighted completions of each problem.

Shapes: R rows (completions), T tokens of a row.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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


class Batch(NamedTuple):
    """What `squared_gradient_norms` takes, and which tokens are the question's; padded on the right."""

    ids_RT: Tensor
    mask_RT: Tensor
    weight_RT: Tensor
    question_RT: Tensor
    branch_RT: Tensor | None


def tensors(
    prompts: Sequence[EncodedPrompt], groups: Sequence[Sequence[Row]], device: torch.device, *, branches: bool
) -> Batch:
    """A row a completion, or with ``branches`` a row a problem: its prompt once, and all of its completions after it."""
    together = [[group] if branches else [[row] for row in group] for group in groups]
    rows = [(prompt, row) for prompt, rows in zip(prompts, together, strict=True) for row in rows]
    ids, weights, questions, branch = zip(*(_row(prompt, completions) for prompt, completions in rows), strict=True)
    mask = [torch.ones_like(row) for row in ids]
    ids_RT, mask_RT, weight_RT, question_RT, branch_RT = (
        nn.utils.rnn.pad_sequence(list(columns), batch_first=True).to(device)
        for columns in (ids, mask, weights, questions, branch)
    )
    return Batch(ids_RT, mask_RT, weight_RT, question_RT, branch_RT if branches else None)


def _row(prompt: EncodedPrompt, completions: Sequence[Row]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, weights, whether of the question, and 0 for the prompt, then 1, 2, ... for each completion: (T,) each."""
    prompt_ids = torch.as_tensor(prompt.ids, dtype=torch.long)
    lengths = torch.tensor([len(prompt_ids), *[len(ids) for ids, _ in completions]])
    weight = torch.tensor([0.0, *[weight for _, weight in completions]])
    ids = torch.cat([prompt_ids, *[torch.tensor(ids) for ids, _ in completions]])
    position = torch.arange(len(ids))
    question = (position >= prompt.prefix_tokens) & (position < prompt.question_end)
    return ids, weight.repeat_interleave(lengths), question, torch.arange(len(lengths)).repeat_interleave(lengths)
