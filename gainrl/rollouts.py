"""Completions of problems, sampled or greedy, with the tokens that were sampled and what the grader says of them."""

from collections.abc import Iterator, Sequence

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.generators import generator_of
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
    generate = generator_of(model, tokenizer, batch_tokens)
    batches = _batches(encoded, max(1, batch_tokens // samples), max_completion_tokens)
    rows: dict[int, list[dict[str, object]]] = {}
    for batch in batches:
        completions = generate(
            [encoded[row].ids.tolist() for row in batch for _ in range(samples)],
            max_tokens=max_completion_tokens,
            temperature=temperature,
            seed=torch_seed(seed, f"rollouts from {problems.ids[batch[0]]}"),
        )
        texts = tokenizer.batch_decode([one.ids if one.truncated else one.ids[:-1] for one in completions])
        for index, (one, text) in enumerate(zip(completions, texts, strict=True)):
            problem, sample = problems.problems[batch[index // samples]], index % samples
            correct = grade(text, problem.answer, truncated=one.truncated).correct
            values = (problem.problem_id, sample, one.ids, text, correct, one.truncated)
            rows.setdefault(batch[index // samples], []).append(dict(zip(COLUMNS, values, strict=True)))
        if progress is not None:
            progress(len(rows), len(problems))
    return pd.DataFrame([row for position in range(len(problems)) for row in rows[position]])


def _batches(encoded: Sequence[EncodedPrompt], batch_tokens: int, completion_tokens: int) -> Iterator[list[int]]:
    """Rows by falling length, so many that prompts and one completion each have at most ``batch_tokens``."""
    rows = sorted(range(len(encoded)), key=lambda row: -len(encoded[row].ids))
    while rows:
        size = max(1, batch_tokens // (len(encoded[rows[0]].ids) + completion_tokens))
        yield rows[:size]
        rows = rows[size:]
