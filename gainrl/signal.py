"""Angle concentration: how closely the hidden states of a prompt's tokens point the same way.

Shapes: B batch, T tokens, D features. The definitions are those of "Angles Don't Lie" (arXiv 2506.02281).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gainrl.errors import unknown_name

DEFINITIONS = ("paper", "off-diagonal")


class Concentration(NamedTuple):
    """The signal of B prompts; each field has shape (B,)."""

    c_intra: Tensor
    c_inter: Tensor

    @property
    def angle(self) -> Tensor:
        return self.c_intra + self.c_inter


def angle_concentration(
    hidden_BTD: Tensor, prefix_BT: Tensor, question_BT: Tensor, definition: str = "paper"
) -> Concentration:
    """Mean cosine among the question's tokens, and between them and the prefix's.

    For question tokens Q and prefix tokens P of one prompt, with u_i = x_i / |x_i|,

        c_intra = 1/|Q|^2    * sum over i, j in Q        <u_i, u_j>  =  |mean_Q(u)|^2
        c_inter = 1/(|Q||P|) * sum over i in Q, j in P   <u_i, u_j>  =  <mean_Q(u), mean_P(u)>

    so the cost is O(T D), not O(T^2 D). ``paper`` counts i = j as the paper writes it, which leaves a bias of
    (1 - c)/|Q|; ``off-diagonal`` leaves those terms out of c_intra.

    Args:
        hidden_BTD: hidden states, any float type; sums are taken in at least 32 bits.
        prefix_BT, question_BT: which tokens belong to the prefix and to the question (bool). All others are ignored.

    Raises:
        InputError: the definition is unknown.
        ValueError: a prompt has no prefix or no question token (two question tokens for ``off-diagonal``).
    """
    if definition not in DEFINITIONS:
        raise unknown_name("definition", definition, DEFINITIONS)
    fewest = 2 if definition == "off-diagonal" else 1
    length_B, prefix_length_B = question_BT.sum(1), prefix_BT.sum(1)
    if (length_B < fewest).any() or (prefix_length_B < 1).any():
        raise ValueError(f"{definition} needs {fewest} question token(s) and 1 prefix token in every prompt")

    hidden_BTD = hidden_BTD.to(torch.promote_types(hidden_BTD.dtype, torch.float32))
    unit_BTD = torch.nn.functional.normalize(hidden_BTD, dim=-1)
    length_B = length_B.to(unit_BTD.dtype)
    question_BD = torch.einsum("btd,bt->bd", unit_BTD, question_BT.to(unit_BTD.dtype)) / length_B[:, None]
    prefix_BD = torch.einsum("btd,bt->bd", unit_BTD, prefix_BT.to(unit_BTD.dtype)) / prefix_length_B[:, None]

    c_intra_B = question_BD.square().sum(1)
    if definition == "off-diagonal":
        c_intra_B = (c_intra_B * length_B - 1) / (length_B - 1)
    return Concentration(c_intra_B, (question_BD * prefix_BD).sum(1))
