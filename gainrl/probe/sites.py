"""Where hidden states are read: hooks on the probed module, and which tokens are prefix and question."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from gainrl.config import SignalConfig
from gainrl.errors import InputError
from gainrl.prompts import EncodedPrompt


class _Reached(Exception):
    """The probed module was reached; nothing after it is needed."""


@contextmanager
def capture(model: nn.Module, signal: SignalConfig) -> Iterator[list[Tensor]]:
    """While open, every forward pass appends the hidden states (B, T, D) at the probe site to the list, detached."""
    captured: list[Tensor] = []
    with _hooked(model, signal, captured.append):
        yield captured


def prefill_to_site(model: PreTrainedModel, signal: SignalConfig, **inputs: Any) -> Tensor:
    """Hidden states (B, T, D) at the probe site. Runs the decoder up to there: no later module, and no LM head."""
    captured: list[Tensor] = []

    def stop(states: Tensor) -> None:
        captured.append(states)
        raise _Reached

    with _hooked(model, signal, stop), torch.no_grad(), suppress(_Reached):
        cast(nn.Module, model.get_decoder())(**inputs)
    (hidden_BTD,) = captured
    return hidden_BTD


@contextmanager
def _hooked(model: nn.Module, signal: SignalConfig, receive: Callable[[Tensor], None]) -> Iterator[None]:
    module, is_input = _probed_module(cast(PreTrainedModel, model), signal)

    def hook(_module: nn.Module, inputs: Any, output: Any = None) -> None:
        states = inputs if is_input else output
        receive((states[0] if isinstance(states, tuple) else states).detach())

    handle = module.register_forward_pre_hook(hook) if is_input else module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _probed_module(model: PreTrainedModel, signal: SignalConfig) -> tuple[nn.Module, bool]:
    """The module whose input (True) or output (False) is probed."""
    decoder = model.get_decoder()
    layers = getattr(decoder, "layers", None)
    if layers is None:
        raise InputError(f"{type(model).__name__} has no decoder layers that this suite can probe")
    if not -len(layers) <= signal.layer < len(layers):
        raise InputError(f"layer {signal.layer} is out of range; valid: {-len(layers)} to {len(layers) - 1}")
    if signal.site == "final_norm":
        if signal.layer not in (-1, len(layers) - 1):
            raise InputError(f"site final_norm lies after the last layer; layer is {signal.layer}, valid: -1")
        return cast(nn.Module, decoder.norm), False
    layer = layers[signal.layer]
    return (layer.mlp, True) if signal.site == "mlp_input" else (layer, False)


def span_masks(
    prompts: Sequence[EncodedPrompt], hidden_BTD: Tensor, starts_B: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Which tokens are prefix and which are question, (B, T) each; ``starts_B``: column of each first token (left padding)."""
    device = hidden_BTD.device
    column_BT = torch.arange(hidden_BTD.shape[1], device=device).expand(len(prompts), -1)
    if starts_B is not None:
        column_BT = column_BT - starts_B[:, None]
    prefix_B = torch.tensor([prompt.prefix_tokens for prompt in prompts], device=device)[:, None]
    end_B = torch.tensor([prompt.question_end for prompt in prompts], device=device)[:, None]
    return (column_BT >= 0) & (column_BT < prefix_B), (column_BT >= prefix_B) & (column_BT < end_B)
