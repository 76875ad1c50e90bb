"""What completions share is computed once: their prompt, and what prompts begin with. Results are the same up to rounding."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from gainrl.errors import InputError
from gainrl.models.generation.hf import lay_out, shared_tokens
from gainrl.models.loading import keeps_whole_cache

IGNORED = -100
"""TRL's label of a token that is not to be scored: a prompt's, padding."""
WORTH_A_PASS = 64
"""As many tokens must be common to all prompts to be computed apart: a pass has costs of its own."""


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


@dataclass(frozen=True)
class Passes:
    """What one forward pass has become: over the distinct prompts, perhaps in two parts, then over all completions."""

    group_B: torch.Tensor
    """Which of the U distinct prompts is a row's."""
    padding_U: torch.Tensor
    shared: int
    """Tokens that all prompts begin with, if these were computed apart, else 0."""

    @property
    def number(self) -> int:
        return 3 if self.shared else 2

    def prompts(self, states: Sequence[torch.Tensor]) -> torch.Tensor:
        """States (B, P, D) of each row's prompt, padded at the left, from those of each pass, in their order."""
        if not self.shared:
            return states[0][self.group_B]
        start_1SD, own_UOD = states[:2]
        states_UPD = torch.cat([start_1SD.expand(len(own_UOD), -1, -1), own_UOD], dim=1)
        column_P = torch.arange(states_UPD.shape[1], device=states_UPD.device)
        padding_U1 = self.padding_U[:, None]
        column_UP = torch.where(column_P < padding_U1 + self.shared, (column_P - padding_U1).clamp(min=0), column_P)
        return states_UPD.take_along_dim(column_UP[:, :, None], dim=1)[self.group_B]


@contextmanager
def prompts_once(model: PreTrainedModel, prompt_tokens: int) -> Iterator[list[Passes]]:
    """While open, the decoder runs over each distinct prompt once, then over all completions with its keys and values.

    What all prompts begin with is computed once for all of them, where that is long. Gradients flow through everything. The
    LM head sees what predicts a completion's tokens alone: TRL's scores every position where there is no Triton, prompts
    and padding too.

    Args:
        prompt_tokens: P, of the padded prompts; rows are (B, P + completion tokens), and so are labels.

    Yields:
        For each forward pass the passes that it has become.
    """
    decoder: Any = model.base_model
    run_decoder, run_model, passes = decoder.forward, model.forward, []

    def decode(input_ids: torch.Tensor, attention_mask: torch.Tensor, **settings: Any) -> BaseModelOutputWithPast:
        rows_BT = torch.cat([input_ids[:, :prompt_tokens], attention_mask[:, :prompt_tokens]], dim=1)
        distinct_UT, group_B = torch.unique(rows_BT, dim=0, return_inverse=True)
        ids_UP, mask_UP = distinct_UT.chunk(2, dim=1)
        prompts = [ids[mask.bool()].tolist() for ids, mask in zip(ids_UP, mask_UP, strict=True)]
        common = shared_tokens(prompts) if len(prompts) > 1 else 0
        shared = common if common >= WORTH_A_PASS else 0
        passes.append(Passes(group_B, prompt_tokens - mask_UP.sum(1), shared))
        settings |= {"use_cache": True, "past_key_values": DynamicCache(config=model.config)}

        def run(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            placed = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]} if shared else {}
            states: torch.Tensor = run_decoder(
                input_ids=ids, attention_mask=mask, **settings, **placed
            ).last_hidden_state
            return states

        if shared:
            ids_UP, mask_UP = (tensor.to(input_ids.device) for tensor in lay_out(prompts, shared, pad_token=0))
            run(ids_UP[:1, :shared], mask_UP[:1, :shared])
            settings["past_key_values"].batch_repeat_interleave(len(prompts))
        prompts_UPD = run(ids_UP[:, shared:], mask_UP)
        settings["past_key_values"].batch_select_indices(group_B)
        mask_BT = torch.cat([mask_UP[group_B], attention_mask[:, prompt_tokens:]], dim=1)
        completions_BCD = run(input_ids[:, prompt_tokens:], mask_BT)
        before_BCD = torch.cat([prompts_UPD[group_B, -1:], completions_BCD[:, :-1]], dim=1)
        return BaseModelOutputWithPast(before_BCD[attention_mask[:, prompt_tokens:].bool()][None])

    def predict(labels: torch.Tensor, **settings: Any) -> Any:
        labels_BC = labels[:, prompt_tokens:]
        written_BC = labels_BC != IGNORED
        output = run_model(shift_labels=labels_BC[written_BC][None], **settings)
        for name in ("log_probs", "entropy"):
            if output[name] is not None:
                output[name] = output[name].new_zeros(written_BC.shape).masked_scatter(written_BC, output[name])
        return output

    with _forward_as(decoder, decode), _forward_as(model, predict):
        yield passes


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
