"""Where hidden states are read: hooks on the probed modules, and which tokens are prefix and question."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from gainrl.errors import InputError
from gainrl.prompts import EncodedPrompt
from gainrl.runs.config import SignalConfig, Site

_MLPS = ("mlp", "feed_forward", "ffn")
_LAST_PROJECTIONS = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2")
_FINAL_NORMS = ("norm", "final_layer_norm", "ln_f", "final_norm", "norm_f")
Probe = tuple[Site, int]
"""A site and the layer that it is read at."""


@contextmanager
def capture(model: nn.Module, signal: SignalConfig) -> Iterator[list[Tensor]]:
    """While open, every forward pass appends the hidden states (B, T, D) at the probe site to the list, detached."""
    with _captured(*probed_module(cast(PreTrainedModel, model), signal)) as captured:
        yield captured


def hidden_states(model: PreTrainedModel, probes: Sequence[Probe], **inputs: Any) -> list[Tensor]:
    """Hidden states (B, T, D) at each of the probes, from one forward pass of the decoder.

    No layer after the last of them is run, nor, where that one is probed at ``mlp_input`` alone, its MLP, nor the LM head.
    """
    modules = [probed_module(model, SignalConfig(site=site, layer=layer)) for site, layer in probes]
    last = max(layer_number(model, layer) for _, layer in probes)
    sites = {site for site, layer in probes if layer_number(model, layer) == last}
    with ExitStack() as stack:
        stand_ins = stack.enter_context(_cut_off(model, last, skip_mlp=sites == {"mlp_input"}))
        captured = [stack.enter_context(_captured(stand_ins.get(module, module), at)) for module, at in modules]
        stack.enter_context(torch.no_grad())
        cast(nn.Module, model.get_decoder())(**inputs)
    return [states for (states,) in captured]


class _PassThrough(nn.Module):
    """Stands in for an MLP whose output nobody reads; one token runs through it, to see what it returns beside states."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, hidden_BTD: Tensor, *args: Any, **kwargs: Any) -> Any:
        sample = self.mlp(hidden_BTD[:1, :1], *args, **kwargs)
        return hidden_BTD if isinstance(sample, Tensor) else (hidden_BTD, *sample[1:])


@contextmanager
def _cut_off(model: PreTrainedModel, last: int, *, skip_mlp: bool) -> Iterator[dict[nn.Module, nn.Module]]:
    """While open, the decoder ends with layer ``last``, and with ``skip_mlp`` that layer skips its MLP.

    Yields each replaced module with its stand-in.
    """
    decoder, layers = cast(nn.Module, model.get_decoder()), decoder_layers(model)
    name = next(name for name, child in decoder.named_children() if child is layers)
    place = _child_name(layers[last], _MLPS) if skip_mlp else None
    with ExitStack() as stack:
        stack.callback(setattr, decoder, name, layers)
        setattr(decoder, name, layers[: last + 1])
        stand_ins: dict[nn.Module, nn.Module] = {}
        if place is not None:
            mlp = getattr(layers[last], place)
            stack.callback(setattr, layers[last], place, mlp)
            stand_ins[mlp] = _PassThrough(mlp)
            setattr(layers[last], place, stand_ins[mlp])
        yield stand_ins


@contextmanager
def _captured(module: nn.Module, is_input: bool) -> Iterator[list[Tensor]]:
    captured: list[Tensor] = []

    def hook(_module: nn.Module, inputs: Any, output: Any = None) -> None:
        states = inputs if is_input else output
        captured.append((states[0] if isinstance(states, tuple) else states).detach())

    handle = module.register_forward_pre_hook(hook) if is_input else module.register_forward_hook(hook)
    try:
        yield captured
    finally:
        handle.remove()


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers. Raises InputError if the model has none that this suite knows how to probe."""
    for module in cast(nn.Module, model.get_decoder()).children():
        if isinstance(module, nn.ModuleList) and len(module) == model.config.get_text_config().num_hidden_layers:
            return module
    raise InputError(f"{type(model).__name__} has no decoder layers that this suite can probe")


def layer_number(model: PreTrainedModel, layer: int) -> int:
    """A layer counted from 0, where negative ones count from the last. Raises InputError: the model has no such layer."""
    count = len(decoder_layers(model))
    if not -count <= layer < count:
        raise InputError(f"layer {layer} is out of range; valid: {-count} to {count - 1}")
    return layer % count


def probed_module(model: PreTrainedModel, signal: SignalConfig) -> tuple[nn.Module, bool]:
    """The module whose input (True) or output (False) is probed.

    Raises InputError: the layer is out of range, or the model has no such site.
    """
    layers, number = decoder_layers(model), layer_number(model, signal.layer)
    layer = layers[number]
    mlp = _child(layer, _MLPS)
    if signal.site == "residual":
        return layer, False
    if signal.site == "final_norm" and number != len(layers) - 1:
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
    """The first of these submodules that exists."""
    name = _child_name(parent, names)
    return None if name is None else cast(nn.Module, getattr(parent, name))


def _child_name(parent: nn.Module, names: Sequence[str]) -> str | None:
    return next((name for name in names if isinstance(getattr(parent, name, None), nn.Module)), None)


def reading_modules(model: PreTrainedModel, signal: SignalConfig) -> list[str]:
    """Names of the modules inside the probed one that read the probed states directly: the gate and up projections.

    Empty where the probed states are an output, or are read through something else (a router).
    """
    module, is_input = probed_module(model, signal)
    if not is_input:
        return []
    readers: list[str] = []
    with ExitStack() as stack:
        captured = stack.enter_context(capture(model, signal))

        def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def compare(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                # the same memory and not only equal values: a copy, or a reshape for a router, does not count
                if inputs and inputs[0].data_ptr() == captured[-1].data_ptr() and inputs[0].ndim == captured[-1].ndim:
                    readers.append(name)

            return compare

        for name, inner in model.named_modules():
            if any(inner is child for child in module.modules()) and list(inner.parameters(recurse=False)):
                handle = inner.register_forward_pre_hook(hook(name))
                stack.callback(handle.remove)
        stack.enter_context(torch.no_grad())
        cast(nn.Module, model.get_decoder())(input_ids=torch.tensor([[1, 2]], device=model.device), use_cache=False)
    return readers


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
