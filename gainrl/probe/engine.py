"""The prefill: the prefix once, its keys and values reused; questions by length; nothing after the probed site."""

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.models.loading import weights_hash
from gainrl.models.tiny import Progress
from gainrl.probe.scores import Scores, signal_metadata
from gainrl.probe.sites import prefill_to_site
from gainrl.problems import ProblemSet
from gainrl.prompts import Prompt, encode_prompts, require_fit
from gainrl.records import write_atomically
from gainrl.schedules import Floats
from gainrl.signal import concentration, unit_mean

Ids = NDArray[np.int32]


def score_problems(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    prompt: Prompt | None = None,
    *,
    signal: SignalConfig | None = None,
    model_version: str | None = None,
    batch_tokens: int = 4096,
    unfinished: Path | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Angle concentration of every problem, from one prefill of each prompt up to the probed site.

    Args:
        model_version: what to call the weights in the metadata; a hash of them if not given.
        batch_tokens: most question tokens of a batch, padding included. Does not change the scores (1e-5 in fp32).
        unfinished: file that keeps finished batches, so that a broken-off scoring goes on; removed at the end.
        progress: called with (finished problems, all problems).

    Raises:
        InputError: a prompt that cannot be encoded or is longer than the context, a probe site or layer that the model
            does not have, an unfinished file of other settings, a score that is not finite (which problem).
    """
    prompt, signal = prompt or Prompt(), signal or SignalConfig()
    encoded = encode_prompts(tokenizer, [prompt.messages(p.question) for p in problems.problems], problems.ids)
    require_fit(encoded, problems.ids, int(model.config.max_position_embeddings))
    prefix_tokens = encoded[0].prefix_tokens
    if not prefix_tokens:
        raise InputError(
            "the prompt has no token before the question, so c_inter has no meaning; give it a system message"
        )
    questions = [np.array(e.ids[prefix_tokens : e.question_end], dtype=np.int32) for e in encoded]
    if signal.definition == "off-diagonal" and (short := [i for i, q in enumerate(questions) if len(q) < 2]):
        raise InputError(f"the question of {problems.ids[short[0]]} is one token; off-diagonal needs two")
    prefix = torch.tensor([encoded[0].ids[:prefix_tokens]], device=model.device)
    del encoded

    metadata = signal_metadata(model_version or weights_hash(model), problems, prompt, signal)
    done = _Finished(unfinished, metadata)
    with _evaluating(model):
        scorer = _Scorer(model, signal, prefix)
        for rows in _batches([len(question) for question in questions], batch_tokens):
            if not done.has(rows):
                done.add(rows, *scorer.score([questions[row] for row in rows]))
            if progress is not None:
                progress(len(done.c_intra), len(questions))

    table = _table(problems, questions, prefix_tokens, done)
    done.remove()
    return Scores(table, {**metadata, "version": version("gainrl")})


def _table(problems: ProblemSet, questions: Sequence[Ids], prefix_tokens: int, finished: "_Finished") -> pd.DataFrame:
    rows = range(len(questions))
    c_intra_N, c_inter_N = (np.array([values[row] for row in rows]) for values in (finished.c_intra, finished.c_inter))
    table = pd.DataFrame(
        {
            "problem_id": problems.ids,
            "c_intra": c_intra_N,
            "c_inter": c_inter_N,
            "angle": c_intra_N + c_inter_N,
            "question_tokens": [len(question) for question in questions],
            "prefix_tokens": prefix_tokens,
        }
    )
    if not np.isfinite(table["angle"]).all():
        bad = table.problem_id[~np.isfinite(table["angle"])]
        raise InputError(f"the score of {bad.iloc[0]} is not finite ({len(bad)} of {len(table)} problems)")
    return table


class _Scorer:
    """Holds what all prompts share: the prefix's keys and values in every layer, and its mean unit vector."""

    def __init__(self, model: PreTrainedModel, signal: SignalConfig, prefix_1P: Tensor) -> None:
        self.model, self.signal = model, signal
        self.prefix_tokens = prefix_1P.shape[1]
        self.cache = DynamicCache(config=model.config)
        hidden_1PD = self._prefill(prefix_1P, torch.ones_like(prefix_1P), self.cache)
        self.prefix_1D = unit_mean(hidden_1PD, torch.ones_like(prefix_1P))

    def score(self, questions: Sequence[Ids]) -> tuple[Floats, Floats]:
        """c_intra and c_inter of a batch; a batch that does not fit the device's memory is halved."""
        try:
            return self._score(questions)
        except torch.OutOfMemoryError:
            if len(questions) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(questions) // 2
        first, second = self.score(questions[:half]), self.score(questions[half:])
        return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])

    def _score(self, questions: Sequence[Ids]) -> tuple[Floats, Floats]:
        ids_BQ, mask_BQ = _pad(questions, self.model.device)
        cache = copy.deepcopy(self.cache)
        cache.batch_repeat_interleave(len(questions))
        prefix_mask_BP = mask_BQ.new_ones(len(questions), self.prefix_tokens)
        hidden_BQD = self._prefill(ids_BQ, torch.cat([prefix_mask_BP, mask_BQ], dim=1), cache)
        result = concentration(unit_mean(hidden_BQD, mask_BQ), mask_BQ.sum(1), self.prefix_1D, self.signal.definition)
        return result.c_intra.double().cpu().numpy(), result.c_inter.double().cpu().numpy()

    def _prefill(self, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        return prefill_to_site(
            self.model, self.signal, input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True
        )


class _Finished:
    """Scores by row, kept in a file as they come: a line for the settings, then a line a batch."""

    def __init__(self, path: Path | None, metadata: Mapping[str, str]) -> None:
        self.path = path
        self.c_intra: dict[int, float] = {}
        self.c_inter: dict[int, float] = {}
        if path is None:
            return
        lines = path.read_text().split("\n") if path.exists() else []
        if len(lines) < 2:
            write_atomically(path, lambda file: file.write_text(json.dumps(dict(metadata)) + "\n"))
            return
        settings, *batches, torn = lines
        if json.loads(settings) != dict(metadata):
            raise InputError(
                f"{path} is an unfinished scoring with other settings; remove it, or write to another --out"
            )
        for batch in map(json.loads, batches):
            self._keep(**batch)
        if torn:
            whole = "\n".join(lines[:-1]) + "\n"
            write_atomically(path, lambda file: file.write_text(whole))

    def has(self, rows: Sequence[int]) -> bool:
        return all(row in self.c_intra for row in rows)

    def add(self, rows: Sequence[int], c_intra: Floats, c_inter: Floats) -> None:
        batch = {"rows": list(rows), "c_intra": c_intra.tolist(), "c_inter": c_inter.tolist()}
        self._keep(**batch)
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(batch) + "\n")

    def _keep(self, rows: Sequence[int], c_intra: Sequence[float], c_inter: Sequence[float]) -> None:
        self.c_intra |= dict(zip(rows, c_intra, strict=True))
        self.c_inter |= dict(zip(rows, c_inter, strict=True))

    def remove(self) -> None:
        if self.path is not None:
            self.path.unlink()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Rows by falling length, so that padding is small and a batch that does not fit memory comes first."""
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while rows:
        size = max(1, batch_tokens // lengths[rows[0]])
        yield rows[:size]
        rows = rows[size:]


def _pad(questions: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids and mask (B, Q), padded on the right; what stands in the padding never matters in a causal model."""
    tensors = [torch.as_tensor(question, dtype=torch.long, device=device) for question in questions]
    mask_BQ = nn.utils.rnn.pad_sequence([torch.ones_like(tensor) for tensor in tensors], batch_first=True)
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True), mask_BQ
