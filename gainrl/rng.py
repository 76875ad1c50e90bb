"""Where every random draw of the suite comes from: a generator that is known by a seed and a name."""

import zlib

import numpy as np


def generator(seed: int, name: str) -> np.random.Generator:
    """A numpy generator for one purpose: the same (seed, name) gives the same draws, other names independent ones."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def torch_seed(seed: int, name: str) -> int:
    """A 31-bit seed, of the same kind, for the libraries that seed themselves with an integer."""
    return int(generator(seed, name).integers(2**31))
