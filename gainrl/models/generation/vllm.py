"""The vLLM backend (an extra): fast on GPUs, and tested with its CPU build."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any

import torch

from gainrl.errors import InputError, one_line
from gainrl.models.generation import Completion
from gainrl.models.loading import NO_LIMIT


class VllmBackend:
    """vLLM's engine on a model folder or hub id, in a process of its own.

    Raises InputError: vLLM is not installed, or cannot serve the model.
    """

    name = "vllm"

    def __init__(self, source: str, end_tokens: Sequence[int], context: int, dtype: str, **options: Any) -> None:
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # starting logs some twenty lines of warnings
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is the table's
        settings: dict[str, Any] = {
            "max_model_len": None if context == NO_LIMIT else context,
            "skip_tokenizer_init": True,
            "generation_config": "vllm",  # none of the model's own top_p and penalties
            "use_tqdm_on_load": False,
        }
        if not torch.cuda.is_available():
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "4")  # GiB; by default it takes 92 % of the memory
            # A prompt in two chunks rewinds its request's generator; a CPU generator cannot do that, and vLLM's engine dies.
            longest = 4096 if context == NO_LIMIT else max(4096, context)
            whole_prompts = {"enable_chunked_prefill": False, "max_num_batched_tokens": longest}
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
        """The outputs of vLLM's engine, which would wait forever for a process that the kernel killed (memory)."""
        answers: Future[list[Any]] = Future()

        def work() -> None:
            try:
                answers.set_result(self.engine.generate(inputs, settings, use_tqdm=False))
            except BaseException as error:
                answers.set_exception(error)

        Thread(target=work, daemon=True).start()
        while not wait([answers], timeout=1).done:
            if codes := [process.exitcode for process in self._processes if process.exitcode is not None]:
                wait([answers], timeout=5)  # the engine may still say why
                if not answers.done():
                    raise RuntimeError(f"vLLM's engine process was killed (exit code {codes[0]})")
        return answers.result()

    def _completion(self, output: Any) -> Completion:
        ids = list(output.token_ids)
        if output.finish_reason == "length":
            return Completion(ids, True)
        if output.finish_reason != "stop" or ids[-1] not in self.end_tokens:
            raise RuntimeError(f"a completion of {len(ids)} tokens finished by {output.finish_reason!r}, no end token")
        return Completion(ids, False)
