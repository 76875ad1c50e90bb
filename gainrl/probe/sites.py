"""Where hidden states are read: hooks on the probed modules, and which tokens are prefix and question."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from gainrl.config import SignalConfig, Site
from gainrl.errors import InputError
from gainrl.prompts import EncodedPrompt

_MLPS = ("mlp", "feed_forward", "ffn")
_LAST_PROJECTIONS = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2")
_FINAL_NORMS = ("norm", "final_layer_norm", "ln_f", "final_norm", "norm_f")


class _Reached(Exception):
    """The last probed module was reached; nothing after it is needed."""


@contextmanager
def capture(model: nn.Module, signal: SignalConfig) -> Iterator[list[Tensor]]:
    """While open, every forward pass appends the hidden states (B, T, D) at the probe site to the list, detached."""
    captured: list[Tensor] = []
    with _hooked(*probed_module(cast(PreTrainedModel, model), signal), captured.append):
        yield captured


def prefill_to_sites(
    model: PreTrainedModel, site: Site, layers: Sequence[int], receive: Callable[[int, Tensor], None], **inputs: Any
) -> None:
    """Give ``receive`` each of the layers with its hidden states (B, T, D) at the site, as the forward pass reaches them.

    Runs the decoder up to the last of them: no later module, and no LM head.
    """
    last = max(layers, key=lambda layer: layer % layer_count(model))

    def receiver(layer: int) -> Callable[[Tensor], None]:
        def received(states: Tensor) -> None:
            receive(layer, states)
            if layer == last:
                raise _Reached

        return received

    with ExitStack() as stack:
        for layer in layers:
            module, is_input = probed_module(model, SignalConfig(site=site, layer=layer))
            stack.enter_context(_hooked(module, is_input, receiver(layer)))
        stack.enter_context(torch.no_grad())
        stack.enter_context(suppress(_Reached))
        cast(nn.Module, model.get_decoder())(**inputs)


@contextmanager
def _hooked(module: nn.Module, is_input: bool, receive: Callable[[Tensor], None]) -> Iterator[None]:
    def hook(_module: nn.Module, inputs: Any, output: Any = None) -> None:
        states = inputs if is_input else output
        receive((states[0] if isinstance(states, tuple) else states).detach())

    handle = module.register_forward_pre_hook(hook) if is_input else module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers. Raises InputError if the model has none that this suite knows how to probe."""
    for module in cast(nn.Module, model.get_decoder()).children():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.num_hidden_layers:
            return module
    raise InputError(f"{type(model).__name__} has no decoder layers that this suite can probe")


def layer_count(model: PreTrainedModel) -> int:
    return len(decoder_layers(model))


def probed_module(model: PreTrainedModel, signal: SignalConfig) -> tuple[nn.Module, bool]:
    """The module whose input (True) or output (False) is probed.

    Raises InputError: the layer is out of range, or the model has no such site.
    """
    layers = decoder_layers(model)
    if not -len(layers) <= signal.layer < len(layers):
        raise InputError(f"layer {signal.layer} is out of range; valid: {-len(layers)} to {len(layers) - 1}")
    layer = layers[signal.layer]
    mlp = _child(layer, _MLPS)
    if signal.site == "residual":
        return layer, False
    if signal.site == "final_norm" and signal.layer not in (-1, len(layers) - 1):
        raise InputError(f"site final_norm lies after the last layer; layer is {signal.layer}, valid: -1")
    parent, names = {
        "mlp_input": (layer, _MLPS),
        "neurons": (mlp, _LAST_PROJECTIONS) if mlp else (layer, _MLPS),
        "final_norm": (cast(nn.Module, model.get_decoder()), _FINAL_NORMS),
    }[signal.site]
    if module := _child(parent, names):
        return module, signal.site != "final_norm"
    raise InputError(
        f"{type(model).__name__} has no site {signal.site}: its {type(parent).__name__} has no {names[0]}; try residual"
    )


def has_site(model: PreTrainedModel, signal: SignalConfig) -> bool:
    """Whether `probed_module` finds one."""
    try:
        probed_module(model, signal)
    except InputError:
        return False
    return True


def _child(parent: nn.Module, names: Sequence[str]) -> nn.Module | None:
    """The first of these submodules that there is."""
    found = (getattr(parent, name, None) for name in names)
    return next((module for module in found if isinstance(module, nn.Module)), None)


def reading_modules(model: PreTrainedModel, signal: SignalConfig) -> list[str]:
    """Names of the modules inside the probed one that take the probed states as they are: the gate and up projections.

    Empty where the probed states are an output, or are read through something else (a router).
    """
    module, is_input = probed_module(model, signal)
    if not is_input:
        return []
    found: list[str] = []
    with ExitStack() as stack:
        captured = stack.enter_context(capture(model, signal))

        def look(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def looked(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                if inputs and inputs[0].data_ptr() == captured[-1].data_ptr() and inputs[0].ndim == captured[-1].ndim:
                    found.append(name)

            return looked

        for name, inner in model.named_modules():
            if any(inner is child for child in module.modules()) and list(inner.parameters(recurse=False)):
                handle = inner.register_forward_pre_hook(look(name))
                stack.callback(handle.remove)
        stack.enter_context(torch.no_grad())
        cast(nn.Module, model.get_decoder())(input_ids=torch.tensor([[1, 2]], device=model.device), use_cache=False)
    return found


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
