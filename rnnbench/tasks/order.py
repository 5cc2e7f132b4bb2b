"""Temporal order: which of two rare symbols came first, among many that mean nothing."""

from dataclasses import dataclass
from math import log

import numpy as np

from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Generated, at_least
from rnnbench.tasks.lengths import read_at_end

NOISE, FIRST, LAST, X = 4, 4, 5, 6  # a b c d, then E, B, X and Y


@dataclass(frozen=True)
class Order(Generated):
    """Name the order in which X and Y stood among letters that mean nothing: XX, XY, YX or YY.

    A sequence begins with E and ends with B, which asks for the answer. X or Y stands at `marks`
    places, each somewhere in a stretch of a tenth of `length`: 2^marks classes.

    Source: Hochreiter & Schmidhuber (1997), Long short-term memory, experiments 6a (two marks) and
        6b (three).
    Reading: there are `length` to 1.1 · `length` steps, uniformly. The first mark stands after 10
        to 20 % of `length`, the others so far after ½ of it, or after 1/3 and 2/3: at 10 to 20 and
        50 to 60 of 100 to 110 steps, or 10 to 20, 33 to 43 and 66 to 76, as in the paper. Four
        marks are ours: after 1/4, 2/4 and 3/4.
    """

    target: float | None = 0.99
    length: int = 100
    marks: int = 2

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True
    inputs = X + 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(20, length=self.length)
        if self.marks not in (2, 3, 4):
            raise UserError(f"task.marks must be 2, 3 or 4, got {self.marks}")

    @property
    def outputs(self) -> int:
        return 1 << self.marks

    @property
    def longest(self) -> int:
        return self.length + self.length // 10

    @property
    def horizon(self) -> int:
        return self.longest

    @property
    def baseline(self) -> dict[str, float]:
        return {"accuracy": 1 / self.outputs, "nats": log(self.outputs)}

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """The first and the last step at which each mark may stand."""
        starts = [self.length // 10] + [k * self.length // self.marks for k in range(1, self.marks)]
        return [(start, start + self.length // 10) for start in starts]

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        lengths = rng.integers(self.length, self.longest, size, endpoint=True)
        marks = rng.integers(0, 2, (self.marks, size))
        x, row = rng.integers(0, NOISE, (self.longest, size)), np.arange(size)
        for mark, (start, end) in zip(marks, self.stretches, strict=True):
            x[rng.integers(start, end, size, endpoint=True), row] = X + mark
        x[0], x[lengths - 1, row] = FIRST, LAST
        x[np.arange(self.longest)[:, None] >= lengths] = 0
        return read_at_end(x, 2 ** np.arange(self.marks)[::-1] @ marks, lengths)
