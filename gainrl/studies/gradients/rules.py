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
"""Elements of the gradients that `derived_squares` holds at once, at least those of one sample."""


class Layout(NamedTuple):
    """How a batch's tensors divide into samples: their first dimension is rows, or the tokens of all rows in turn."""

    rows: int
    tokens: int
    samples: int

    def fits(self, tensor: Tensor) -> bool:
        return tensor.shape[:1] in ((self.rows,), (self.rows * self.tokens,))

    def fits_states(self, output: Tensor) -> bool:
        """As `fits`, but not for a matrix with one line per row, which has no tokens."""
        return self.fits(output) and (output.ndim > 2 or len(output) == self.rows * self.tokens)

    def split(self, tensor: Tensor) -> Tensor:
        """(B, R/B rows or the sample's tokens, ...), floats in at least 32 bits."""
        return wide(tensor).reshape(self.samples, len(tensor) // self.samples, *tensor.shape[1:])

    def states(self, tensor: Tensor) -> Tensor:
        """A module's inputs as x_BTD, or their gradients as g_BTE."""
        return self.split(tensor).flatten(1, -2)


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The module's own parameters, by their names in it, without those of modules inside it."""
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
    """|x^T g|^2 of each sample: from two T x T matrices or from x^T g itself, whichever takes fewer operations.

    |x^T g|^2 = trace(g^T x x^T g) = trace((x x^T)(g g^T)) = sum_ij <x_i, x_j> <g_i, g_j>, both Gram matrices being
    symmetric. They take T^2 (D + E) multiplications, x^T g takes T D E.
    """
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
    """The factor of ``weight[ids]`` in the output. Raises InputError if ``output`` is not their product."""
    weight = module.weight
    scale = torch.as_tensor(getattr(module, "embed_scale", 1.0), dtype=weight.dtype, device=weight.device)
    if _differ(weight[ids] * scale, output):
        raise no_rule(name, module, "does not return embed_scale * weight[ids]")
    return wide(scale)


def lookup_square(ids_BT: Tensor, e_BTD: Tensor) -> Tensor:
    """|x^T e|^2 of each sample for the one-hot x of its ids: <x_i, x_j> is 1 where two ids are equal, else 0."""
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
    """The squares for any module that treats rows one by one, from its derivative by its own parameters.

    If a = f(x, w) and rows do not interact, sample b's gradient is the pull-back of its g_b through f(x_b, .) at w: the module
    is run again on each sample alone (vmap), and its vector-Jacobian product taken there. ``values`` are the inputs, the
    last of them for ``keywords``. Raises InputError if the module cannot be run sample by sample, or then returns something
    other than ``output``.
    """
    own = {key: wide(parameter) for key, parameter in own_parameters(module).items()}
    positional = len(values) - len(keywords)
    by_sample, axes = zip(*(_sample_axis(value, layout) for value in values), strict=True)

    def derivative(g_RE: Tensor, *inputs: Any) -> tuple[dict[str, Tensor], Tensor]:
        named = dict(zip(keywords, inputs[positional:], strict=True))
        run = partial(torch.func.functional_call, module, args=inputs[:positional], kwargs=named)
        rerun_RE, pull_back, *_ = torch.func.vjp(run, own)
        return pull_back(g_RE)[0], rerun_RE

    chunk = max(1, _LARGEST_GRADIENTS // sum(parameter.numel() for parameter in own.values()))
    try:
        gradients, rerun_BRE = torch.func.vmap(derivative, (0, *axes), chunk_size=chunk)(g_BRE, *by_sample)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise no_rule(name, module, f"cannot be run sample by sample ({error})") from error
    # a module that mixes rows, or draws at random, runs too, but gives another output
    if rerun_BRE.shape != g_BRE.shape or _differ(rerun_BRE.reshape(output.shape), output):
        raise no_rule(name, module, "returns something else when it is run sample by sample")
    return {key: gradient.flatten(1).square().sum(1) for key, gradient in gradients.items()}


def _sample_axis(value: Any, layout: Layout) -> tuple[Any, int | None]:
    """The value, split into samples, and the axis of the samples; None where the value is the same for all."""
    if not isinstance(value, Tensor):
        return value, None
    return (layout.split(value), 0) if layout.fits(value) else (wide(value), None)


def _differ(rerun: Tensor, output: Tensor) -> bool:
    """Whether they differ by more than rounding in the type of ``output``. NaN does not count."""
    rounding = torch.finfo(output.dtype).eps ** 0.5
    return bool((wide(rerun) - wide(output)).norm() > rounding * wide(output).norm())


def wide(tensor: Tensor) -> Tensor:
    """A tensor of floats in at least 32 bits, any other as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)) if tensor.is_floating_point() else tensor
