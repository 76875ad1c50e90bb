"""The transformers backend: ``generate`` on any device."""

import itertools
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedModel

from gainrl.models.generation import Completion, end_tokens
from gainrl.models.loading import context_length
from gainrl.prompts import length_batches


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
        training, model_settings = self.model.training, self.model.generation_config
        self.model.eval()
        self.model.generation_config = GenerationConfig()  # generate() takes from it what ``settings`` leaves open
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                torch.manual_seed(seed)
                for batch in batches:
                    batch_completions = self._generate([prompts[row] for row in batch], settings)
                    completions |= dict(zip(batch, batch_completions, strict=True))
        finally:
            self.model.train(training)
            self.model.generation_config = model_settings
        return [completions[row] for row in range(len(prompts))]

    def _generate(self, prompts: Sequence[Sequence[int]], settings: GenerationConfig) -> list[Completion]:
        longest = max(len(prompt) for prompt in prompts)
        shared = self._shared(prompts)
        ids_BT = np.full((len(prompts), longest), self.pad_token, dtype=np.int64)
        mask_BT = np.zeros_like(ids_BT)
        for row, prompt in enumerate(prompts):  # padding goes between the shared tokens and the prompt's own
            own = slice(longest - len(prompt) + shared, None)
            ids_BT[row, :shared], mask_BT[row, :shared] = prompt[:shared], 1
            ids_BT[row, own], mask_BT[row, own] = prompt[shared:], 1
        ids, mask = (torch.from_numpy(array).to(self.model.device) for array in (ids_BT, mask_BT))
        cache = {}
        if shared:
            cache["past_key_values"] = DynamicCache(config=self.model.config)
            self.model(input_ids=ids[:1, :shared], use_cache=True, **cache)
            cache["past_key_values"].batch_repeat_interleave(len(prompts))
        output = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings, **cache)
        return [self._cut(written) for written in output[:, longest:].tolist()]

    def _shared(self, prompts: Sequence[Sequence[int]]) -> int:
        """How many tokens all prompts begin with, short of a whole prompt.

        0 where attention has a window: the padding that follows the shared tokens would take up places in it; and where
        a model carries a state instead of keys and values: the padding would change it.
        """
        windowed = any(kind != "full_attention" for kind in getattr(self.model.config, "layer_types", None) or [])
        if (
            windowed
            or getattr(self.model.config, "sliding_window", None)
            or self.model._is_stateful
            or len(prompts) == 1
        ):
            return 0
        common = os.path.commonprefix([list(prompt) for prompt in prompts])  # noqa: RUF071 (it takes any lists)
        return min(len(common), min(map(len, prompts)) - 1)

    def _cut(self, ids: list[int]) -> Completion:
        before = list(itertools.takewhile(lambda token: token not in self.end_tokens, ids))
        return Completion(ids[: len(before) + 1], len(before) == len(ids))


def hf_backend(model: PreTrainedModel, tokenizer: Any, batch_tokens: int = 16_384) -> HfBackend:
    """The transformers backend of a loaded model."""
    ends = end_tokens(model.config, model.generation_config, tokenizer)
    pad = tokenizer.pad_token_id
    return HfBackend(model, ends, ends[0] if pad is None else pad, batch_tokens)
