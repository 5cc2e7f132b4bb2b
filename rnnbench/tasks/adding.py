"""The adding problem: two of many numbers are marked; add them at the end."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from rnnbench.errors import unknown
from rnnbench.tasks.contract import Batch, Generated, at_least


@dataclass(frozen=True)
class Adding(Generated):
    """Add the two marked numbers.

    Channel 0 is uniform in [0, 1), channel 1 marks two steps with a one.

    Source: Hochreiter & Schmidhuber (1997), Long short-term memory; Le, Jaitly & Hinton (2015), A
        simple way to initialize recurrent networks of rectified linear units; Arjovsky, Shah &
        Bengio (2016), Unitary evolution recurrent neural networks.
    Reading: `halves` marks one step in each half, as in Arjovsky et al., so that the typical lag is
        half the length; `anywhere` marks two distinct steps, as in Bai, Kolter & Koltun (2018).
        Hochreiter & Schmidhuber draw from [-1, 1] and mark one of the first ten steps. Always
        answering 1 scores the variance of the sum, 1/6; the 0.1767 of Le et al. and Bai et al. is a
        slip.
    """

    target: float | None = 0.01
    length: int = 100
    markers: str = "halves"

    loss = "mse"
    metric = "mse"
    goal = "min"
    inputs = 2
    outputs = 1
    baseline: ClassVar = {"mse": 1 / 6}

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, length=self.length)
        if self.markers not in ("halves", "anywhere"):
            raise unknown("value for task.markers:", self.markers, ("halves", "anywhere"))

    @property
    def horizon(self) -> int:
        return self.length

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        x = np.zeros((self.length, size, 2), np.float32)
        x[..., 0] = rng.random((self.length, size), np.float32)
        first, second = self._marked(rng, size)
        row = np.arange(size)
        x[first, row, 1] = x[second, row, 1] = 1
        return Batch(x, (x[first, row, :1] + x[second, row, :1]), last=True)

    def _marked(self, rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        if self.markers == "halves":
            half = self.length // 2
            return rng.integers(0, half, size), rng.integers(half, self.length, size)
        first = rng.integers(0, self.length, size)
        return first, (first + rng.integers(1, self.length, size)) % self.length
