"""Angle concentration: how closely the hidden states of a prompt's tokens point the same way.

Shapes: B batch, T tokens, D features. The definitions are those of "Angles Don't Lie" (arXiv 2506.02281).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gainrl.errors import InputError, unknown_name

DEFINITIONS = ("paper", "off-diagonal", "released")

RELEASED_PREFIX = 110
RELEASED_SUFFIX = 6
RELEASED_INTER_WEIGHT = 8
"""Constants of the authors' script (data_processor.py:166 of github.com/wangqinsi1/GAINRL)."""


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
        InputError: the definition is unknown, or is ``released``, which has no such spans (`released_concentration`).
        ValueError: a prompt has no prefix or no question token (two question tokens for ``off-diagonal``).
    """
    question_BD, prefix_BD = unit_mean(hidden_BTD, question_BT), unit_mean(hidden_BTD, prefix_BT)
    return concentration(question_BD, question_BT.sum(1), prefix_BD, definition)


def unit_mean(hidden_BTD: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean of the masked tokens' unit vectors, (B, D), in at least 32 bits. Raises ValueError if a row has no token."""
    length_B = mask_BT.sum(1)
    if (length_B < 1).any():
        raise ValueError("every prompt needs at least 1 prefix token and 1 question token")
    unit_BTD = torch.nn.functional.normalize(_at_least_32_bits(hidden_BTD), dim=-1)
    return torch.einsum("btd,bt->bd", unit_BTD, mask_BT.to(unit_BTD.dtype)) / length_B[:, None]


def concentration(question_BD: Tensor, length_B: Tensor, prefix_BD: Tensor, definition: str = "paper") -> Concentration:
    """`angle_concentration` from mean unit vectors; ``length_B`` is the number of question tokens."""
    if definition not in DEFINITIONS:
        raise unknown_name("definition", definition, DEFINITIONS)
    if definition == "released":
        raise InputError(
            "definition 'released' orders problems only; the angle of given tokens needs 'paper' or 'off-diagonal'"
        )
    c_intra_B = question_BD.square().sum(1)
    if definition == "off-diagonal":
        if (length_B < 2).any():
            raise ValueError("off-diagonal needs at least 2 question tokens")
        c_intra_B = (c_intra_B * length_B - 1) / (length_B - 1)
    return Concentration(c_intra_B, (question_BD * prefix_BD).sum(1))


def released_concentration(hidden_BTD: Tensor, length_B: Tensor) -> Concentration:
    """What the authors' script computes from a whole prompt of L = ``length_B`` tokens; the rest of T is padding.

    It masks the T x T cosines to the lower triangle and one diagonal above, so that row i holds
    s_i = sum over j <= i + 1 of cos(i, j), and averages whole rows of L entries, the masked ones included:

        c_intra = 1/L * mean of s_i over rows 220 .. L - 13       (meant as question x question)
        c_inter = 8/L * mean of s_i over rows 110 .. min(219, L - 7)   (meant as question x prefix; holds the weight)

    NaN where a block has no row: c_intra for prompts of 232 tokens or fewer, both for 116 or fewer. The script's
    descending sort puts NaN first, and `schedules.sort_key` does the same. The script's spans are these fixed positions,
    whatever the template.
    """
    unit_BTD = torch.nn.functional.normalize(_at_least_32_bits(hidden_BTD), dim=-1)
    row_BT = (unit_BTD[:, :-1] * unit_BTD.cumsum(1)[:, 1:]).sum(-1)
    index_T = torch.arange(row_BT.shape[1], device=row_BT.device)

    def block(first: int, last_B: Tensor) -> Tensor:
        inside_BT = (index_T >= first) & (index_T <= last_B[:, None])
        return (row_BT * inside_BT).sum(1) / (inside_BT.sum(1) * length_B)

    inter_last_B = (length_B - RELEASED_SUFFIX - 1).clamp(max=2 * RELEASED_PREFIX - 1)
    return Concentration(
        c_intra=block(2 * RELEASED_PREFIX, length_B - 2 * RELEASED_SUFFIX - 1),
        c_inter=RELEASED_INTER_WEIGHT * block(RELEASED_PREFIX, inter_last_B),
    )


def _at_least_32_bits(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
