"""Every random draw of the suite comes from a generator that a seed and a name identify."""

import zlib

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """A numpy generator for one purpose: the same (seed, name) gives the same draws, another name independent ones."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def torch_seed(seed: int, name: str) -> int:
    """A 31-bit seed for one purpose, for libraries that take an integer."""
    return int(generator(seed, name).integers(2**31))
