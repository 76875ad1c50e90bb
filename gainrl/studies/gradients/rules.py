"""Squared gradient norms of one module's parameters, sample by sample, from its inputs and its output's gradient.

Shapes as in `gainrl.studies.gradients.norms`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from gainrl.errors import InputError

_LARGEST_GRADIENTS = 2**26
"""Elements of the gradients that `derived_squares` holds at once, at least one sample's."""


class Layout(NamedTuple):
    """How a batch's tensors fall into samples: their first dimension is rows, or all tokens of all rows in turn."""

    rows: int
    tokens: int
    samples: int

    def fits(self, tensor: Tensor) -> bool:
        return tensor.shape[:1] in ((self.rows,), (self.rows * self.tokens,))

    def fits_states(self, output: Tensor) -> bool:
        """As `fits`; a matrix that has one line a row does not, as it says nothing of tokens."""
        return self.fits(output) and (output.ndim > 2 or len(output) == self.rows * self.tokens)

    def split(self, tensor: Tensor) -> Tensor:
        """(B, R/B or the sample's tokens, ...), floats in at least 32 bits."""
        return wide(tensor).reshape(self.samples, len(tensor) // self.samples, *tensor.shape[1:])

    def states(self, tensor: Tensor) -> Tensor:
        """x_BTD or g_BTE."""
        return self.split(tensor).flatten(1, -2)


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Those that are the module's own, by their name in it, and not of a module inside it."""
    return {name: parameter for name, parameter in module._parameters.items() if parameter is not None}


def no_rule(name: str, module: nn.Module, why: str) -> InputError:
    names = ", ".join(f"{name}.{own}" for own in own_parameters(module))
    return InputError(f"no exact gradient norm of {names}: the module, a {type(module).__name__}, {why}")


def is_linear(module: nn.Module) -> bool:
    own = own_parameters(module).keys()
    return type(module).forward in (nn.Linear.forward, Conv1D.forward) and "weight" in own <= {"weight", "bias"}


def linear_squares(own: dict[str, nn.Parameter], x_BTD: Tensor, g_BTE: Tensor) -> dict[str, Tensor]:
    """|sum_i x_i^T g_i|^2 of the weight, |sum_i g_i|^2 of the bias."""
    squares = {"weight": product_square(x_BTD, g_BTE)}
    return squares | {"bias": g_BTE.sum(1).square().sum(1)} if "bias" in own else squares


def product_square(x_BTD: Tensor, g_BTE: Tensor) -> Tensor:
    """|x^T g|^2 of each sample: from two T x T matrices or from x^T g itself, whichever takes fewer operations."""
    (tokens, width), width_out = x_BTD.shape[1:], g_BTE.shape[2]
    if tokens * (width + width_out) <= width * width_out:
        return ((x_BTD @ x_BTD.mT) * (g_BTE @ g_BTE.mT)).sum((1, 2))
    return torch.stack([(x_TD.T @ g_TE).square().sum() for x_TD, g_TE in zip(x_BTD, g_BTE, strict=True)])


def is_lookup(module: nn.Module) -> bool:
    """An embedding whose output is ``weight[ids]``, times ``embed_scale`` if it has one."""
    if not isinstance(module, nn.Embedding) or module.max_norm is not None or module.scale_grad_by_freq:
        return False
    return type(module).forward is nn.Embedding.forward or hasattr(module, "embed_scale")


def lookup_scale(name: str, module: nn.Embedding, ids: Tensor, output: Tensor) -> Tensor:
    """What ``weight[ids]`` is multiplied by. Raises InputError if ``output`` is something else."""
    weight = module.weight
    scale = torch.as_tensor(getattr(module, "embed_scale", 1.0), dtype=weight.dtype, device=weight.device)
    if _differ(weight[ids] * scale, output):
        raise no_rule(name, module, "does not return embed_scale * weight[ids]")
    return wide(scale)


def lookup_square(ids_BT: Tensor, e_BTD: Tensor) -> Tensor:
    """|x^T e|^2 of each sample for the one-hot x of its ids."""
    same_BTT = ids_BT[:, :, None] == ids_BT[:, None]
    return torch.where(same_BTT, e_BTD @ e_BTD.mT, 0).sum((1, 2))


def derived_squares(
    name: str,
    module: nn.Module,
    values: Sequence[Any],
    keywords: Sequence[str],
    output: Tensor,
    layout: Layout,
    g_BRE: Tensor,
) -> dict[str, Tensor]:
    """Of any module that treats rows one by one: its derivative by its own parameters, at each sample alone.

    ``values`` are its inputs, the last of them for ``keywords``. Raises InputError if it cannot be run sample by
    sample, or then returns something other than ``output``.
    """
    own = {key: wide(parameter) for key, parameter in own_parameters(module).items()}
    positional = len(values) - len(keywords)
    by_sample, axes = zip(*(_sample_axis(value, layout) for value in values), strict=True)

    def derivative(g_RE: Tensor, *given: Any) -> tuple[dict[str, Tensor], Tensor]:
        named = dict(zip(keywords, given[positional:], strict=True))
        run = partial(torch.func.functional_call, module, args=given[:positional], kwargs=named)
        again_RE, pull_back, *_ = torch.func.vjp(run, own)
        return pull_back(g_RE)[0], again_RE

    chunk = max(1, _LARGEST_GRADIENTS // sum(parameter.numel() for parameter in own.values()))
    try:
        gradients, again_BRE = torch.func.vmap(derivative, (0, *axes), chunk_size=chunk)(g_BRE, *by_sample)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise no_rule(name, module, f"cannot be run sample by sample ({error})") from error
    if again_BRE.shape != g_BRE.shape or _differ(again_BRE.reshape(output.shape), output):
        raise no_rule(name, module, "returns something else when it is run sample by sample")
    return {key: gradient.flatten(1).square().sum(1) for key, gradient in gradients.items()}


def _sample_axis(value: Any, layout: Layout) -> tuple[Any, int | None]:
    """The value and the axis along which it falls into samples; None if it is the same for all."""
    if not isinstance(value, Tensor):
        return value, None
    return (layout.split(value), 0) if layout.fits(value) else (wide(value), None)


def _differ(again: Tensor, output: Tensor) -> bool:
    """By more than rounding in the type of ``output``. NaN does not count."""
    rounding = torch.finfo(output.dtype).eps ** 0.5
    return bool((wide(again) - wide(output)).norm() > rounding * wide(output).norm())


def wide(tensor: Tensor) -> Tensor:
    """In at least 32 bits, if of floats."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)) if tensor.is_floating_point() else tensor
