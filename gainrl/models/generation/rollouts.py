"""Completions of problems, sampled or greedy, with their tokens and the grader's verdict."""

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.grading import grade_batch
from gainrl.models.generation.hf import hf_backend
from gainrl.models.loading import context_length
from gainrl.problems import ProblemSet
from gainrl.progress import Progress
from gainrl.prompts import Prompt, encode_problems, length_batches, require_fit
from gainrl.rng import torch_seed

ROLLOUT_COLUMNS = ("problem_id", "sample", "ids", "text", "correct", "truncated")


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
    """One row per (problem, sample), in the set's order; `ROLLOUT_COLUMNS`. ``ids`` end with the end token unless truncated.

    Args:
        temperature: 0 is greedy, for which one sample is enough.
        batch_tokens: most tokens of a batch, prompts and completions of all samples together.
        progress: called with (finished problems, all problems).

    Raises InputError: a prompt and its completion do not fit the model's context.
    """
    prompt = prompt or problems.prompt
    encoded = encode_problems(tokenizer, problems.problems, prompt)
    require_fit(encoded, problems.ids, context_length(model.config), max_completion_tokens)
    generate = hf_backend(model, tokenizer, batch_tokens)
    lengths = [len(encoding.ids) + max_completion_tokens for encoding in encoded]
    rows: dict[int, list[dict[str, object]]] = {}
    for batch in length_batches(lengths, max(1, batch_tokens // samples)):
        completions = generate(
            [encoded[row].ids.tolist() for row in batch for _ in range(samples)],
            max_tokens=max_completion_tokens,
            temperature=temperature,
            seed=torch_seed(seed, f"rollouts from {problems.ids[batch[0]]}"),
        )
        texts = tokenizer.batch_decode([completion.text_ids for completion in completions])
        golds = [problems.problems[row].answer for row in batch for _ in range(samples)]
        verdicts = grade_batch(texts, golds, [completion.truncated for completion in completions])
        for index, (completion, text, verdict) in enumerate(zip(completions, texts, verdicts, strict=True)):
            problem, sample = problems.problems[batch[index // samples]], index % samples
            values = (problem.problem_id, sample, completion.ids, text, verdict.correct, completion.truncated)
            rows.setdefault(batch[index // samples], []).append(dict(zip(ROLLOUT_COLUMNS, values, strict=True)))
        if progress is not None:
            progress(len(rows), len(problems))
    return pd.DataFrame([row for position in range(len(problems)) for row in rows[position]])
