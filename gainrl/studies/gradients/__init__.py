"""Gradients of single samples: their norms for every parameter from one backward pass, and why they differ."""

from gainrl.studies.gradients.decomposition import Gram, decompose, gram, pairwise_norm, variance_shares
from gainrl.studies.gradients.norms import Receive, squared_gradient_norms, takes_branches
from gainrl.studies.gradients.rules import product_square

__all__ = [
    "Gram",
    "Receive",
    "decompose",
    "gram",
    "pairwise_norm",
    "product_square",
    "squared_gradient_norms",
    "takes_branches",
    "variance_shares",
]
