"""The transformers backend: ``generate`` on any device."""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from gainrl.models.generation import Completion, end_tokens
from gainrl.models.loading import context_length, keeps_whole_cache
from gainrl.prompts import length_batches


def shared_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, short of a whole prompt."""
    common = os.path.commonprefix([list(prompt) for prompt in prompts])  # noqa: RUF071 (it takes any lists)
    return min(len(common), min(map(len, prompts)) - 1)


def lay_out(prompts: Sequence[Sequence[int]], shared: int, pad_token: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) and mask (B, T) of prompts with padding between the first ``shared`` tokens and a prompt's own."""
    longest = max(len(prompt) for prompt in prompts)
    ids_BT = np.full((len(prompts), longest), pad_token, dtype=np.int64)
    mask_BT = np.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        own = slice(longest - len(prompt) + shared, None)
        ids_BT[row, :shared], mask_BT[row, :shared] = prompt[:shared], 1
        ids_BT[row, own], mask_BT[row, own] = prompt[shared:], 1
    return torch.from_numpy(ids_BT), torch.from_numpy(mask_BT)


class HfBackend:
    """transformers' ``generate``, in batches of similar length; the tokens that a batch's prompts share are prefilled once.

    The model's own generation settings (Qwen2.5's: top_p, repetition_penalty) are ignored, as in training.
    """

    name = "hf"

    def __init__(self, model: PreTrainedModel, end_tokens: Sequence[int], pad_token: int, batch_tokens: int = 16_384):
        self.model, self.end_tokens, self.pad_token = model, list(end_tokens), pad_token
        self.batch_tokens = batch_tokens
        self.context = context_length(model.config)

    def __call__(
        self, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float, seed: int
    ) -> list[Completion]:
        settings = GenerationConfig(
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_k=0 if temperature else None,  # the default is not 0
            max_new_tokens=max_tokens,
            eos_token_id=self.end_tokens,
            pad_token_id=self.pad_token,
        )
        batches = length_batches([len(prompt) + max_tokens for prompt in prompts], self.batch_tokens)
        completions: dict[int, Completion] = {}
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            for batch in batches:
                batch_completions = self.complete([prompts[row] for row in batch], settings)
                completions |= dict(zip(batch, batch_completions, strict=True))
        return [completions[row] for row in range(len(prompts))]

    @torch.no_grad()
    def complete(self, prompts: Sequence[Sequence[int]], settings: GenerationConfig) -> list[Completion]:
        """One completion of each prompt, in one batch, drawn from torch's random state."""
        shared = shared_tokens(prompts) if len(prompts) > 1 and keeps_whole_cache(self.model) else 0
        ids, mask = (tensor.to(self.model.device) for tensor in lay_out(prompts, shared, self.pad_token))
        with self._generating():
            cache = {"past_key_values": _cache(self.model)} if keeps_whole_cache(self.model) else {}
            if shared:
                self.model(input_ids=ids[:1, :shared], use_cache=True, **cache)
                cache["past_key_values"].batch_repeat_interleave(len(prompts))
            output = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, **cache)
        return [self._cut(written) for written in output[:, ids.shape[1] :].tolist()]

    @contextmanager
    def _generating(self) -> Iterator[None]:
        """The model as for inference, without settings of its own: generate() takes from these what is left open."""
        training, own_settings = self.model.training, self.model.generation_config
        self.model.eval()
        self.model.generation_config = GenerationConfig()
        try:
            yield
        finally:
            self.model.train(training)
            self.model.generation_config = own_settings

    def _cut(self, ids: list[int]) -> Completion:
        before = list(itertools.takewhile(lambda token: token not in self.end_tokens, ids))
        return Completion(ids[: len(before) + 1], len(before) == len(ids))


class _RoomyLayer(DynamicLayer):
    """One layer's keys and values in tensors with room for more tokens: transformers' own copies all of them at every token."""

    ROOM = 64
    """For how many more tokens there is room, whenever there was none left."""
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, torch.Tensor] = {}

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.get_seq_length()
        self.keys = self._append("keys", self.keys, key_states, start)
        self.values = self._append("values", self.values, value_states, start)
        return self.keys, self.values

    def _append(self, name: str, kept: torch.Tensor, new: torch.Tensor, start: int) -> torch.Tensor:
        if torch.is_autocast_enabled(new.device.type):  # attention would cast all that is kept, every time
            new = new.to(torch.get_autocast_dtype(new.device.type))
        end, held = start + new.shape[-2], self.held.get(name)
        if held is None or held.data_ptr() != kept.data_ptr() or held.shape[-2] < end:
            held = self.held[name] = new.new_empty(*new.shape[:-2], end + self.ROOM, new.shape[-1])
            if start:
                held[..., :start, :] = kept
        held[..., start:end, :] = new
        return held[..., :end, :]


def _cache(model: PreTrainedModel) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def hf_backend(model: PreTrainedModel, tokenizer: Any, batch_tokens: int = 16_384) -> HfBackend:
    """The transformers backend of a loaded model."""
    ends = end_tokens(model.config, model.generation_config, tokenizer)
    pad = tokenizer.pad_token_id
    return HfBackend(model, ends, ends[0] if pad is None else pad, batch_tokens)
