"""Randomness as a function: every number drawn depends on (seed, purpose, step) and on nothing
else.

Consequences: a run never depends on its companions in a pack, resuming needs no generator state,
    and evaluation never shifts training. NumPy draws on every device, so that a GPU sees the same
    numbers.
"""

import zlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Draw:
    """The random streams of one run: `Draw(seed)("train", step)` is a fresh generator, always the
    same one.
    """

    seed: int

    def __call__(self, purpose: str, step: int = 0) -> np.random.Generator:
        return np.random.default_rng((self.seed, zlib.crc32(purpose.encode()), step))
