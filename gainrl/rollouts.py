"""Completions of problems, sampled or greedy, with the tokens that were sampled and what the grader says of them."""

from collections.abc import Iterator, Sequence

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from gainrl.grading import grade
from gainrl.models.supervised import Progress
from gainrl.problems import ProblemSet
from gainrl.prompts import EncodedPrompt, Prompt, encode_prompts, require_fit
from gainrl.seeding import torch_seed

COLUMNS = ("problem_id", "sample", "ids", "text", "correct", "truncated")


def sample_completions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    prompt: Prompt | None = None,
    *,
    samples: int,
    max_completion_tokens: int,
    temperature: float = 1.0,
    seed: int = 0,
    batch_tokens: int = 16_384,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """A row a (problem, sample), in the set's order; `COLUMNS`. ``ids`` end with the end token unless truncated.

    Args:
        temperature: 0 is greedy, of which one sample is enough.
        batch_tokens: most tokens of a batch, prompts and completions of all samples together.
        progress: called with (finished problems, all problems).

    Raises InputError: a prompt and its completion do not fit the model's context.
    """
    prompt = prompt or Prompt()
    encoded = encode_prompts(tokenizer, [prompt.messages(p.question) for p in problems.problems], problems.ids)
    require_fit(encoded, problems.ids, int(model.config.max_position_embeddings), max_completion_tokens)
    stop = _end_tokens(model, tokenizer)
    settings = GenerationConfig(
        do_sample=temperature > 0,
        temperature=temperature or None,
        top_k=0 if temperature else None,  # its default is not 0
        num_return_sequences=samples,
        max_new_tokens=max_completion_tokens,
        eos_token_id=stop,
        pad_token_id=stop[0] if tokenizer.pad_token_id is None else tokenizer.pad_token_id,
    )
    rows: dict[int, list[dict[str, object]]] = {}
    for batch in _batches(encoded, samples, max_completion_tokens, batch_tokens):
        name = f"rollouts from {problems.ids[batch[0]]}"
        completions = _generate(model, settings, [encoded[row] for row in batch], torch_seed(seed, name))
        texts = tokenizer.batch_decode([ids[:-1] if ids[-1] in stop else ids for ids in completions])
        for index, (ids, text) in enumerate(zip(completions, texts, strict=True)):
            problem, sample = problems.problems[batch[index // samples]], index % samples
            truncated = ids[-1] not in stop
            correct = grade(text, problem.answer, truncated=truncated).correct
            values = (problem.problem_id, sample, ids, text, correct, truncated)
            rows.setdefault(batch[index // samples], []).append(dict(zip(COLUMNS, values, strict=True)))
        if progress is not None:
            progress(len(rows), len(problems))
    return pd.DataFrame([row for position in range(len(problems)) for row in rows[position]])


def _end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = named if isinstance(named, list) else [named]
    return list(dict.fromkeys(end for end in (tokenizer.eos_token_id, *ends) if end is not None))


def _batches(
    encoded: Sequence[EncodedPrompt], samples: int, completion_tokens: int, batch_tokens: int
) -> Iterator[list[int]]:
    rows = sorted(range(len(encoded)), key=lambda row: -len(encoded[row].ids))
    while rows:
        size = max(1, batch_tokens // (samples * (len(encoded[rows[0]].ids) + completion_tokens)))
        yield rows[:size]
        rows = rows[size:]


@torch.no_grad()
def _generate(
    model: PreTrainedModel, settings: GenerationConfig, prompts: Sequence[EncodedPrompt], seed: int
) -> list[list[int]]:
    """Token ids of each sample, up to and with the first end token."""
    ids_BT, mask_BT = _pad_left(prompts, int(settings.pad_token_id), model.device)
    devices = [model.device] if model.device.type == "cuda" else []
    training = model.training
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        output = model.eval().generate(input_ids=ids_BT, attention_mask=mask_BT, generation_config=settings)
    model.train(training)
    completions = []
    for ids in output[:, ids_BT.shape[1] :].tolist():
        end = next((position for position, token in enumerate(ids) if token in settings.eos_token_id), len(ids) - 1)
        completions.append(ids[: end + 1])
    return completions


def _pad_left(prompts: Sequence[EncodedPrompt], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    rows = [torch.as_tensor(one.ids, dtype=torch.long) for one in prompts]
    ids_BT = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad, padding_side="left")
    masks = [torch.ones_like(row) for row in rows]
    mask_BT = nn.utils.rnn.pad_sequence(masks, batch_first=True, padding_side="left")
    return ids_BT.to(device), mask_BT.to(device)
