"""Exact gradient norms of every sample of a batch, for every parameter, from one backward pass over the batch.

The gradient of a linear layer a = x W is x^T g with g = dL/da. Samples do not interact, so the backward pass of their summed
loss computes every sample's own g: no sample needs a pass of its own, and no gradient is built where a T x T form is cheaper.

Shapes: R rows, B samples of R/B rows each, T tokens of a row (after B: of all rows of the sample), K the largest number of
weighted tokens of a row, D features into a module, E features out of it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from gainrl.models.loading import keeps_whole_cache
from gainrl.studies.gradients.rules import (
    Layout,
    derived_squares,
    is_linear,
    is_lookup,
    linear_squares,
    lookup_scale,
    lookup_square,
    no_rule,
    own_parameters,
    wide,
)

Receive = Callable[[str, Tensor, Tensor], None]
"""Called with the name of a linear module, its inputs x_BTD and the gradients of its outputs g_BTE."""

_Rule = Callable[[Tensor], dict[str, Tensor]]
"""From the gradient of a module's output, as `Layout.split` gives it, to its parameters' squared gradient norms."""


def squared_gradient_norms(
    model: PreTrainedModel,
    ids_RT: Tensor,
    mask_RT: Tensor,
    weight_RT: Tensor,
    *,
    branch_RT: Tensor | None = None,
    rows_per_sample: int = 1,
    temperature: float = 1.0,
    receive: Receive | None = None,
) -> dict[str, Tensor]:
    """Squared norm of the gradient of each sample's loss, (B,), for each name of ``model.named_parameters()``.

    The loss of a sample is, over its rows r and positions t,

        L = - sum over r, t of  weight[r, t] * log p(ids[r, t] | ids[r, :t])

    The norms are exact. With x_i, g_i a token's input and output gradient, a linear weight has
    |x^T g|^2 = sum_ij <x_i, x_j> <g_i, g_j>, its bias |sum_i g_i|^2; an embedding is a linear layer of one-hot x; a
    weight shared by embedding (gradient E) and LM head (gradient H) has |E|^2 + |H|^2 + 2 <E, H>; any other parameter is
    differentiated through its own module. Sums are taken in at least 32 bits; where the model yields NaN, so does this.
    The model runs in evaluation mode, and afterwards is as before.

    Args:
        model: a causal language model; each of its parameters takes part through the forward of its own module alone.
        ids_RT, mask_RT: token ids padded on the right, and 1 for each that is not padding.
        weight_RT: of any sign; 0 at padding, at tokens outside the loss, and at position 0.
        branch_RT: 0 where a row's prompt is, then 1, 2, ... for each of several completions of it, one after the other. A token
            sees the prompt and its own completion alone, as if each completion stood in a row of its own. The model is to have
            rotary positions and attention over all tokens (`takes_branches`).
        rows_per_sample: this many consecutive rows are one sample, such as the completions of one problem.
        temperature: what logits are divided by.
        receive: is called with x_BTD and g_BTE of each linear module when the backward pass reaches it; for the LM head
            they are those of the weighted tokens alone.

    Raises:
        InputError: no rule is exact for a parameter: several modules share it (other than an embedding and the LM
            head), or its module is not called exactly once, or does not treat rows one by one.
        ValueError: the shapes do not fit together, or position 0 has a weight.
    """
    if not (ids_RT.shape == mask_RT.shape == weight_RT.shape and len(ids_RT) % rows_per_sample == 0):
        shapes = [tuple(tensor.shape) for tensor in (ids_RT, mask_RT, weight_RT)]
        raise ValueError(f"ids, mask, weight are {shapes}; they must agree, rows in samples of {rows_per_sample}")
    if weight_RT[:, 0].any():
        raise ValueError("position 0 has no tokens before it to follow from; its weight must be 0")
    batch = _Pass(model, ids_RT, rows_per_sample, receive)
    with _frozen(model), torch.enable_grad():
        with batch.watched():
            logp_RK, weight_RK = _weighted_logp(model, ids_RT, mask_RT, weight_RT, branch_RT, temperature)
        torch.autograd.backward(-(weight_RK * logp_RK).sum())
    # a sum of positive and negative terms, such as 2 <E, H>, can fall below 0 by rounding
    return {name: square_B.clamp_min(0) for name, square_B in batch.squares.items()}


def takes_branches(model: PreTrainedModel) -> bool:
    """Whether several completions may follow one prompt in a row: only a mask and rotary positions tell the order of tokens."""
    config = model.config
    rotary = getattr(config, "rope_parameters", None) is not None and not getattr(config, "alibi", False)
    return rotary and keeps_whole_cache(model) and config._attn_implementation in ("eager", "sdpa")


def _weighted_logp(
    model: PreTrainedModel,
    ids_RT: Tensor,
    mask_RT: Tensor,
    weight_RT: Tensor,
    branch_RT: Tensor | None,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """log p and weight of each row's weighted tokens, (R, K). A hook gives the LM head only the states that predict them."""
    before_RT = torch.arange(ids_RT.shape[1], device=ids_RT.device).expand_as(ids_RT) - 1
    inputs = {"input_ids": ids_RT, "attention_mask": mask_RT}
    if branch_RT is not None:
        attention_R1TT, position_RT, before_RT = _branches(branch_RT, model.dtype)
        inputs |= {"attention_mask": attention_R1TT, "position_ids": position_RT}
    most = max(1, int(weight_RT.count_nonzero(1).max()))
    # the weighted positions come first; a row that has fewer than K is filled up with others, whose weight is set to 0 below
    position_RK = (weight_RT != 0).int().argsort(dim=1, descending=True, stable=True)[:, :most].clamp(min=1)
    before_RK = before_RT.gather(1, position_RK)

    def take(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (args[0].gather(1, before_RK[..., None].expand(-1, -1, args[0].shape[2])), *args[1:])

    handle = model.get_output_embeddings().register_forward_pre_hook(take)
    try:
        output = model(**inputs, use_cache=False)
    finally:
        handle.remove()
    logp_RKV = (wide(output.logits) / temperature).log_softmax(-1)
    ids_RK, weight_RK = ids_RT.gather(1, position_RK), weight_RT.gather(1, position_RK)
    used_RK = torch.arange(most, device=ids_RT.device) < weight_RT.count_nonzero(1)[:, None]
    return logp_RKV.gather(2, ids_RK[..., None]).squeeze(2), weight_RK * used_RK


def _branches(branch_RT: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """What is added to attention scores (R, 1, T, T), each token's position in its own sequence, and the token before it."""
    index_T = torch.arange(branch_RT.shape[1], device=branch_RT.device)
    own_RTT = (branch_RT[:, None] == 0) | (branch_RT[:, None] == branch_RT[..., None])
    sees_RTT = own_RTT & (index_T <= index_T[:, None])
    position_RT = sees_RTT.sum(-1) - 1
    # of the tokens that a token sees, the last but itself: for the first of a completion the prompt's last
    before_RT = (sees_RTT & (index_T < index_T[:, None])).mul(index_T).amax(-1)
    attention_RTT = torch.zeros(sees_RTT.shape, dtype=dtype, device=branch_RT.device)
    attention_RTT.masked_fill_(~sees_RTT, torch.finfo(dtype).min)
    return attention_RTT[:, None], position_RT, before_RT


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """While open, no parameter requires a gradient and every module is in evaluation mode; afterwards both are as before."""
    required = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval().requires_grad_(False)
        yield
    finally:
        for parameter, requires_grad in required:
            parameter.requires_grad_(requires_grad)
        for module, training in modes:
            module.training = training


class _Pass:
    """Gives each module a rule in the forward pass, and applies it when the gradient of the module's output arrives."""

    def __init__(self, model: PreTrainedModel, ids_RT: Tensor, rows_per_sample: int, receive: Receive | None) -> None:
        self.model, self.receive = model, receive
        rows, tokens = ids_RT.shape
        self.layout = Layout(rows, tokens, rows // rows_per_sample)
        self.ids_BT = ids_RT.reshape(self.layout.samples, -1)
        self.names = {parameter: name for name, parameter in model.named_parameters()}
        self.squares = {name: self._zeros(parameter) for parameter, name in self.names.items()}
        self.owners = {name: module for name, module in model.named_modules() if own_parameters(module)}
        self.embedding, self.head = self._find_tie()
        self.head_rows_BTD: Tensor | float = 0.0
        """Of the LM head's gradient (V, D), the rows of the sample's own ids; for a tied weight."""
        self.called: set[nn.Module] = set()

    def _zeros(self, parameter: nn.Parameter) -> Tensor:
        dtype = torch.promote_types(parameter.dtype, torch.float32)
        return torch.zeros(self.layout.samples, dtype=dtype, device=parameter.device)

    def _find_tie(self) -> tuple[nn.Module | None, nn.Module | None]:
        """The embedding and the LM head if they share one weight, else None twice."""
        embedding, head = self.model.get_input_embeddings(), self.model.get_output_embeddings()
        holders: dict[nn.Parameter, list[str]] = {}
        for name, module in self.owners.items():
            for parameter in own_parameters(module).values():
                holders.setdefault(parameter, []).append(name)
        shared = [names for names in holders.values() if len(names) > 1]
        for names in shared:
            tied = len(names) == 2 and {self.owners[name] for name in names} == {embedding, head}
            if not (tied and is_lookup(embedding) and is_linear(head)):
                raise no_rule(names[-1], self.owners[names[-1]], f"shares it with {names[0]}")
        return (embedding, head) if shared else (None, None)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While open, one forward pass must call every module that has parameters of its own exactly once."""
        handles = [
            module.register_forward_hook(partial(self._called, name), prepend=True, with_kwargs=True)
            for name, module in self.owners.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        for name, module in self.owners.items():
            if module not in self.called:
                raise no_rule(name, module, "is not called")

    def _called(self, name: str, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Tensor:
        if module in self.called:
            raise no_rule(name, module, "is called more than once")
        self.called.add(module)
        if not isinstance(output, Tensor) or not output.is_floating_point():
            raise no_rule(name, module, "does not return one tensor of floats")
        # a position embedding returns one row for all; expanded, each row gets the gradient of its own copy
        if output.shape[:2] == (1, self.layout.tokens):
            output = output.expand(self.layout.rows, *output.shape[1:])
        if not self.layout.fits_states(output):
            raise no_rule(name, module, f"returns shape {tuple(output.shape)}, in which rows do not come first")
        # as no parameter requires a gradient, the graph begins at the first module's output
        states: Tensor = output if output.requires_grad else output.detach().requires_grad_()
        values = [value.detach() if isinstance(value, Tensor) else value for value in (*args, *kwargs.values())]
        rule = self._rule(name, module, values, tuple(kwargs), states.detach())
        states.register_hook(lambda gradient: self._add(module, rule(self.layout.split(gradient))))  # type: ignore[no-untyped-call]
        return states

    def _rule(self, name: str, module: Any, values: list[Any], keywords: tuple[str, ...], output: Tensor) -> _Rule:
        if is_linear(module):
            return partial(self._linear, name, module, values[0], values[0]._version)
        if is_lookup(module):
            ids_BT = values[0].expand(output.shape[:-1]).reshape(self.layout.samples, -1)
            return partial(self._lookup, name, module, ids_BT, lookup_scale(name, module, values[0], output))
        return partial(derived_squares, name, module, values, keywords, output, self.layout)

    def _add(self, module: nn.Module, squares: dict[str, Tensor]) -> None:
        for name, parameter in own_parameters(module).items():
            self.squares[self.names[parameter]] += squares[name]

    def _linear(self, name: str, module: nn.Module, x: Tensor, version: int, g_BRE: Tensor) -> dict[str, Tensor]:
        if x._version != version:  # x is no longer what the module was given
            raise no_rule(name, module, "has its input changed in place after the call")
        x_BTD, g_BTE = self.layout.states(x), g_BRE.flatten(1, -2)
        if module is self.head:
            # Row v of the head's gradient H = g^T x is sum_k g[k, v] x_k. The embedding's gradient E adds e_t to row ids[t], so
            # <E, H> = sum_t <e_t, H[ids[t]]> needs T rows of H only. The backward pass reaches the head before the embedding.
            at_ids_BKT = g_BTE.gather(2, self.ids_BT[:, None].expand(-1, g_BTE.shape[1], -1))
            self.head_rows_BTD = at_ids_BKT.mT @ x_BTD
        if self.receive is not None:
            self.receive(name, x_BTD, g_BTE)
        return linear_squares(own_parameters(module), x_BTD, g_BTE)

    def _lookup(
        self, name: str, module: nn.Embedding, ids_BT: Tensor, scale: Tensor, g_BRD: Tensor
    ) -> dict[str, Tensor]:
        e_BTD = g_BRD.flatten(1, -2) * scale
        if module.padding_idx is not None:  # to which PyTorch gives no gradient
            e_BTD = e_BTD.masked_fill((ids_BT == module.padding_idx)[..., None], 0)
        square_B = lookup_square(ids_BT, e_BTD)
        if module is self.embedding:
            if not torch.equal(ids_BT, self.ids_BT):
                raise no_rule(name, module, "is given other ids than the model")
            square_B = square_B + 2 * (e_BTD * self.head_rows_BTD).sum((1, 2))
        return {"weight": square_B}
