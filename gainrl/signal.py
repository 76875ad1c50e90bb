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
        prefix_BT, question_BT: which tokens belong to the prefix and to the question. All others are ignored.

    Raises:
        InputError: the definition is unknown.
        ValueError: a prompt has no prefix or no question token (two question tokens for ``off-diagonal``).
    """
    question_BD, prefix_BD = unit_mean(hidden_BTD, question_BT), unit_mean(hidden_BTD, prefix_BT)
    return concentration(question_BD, question_BT.sum(1), prefix_BD, definition)


def unit_mean(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean of the masked tokens' unit vectors, (B, D), in at least 32 bits. Raises ValueError if a row has no token."""
    length_B = mask_BT.sum(1)
    if (length_B < 1).any():
        raise ValueError("every prompt needs at least 1 prefix token and 1 question token")
    hidden_BTD = hidden_BTD.to(torch.promote_types(hidden_BTD.dtype, torch.float32))
    unit_BTD = torch.nn.functional.normalize(hidden_BTD, dim=-1)
    return torch.einsum("btd,bt->bd", unit_BTD, mask_BT.to(unit_BTD.dtype)) / length_B[:, None]


def concentration(question_BD: Tensor, length_B: Tensor, prefix_BD: Tensor, definition: str = "paper") -> Concentration:
    """`angle_concentration` from mean unit vectors; ``length_B`` is the number of question tokens."""
    if definition not in DEFINITIONS:
        raise unknown_name("definition", definition, DEFINITIONS)
    c_intra_B = question_BD.square().sum(1)
    if definition == "off-diagonal":
        if (length_B < 2).any():
            raise ValueError("off-diagonal needs at least 2 question tokens")
        c_intra_B = (c_intra_B * length_B - 1) / (length_B - 1)
    return Concentration(c_intra_B, (question_BD * prefix_BD).sum(1))
