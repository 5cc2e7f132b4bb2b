"""Noisy sequences: the first few numbers tell the class, all that follows is noise."""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np

from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Generated, at_least
from rnnbench.tasks.lengths import read_at_end

DEVIATION = sqrt(0.2)


@dataclass(frozen=True)
class Noisy(Generated):
    """Tell from the first numbers of a sequence, far behind, to which of two classes it belongs.

    The first `shown` numbers are 1 for one class and -1 for the other, the rest is Gaussian with
    mean 0 and variance 0.2. `blurred` adds such noise to the first ones as well; then some classes
    cannot be told: 1.3 % with one number shown, 0.005 % with three.

    Source: Hochreiter & Schmidhuber (1997), Long short-term memory, experiments 3a and 3b; Bengio,
        Simard & Frasconi (1994), Learning long-term dependencies with gradient descent is
        difficult.
    Reading: there are `length` to 1.1 · `length` steps, uniformly; classes are told by
        cross-entropy, the paper has one sigmoid output with targets 0 and 1. It has (length, shown)
        of (100, 3), (100, 1) and (1000, 3).
    """

    target: float | None = 0.99
    length: int = 100
    shown: int = 3
    blurred: bool = False

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    inputs = 1
    outputs = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, shown=self.shown)
        if self.length <= self.shown:
            raise UserError(f"task.length must exceed task.shown={self.shown}, got {self.length}")

    @property
    def longest(self) -> int:
        return self.length + self.length // 10

    @property
    def horizon(self) -> int:
        return self.longest

    @property
    def baseline(self) -> dict[str, float]:
        return {"accuracy": 0.5, "nats": log(2)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        lengths = rng.integers(self.length, self.longest, size, endpoint=True)
        label = rng.integers(0, 2, size)
        x = rng.standard_normal((self.longest, size), np.float32) * np.float32(DEVIATION)
        if not self.blurred:
            x[: self.shown] = 0
        x[: self.shown] += 2 * label - 1
        x[np.arange(self.longest)[:, None] >= lengths] = 0
        return read_at_end(x[..., None], label, lengths)
