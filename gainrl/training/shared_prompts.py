"""What the completions of a problem share is computed once: their prompt. Results are the same up to rounding."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from gainrl.errors import InputError
from gainrl.models.loading import keeps_whole_cache


def require_shareable(model: PreTrainedModel, *, checkpointing: bool) -> None:
    """Raises InputError where the keys and values of a prompt cannot be handed on to its completions."""
    if not isinstance(model, PreTrainedModel):
        raise InputError(f"share_prompts needs a model of transformers, not a {type(model).__name__} around it")
    if checkpointing:
        raise InputError(
            "share_prompts keeps the prompts' keys and values, gradient checkpointing does not; choose one"
        )
    if not keeps_whole_cache(model):
        raise InputError(
            f"share_prompts needs attention over all tokens in every layer; {model.config.model_type} has a window or a state"
        )


@contextmanager
def prompts_once(model: PreTrainedModel, prompt_tokens: int) -> Iterator[list[torch.Tensor]]:
    """While open, the decoder runs over each distinct prompt once, then over all completions with its keys and values.

    Gradients flow through both. The LM head sees what predicts the completions alone: TRL's scores every position where
    there is no Triton, prompts too.

    Args:
        prompt_tokens: P, of the padded prompts; rows are (B, P + completion tokens), and so are labels.

    Yields:
        For each forward pass B indices: the row of the first of its two parts, over the distinct prompts, that is a row's
        prompt.
    """
    decoder: Any = model.base_model
    run_decoder, run_model, groups = decoder.forward, model.forward, []

    def decode(input_ids: torch.Tensor, attention_mask: torch.Tensor, **settings: Any) -> BaseModelOutputWithPast:
        prompts = torch.cat([input_ids[:, :prompt_tokens], attention_mask[:, :prompt_tokens]], dim=1)
        distinct_UT, group_B = torch.unique(prompts, dim=0, return_inverse=True)
        groups.append(group_B)
        ids_UP, mask_UP = distinct_UT.chunk(2, dim=1)
        settings |= {"use_cache": True, "past_key_values": DynamicCache(config=model.config)}
        prompts_UPD = run_decoder(input_ids=ids_UP, attention_mask=mask_UP, **settings).last_hidden_state
        settings["past_key_values"].batch_select_indices(group_B)
        completions = run_decoder(input_ids=input_ids[:, prompt_tokens:], attention_mask=attention_mask, **settings)
        return BaseModelOutputWithPast(torch.cat([prompts_UPD[group_B, -1:], completions.last_hidden_state], dim=1))

    def predict(labels: torch.Tensor, **settings: Any) -> Any:
        return run_model(labels=labels[:, prompt_tokens - 1 :], **settings)

    with _forward_as(decoder, decode), _forward_as(model, predict):
        yield groups


@contextmanager
def _forward_as(module: Any, forward: Any) -> Iterator[None]:
    """While open, the module runs another function; then its own again, which may be one that TRL has put there."""
    before = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        del module.forward
        if before is not None:
            module.forward = before
