"""Sequences of different lengths: drawn anew for every batch, or side by side in one batch."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from rnnbench.draw import Draw
from rnnbench.tasks.contract import Batch, Generated, at_least


@dataclass(frozen=True)
class Varied(Generated):
    """A synthetic task that is trained on sequences of every size and evaluated at the largest.

    `sizes` maps the settings that vary to their least values. A training batch draws each of them,
    uniformly from there to the setting, for all of its sequences; validation and test sequences
    have the setting itself, so that `rnnbench eval RUN_DIR task.length=50,100` is a score per
    length. What is drawn depends on the step and not on the seed: runs that train together have
    batches of equal shapes, and no run's batches are padded for the sake of another's.
    """

    sizes: ClassVar[dict[str, int]] = {"length": 1}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in self.sizes.items():
            at_least(least, **{name: getattr(self, name)})

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        rng = Draw(0)("sizes", step)
        drawn = {
            name: int(rng.integers(least, getattr(self, name), endpoint=True))
            for name, least in self.sizes.items()
        }
        return replace(self, **drawn).sample(draw("train", step), size)


def read_at_end(x: np.ndarray, y: np.ndarray, lengths: np.ndarray) -> Batch:
    """A batch whose sequences end at different steps, each read at its own last one.

    x: (T, B, …), padded at the end; y: (B, …), an answer a sequence; lengths: (B,), from 1 to T.
    """
    row = np.arange(len(lengths))
    answers = np.zeros((len(x), *y.shape), y.dtype)
    answers[lengths - 1, row] = y
    mask = np.zeros((len(x), len(lengths)), bool)
    mask[lengths - 1, row] = True
    return Batch(x, answers, mask)
