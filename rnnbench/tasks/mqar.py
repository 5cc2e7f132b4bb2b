"""Multi-query associative recall: pairs of keys and values come first, then the keys again."""

from dataclasses import dataclass
from math import log

import numpy as np

from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Generated, at_least


@dataclass(frozen=True)
class Mqar(Generated):
    """Read `pairs` of a key and its value, then name the value of each key when it comes again.

    After the pairs every key comes once more, at an even distance that follows a power law of
    exponent `power` - 1; all other symbols are noise. Only what follows the keys that come again is
    scored. Keys are the symbols 1 to vocabulary / 2 - 1, values the upper half.

    Source: Arora et al. (2024), Zoology: Measuring and improving recall in efficient language
        models; the generator of its authors.
    Reading: outputs are the values alone, the paper's are all symbols. The paper has a vocabulary
        of 8,192, and (length, pairs) of (64, 4), (128, 8), (256, 16), and (512, 64).
    """

    target: float | None = 0.99
    length: int = 64
    pairs: int = 4
    vocabulary: int = 128
    power: float = 0.01

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, pairs=self.pairs)
        for name, least in (("length", 4 * self.pairs), ("vocabulary", 2 * self.pairs + 2)):
            if getattr(self, name) < least or getattr(self, name) % 2:
                raise UserError(
                    f"task.{name} must be even and at least {least} with task.pairs={self.pairs},"
                    f" got {getattr(self, name)}"
                )
        if not 0 < self.power <= 1:
            raise UserError(f"task.power must be above 0 and at most 1, got {self.power}")

    @property
    def inputs(self) -> int:
        return self.vocabulary

    @property
    def outputs(self) -> int:
        return self.vocabulary // 2

    @property
    def horizon(self) -> int:
        return self.length

    @property
    def baseline(self) -> dict[str, float]:
        return {"accuracy": 1 / self.outputs, "nats": log(self.outputs)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        half, shown = self.vocabulary // 2, 2 * self.pairs
        keys = 1 + distinct(rng.random((size, half - 1)), self.pairs)
        values = distinct(rng.random((size, half)), self.pairs)
        places = (self.length - shown) // 2
        odds = (self.power - 1) * np.log(np.arange(1, places + 1))
        # The least of these, one by one, are draws without replacement with such odds (Gumbel).
        gap = distinct(-odds - rng.gumbel(size=(size, places)), self.pairs)
        asked, row = shown + 2 * gap.T, np.arange(size)
        x = rng.integers(0, self.vocabulary, (self.length, size))
        x[:shown:2], x[1:shown:2], x[asked, row] = keys.T, half + values.T, keys.T
        y, mask = np.zeros_like(x), np.zeros(x.shape, bool)
        y[asked, row], mask[asked, row] = values.T, True
        return Batch(x, y, mask)


def distinct(rank: np.ndarray, count: int) -> np.ndarray:
    """In every row the places of the `count` least, in their order."""
    least = np.argpartition(rank, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(rank, least, axis=1), axis=1)
    chosen: np.ndarray = np.take_along_axis(least, order, axis=1)
    return chosen
