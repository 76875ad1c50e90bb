"""What a model finds likely about a problem, from one forward pass: the question, and how sure it is of an answer's beginning.

Shapes: B rows (problems), T tokens of a row, K positions of a row whose next token is looked at, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.problems import ProblemSet
from gainrl.progress import Progress
from gainrl.prompts import EncodedPrompt, Prompt, encode_problems, length_batches
from gainrl.scoring.prefill import batch_tokens_of, evaluating, pad

FIRST_TOKENS = 8
"""Of the completion, over which the entropy is averaged."""
COLUMNS = ("problem_id", "question_logp", "first_entropy", "completion_entropy")
_CHUNK = 64
"""Positions whose distribution over the vocabulary is held at once beside the logits of a batch."""


def likelihoods(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    prompt: Prompt | None = None,
    *,
    batch_tokens: int | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """A row a problem, in the set's order; `COLUMNS`, in nats:

    - ``question_logp``: mean over the question's tokens of log p(token | all before it)
    - ``first_entropy``: entropy of the distribution of the first completion token
    - ``completion_entropy``: mean entropy over the first `FIRST_TOKENS` tokens of the gold completion, its end included, each
      given those before it

    Args:
        batch_tokens: most tokens of a batch, padding included; their logits are held at once (a gigabyte for 5,000 tokens of a
            vocabulary of 49,152 in 32 bits). The default depends on the device.
        progress: called with (finished problems, all problems).
    """
    encoded = encode_problems(tokenizer, problems.problems, prompt or Prompt())
    golds = _first_tokens(tokenizer, problems)
    values_N3 = np.full((len(problems), len(COLUMNS) - 1), np.nan)
    lengths = [len(encoding.ids) + len(gold) for encoding, gold in zip(encoded, golds, strict=True)]
    done = 0
    with evaluating(model), torch.no_grad():
        for batch in length_batches(lengths, batch_tokens or batch_tokens_of(model)):
            values_N3[batch] = _batch(model, [encoded[row] for row in batch], [golds[row] for row in batch])
            done += len(batch)
            if progress is not None:
                progress(done, len(problems))
    return pd.DataFrame(values_N3, columns=list(COLUMNS[1:])).assign(problem_id=problems.ids)[list(COLUMNS)]


def _first_tokens(tokenizer: PreTrainedTokenizerBase, problems: ProblemSet) -> list[list[int]]:
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    texts = [problem.gold_completion for problem in problems.problems]
    return [[*ids, *end][:FIRST_TOKENS] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def _batch(
    model: PreTrainedModel, prompts: Sequence[EncodedPrompt], golds: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """(B, 3). Position t says what token t + 1 is; those that say the question's tokens come first, then the completion's."""
    ids_BT, _ = pad(
        [np.concatenate([prompt.ids, np.array(gold)]) for prompt, gold in zip(prompts, golds, strict=True)],
        model.device,
    )
    wanted = [
        [
            *range(prompt.prefix_tokens - 1, prompt.question_end - 1),
            *range(len(prompt.ids) - 1, len(prompt.ids) - 1 + n),
        ]
        for prompt, n in zip(prompts, map(len, golds), strict=True)
    ]
    position_BK, _ = pad([np.array(row) for row in wanted], model.device)
    logp_BK, entropy_BK = _next_tokens(model, ids_BT, position_BK)
    rows = []
    for row, prompt in enumerate(prompts):
        start, end = prompt.question_tokens, len(wanted[row])
        entropy = entropy_BK[row, start:end]
        rows.append([logp_BK[row, :start].mean(), entropy[0], entropy.mean()])
    return np.array([[float(value) for value in row] for row in rows])


def _next_tokens(model: PreTrainedModel, ids_BT: Tensor, position_BK: Tensor) -> tuple[Tensor, Tensor]:
    """log p of the token after each position, and the entropy there. The LM head sees the states at these alone."""

    def take(_module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].gather(1, position_BK[..., None].expand(-1, -1, args[0].shape[2])), *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(take)
    try:
        logits_NV = model(input_ids=ids_BT, use_cache=False).logits.flatten(0, 1)
    finally:
        handle.remove()
    next_N = ids_BT.gather(1, position_BK + 1).flatten()
    logps, entropies = [], []
    for first in range(0, len(next_N), _CHUNK):
        logp_CV = logits_NV[first : first + _CHUNK].double().log_softmax(-1)
        logps.append(logp_CV.gather(1, next_N[first : first + _CHUNK, None]).squeeze(1))
        entropies.append(-(logp_CV.exp() * logp_CV.clamp(min=-1e4)).sum(-1))
    return torch.cat(logps).view_as(position_BK), torch.cat(entropies).view_as(position_BK)
