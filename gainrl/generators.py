"""Two engines that write completions, with one face: token ids in, token ids out.

transformers for any device; vLLM (an extra) for speed. Both get the very tokens that the probe and the trainer see.
"""

import itertools
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from transformers import DynamicCache, GenerationConfig, PreTrainedModel

from gainrl.errors import InputError, one_line


class Completion(NamedTuple):
    """``ids`` end with the end token unless the completion was cut at its token limit."""

    ids: list[int]
    truncated: bool


class Generator(Protocol):
    """Writes one completion for each prompt, in order; temperature 0 is greedy. The same seed gives the same."""

    context: int

    def __call__(
        self, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float, seed: int
    ) -> list[Completion]: ...


class HfGenerator:
    """transformers' ``generate``, in batches of prompts of like length; what a batch's prompts share is read once.

    The model's own generation settings (Qwen2.5's: top_p, repetition_penalty) are left out, as training leaves them out.
    """

    def __init__(self, model: PreTrainedModel, end_tokens: Sequence[int], pad_token: int, batch_tokens: int = 16_384):
        self.model, self.end_tokens, self.pad_token = model, list(end_tokens), pad_token
        self.batch_tokens = batch_tokens
        self.context = int(model.config.max_position_embeddings)

    def __call__(
        self, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float, seed: int
    ) -> list[Completion]:
        settings = GenerationConfig(
            do_sample=temperature > 0,
            temperature=temperature or None,
            top_k=0 if temperature else None,  # its default is not 0
            max_new_tokens=max_tokens,
            eos_token_id=self.end_tokens,
            pad_token_id=self.pad_token,
        )
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        found: dict[int, Completion] = {}
        devices = [self.model.device] if self.model.device.type == "cuda" else []
        training, theirs = self.model.training, self.model.generation_config
        self.model.eval()
        self.model.generation_config = GenerationConfig()  # generate() takes from it what ``settings`` leaves open
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                torch.manual_seed(seed)
                while order:
                    size = max(1, self.batch_tokens // (len(prompts[order[0]]) + max_tokens))
                    batch, order = order[:size], order[size:]
                    found |= dict(zip(batch, self._generate([prompts[row] for row in batch], settings), strict=True))
        finally:
            self.model.train(training)
            self.model.generation_config = theirs
        return [found[row] for row in range(len(prompts))]

    def _generate(self, prompts: Sequence[Sequence[int]], settings: GenerationConfig) -> list[Completion]:
        longest = max(len(prompt) for prompt in prompts)
        shared = self._shared(prompts)
        ids_BT = np.full((len(prompts), longest), self.pad_token, dtype=np.int64)
        mask_BT = np.zeros_like(ids_BT)
        for row, prompt in enumerate(prompts):  # padded between what is shared and what is its own
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
        """Tokens that all prompts begin with; at least one is left to each. None where attention has a window: there
        the padding that follows would count."""
        windowed = any(kind != "full_attention" for kind in getattr(self.model.config, "layer_types", None) or [])
        if windowed or getattr(self.model.config, "sliding_window", None) or len(prompts) == 1:
            return 0
        alike = os.path.commonprefix([list(prompt) for prompt in prompts])  # noqa: RUF071 (it takes any lists)
        return min(len(alike), min(map(len, prompts)) - 1)

    def _cut(self, ids: list[int]) -> Completion:
        before = list(itertools.takewhile(lambda token: token not in self.end_tokens, ids))
        return Completion(ids[: len(before) + 1], len(before) == len(ids))


class VllmGenerator:
    """vLLM's engine on a model folder or hub id, in a process of its own.

    Raises InputError: vLLM is not installed, or cannot serve the model.
    """

    def __init__(self, source: str, end_tokens: Sequence[int], context: int, dtype: str, **options: Any) -> None:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # a start makes some twenty lines of warnings
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is the table's
        settings: dict[str, Any] = {
            "max_model_len": context,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # none of the model's own top_p and penalties
            "use_tqdm_on_load": False,
        }
        if not torch.cuda.is_available():
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")  # GiB; by default it takes 92 % of the memory
            # A prompt in two chunks rewinds its request's generator, which one on the CPU cannot: the engine dies of it.
            whole_prompts = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(4096, context)}
            settings |= {"enforce_eager": True, **whole_prompts}
        try:
            from vllm import LLM
        except ModuleNotFoundError as error:
            raise InputError(
                "vLLM is not installed; pip install 'gainrl[vllm]' on a GPU machine, or choose --backend hf"
            ) from error
        self.end_tokens, self.context = list(end_tokens), context
        before = set(multiprocessing.active_children())
        try:
            self.engine = LLM(model=source, dtype=dtype, **(settings | options))
        except Exception as error:
            raise InputError(f"vLLM cannot serve {source}: {one_line(error)}") from error
        self._processes = set(multiprocessing.active_children()) - before

    def __call__(
        self, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float, seed: int
    ) -> list[Completion]:
        from vllm import SamplingParams

        settings = [
            SamplingParams(
                temperature=temperature,
                top_p=1.0,
                top_k=0,
                max_tokens=max_tokens,
                stop_token_ids=list(self.end_tokens),  # the engine adds to its list
                seed=seed + row if temperature else None,
                detokenize=False,
            )
            for row in range(len(prompts))
        ]
        inputs = [{"prompt_token_ids": list(map(int, prompt))} for prompt in prompts]
        return [self._completion(output.outputs[0]) for output in self._answers(inputs, settings)]

    def _answers(self, inputs: list[Any], settings: list[Any]) -> list[Any]:
        """The engine's outputs. Of a process that the kernel killed (memory) it would wait for an answer for ever."""
        answers: Future[list[Any]] = Future()

        def work() -> None:
            try:
                answers.set_result(self.engine.generate(inputs, settings, use_tqdm=False))
            except BaseException as error:
                answers.set_exception(error)

        Thread(target=work, daemon=True).start()
        while not wait([answers], timeout=1).done:
            if codes := [process.exitcode for process in self._processes if process.exitcode is not None]:
                wait([answers], timeout=5)  # the engine may have a word to say
                if not answers.done():
                    raise RuntimeError(f"the engine's process was killed (exit code {codes[0]})")
        return answers.result()

    def _completion(self, output: Any) -> Completion:
        ids = list(output.token_ids)
        if output.finish_reason == "length":
            return Completion(ids, True)
        if output.finish_reason != "stop" or ids[-1] not in self.end_tokens:
            raise RuntimeError(f"a completion of {len(ids)} tokens finished by {output.finish_reason!r}, no end token")
        return Completion(ids, False)


def end_tokens(model_config: Any, generation_config: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a completion: the tokenizer's, the model's and its generation settings'."""
    named = [tokenizer.eos_token_id]
    for config in (model_config, generation_config):
        value = getattr(config, "eos_token_id", None)
        named += value if isinstance(value, list) else [value]
    return list(dict.fromkeys(token for token in named if token is not None))


def generator_of(model: PreTrainedModel, tokenizer: Any, batch_tokens: int = 16_384) -> HfGenerator:
    """transformers' engine around a loaded model."""
    ends = end_tokens(model.config, model.generation_config, tokenizer)
    pad = tokenizer.pad_token_id
    return HfGenerator(model, ends, ends[0] if pad is None else pad, batch_tokens)
