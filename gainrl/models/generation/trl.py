"""The backend of a TRL trainer: the model in training answers held-out problems, on which it is not trained."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import gather_object
from trl.models import unwrap_model_for_generation

from gainrl.models.generation import Backend, Completion, end_tokens
from gainrl.models.generation.hf import hf_backend
from gainrl.models.loading import context_length


@contextmanager
def trainer_backend(trainer: Any, batch_tokens: int) -> Iterator[Backend]:
    """transformers on the current model, or the vLLM that training samples with, its weights brought up to date.

    All processes of a run must enter together; each gets every completion.
    """
    if trainer.use_vllm:
        yield _TrainersVllm(trainer)
    else:
        with (
            unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator) as model,
            trainer.accelerator.autocast(),
        ):
            yield hf_backend(model, trainer.processing_class, batch_tokens)


class _TrainersVllm:
    """Each process asks for its share of the prompts; the shares are of equal size, as tensor parallelism requires."""

    name = "vllm"

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.vllm = trainer, trainer.vllm_generation
        config = trainer.accelerator.unwrap_model(trainer.model).config
        self.context = context_length(config)
        self.end_tokens = end_tokens(config, None, trainer.processing_class)

    def __call__(
        self, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float, seed: int
    ) -> list[Completion]:
        if self.trainer._last_loaded_step != self.trainer.state.global_step:
            self.vllm.sync_weights()
            self.trainer._last_loaded_step = self.trainer.state.global_step
        processes, rank = self.trainer.accelerator.num_processes, self.trainer.accelerator.process_index
        share = -(-len(prompts) // processes)
        padded = [list(map(int, prompt)) for prompt in [*prompts, *[prompts[0]] * (share * processes - len(prompts))]]
        with _settings(self.vllm, temperature=temperature, max_completion_length=max_tokens):
            _, written, *_ = self.vllm.generate(padded[rank * share : (rank + 1) * share], None, num_generations=1)
        gathered = gather_object([list(ids) for ids in written])
        return [Completion(ids, ids[-1] not in self.end_tokens) for ids in gathered[: len(prompts)]]


def let_vllm_take_new_weights() -> None:
    """On a CPU vLLM packs the weights when it loads them, and packed weights cannot be replaced; so keep it from packing.

    It has a packing of its own for each kind of CPU (AMX, oneDNN, Zen), all behind one function; torch's linear needs none.
    """
    if not torch.cuda.is_available():
        from vllm.model_executor.layers import utils

        packed = utils.dispatch_cpu_unquantized_gemm

        def unpacked(layer: Any, remove_weight: bool) -> None:
            if layer.weight.ndim != 2:  # a convolution, which has no other way
                packed(layer, remove_weight)
            layer.cpu_linear = torch.nn.functional.linear

        utils.dispatch_cpu_unquantized_gemm = unpacked
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB; by default it takes 92 % of the memory


@contextmanager
def _settings(holder: Any, **values: Any) -> Iterator[None]:
    before = {name: getattr(holder, name) for name in values}
    try:
        vars(holder).update(values)
        yield
    finally:
        vars(holder).update(before)
