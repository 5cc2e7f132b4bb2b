"""Memorisation: read a few letters, then reproduce them.

The quick test that a cell can remember at all.
"""

from dataclasses import dataclass, replace
from math import log

import numpy as np

from rnnbench.tasks.contract import Batch, Generated, at_least


@dataclass(frozen=True)
class Memorize(Generated):
    """Read `items` letters out of `alphabet`, then reproduce them in the same order.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures: the filter that candidates had to pass with 95 %.
    Reading: the paper does not say how the answer is asked for. Here a blank (input 0) asks for
        each letter, right after the last one was read; answers are not fed back.
    """

    target: float | None = 0.95
    items: int = 5
    alphabet: int = 26

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, items=self.items)
        at_least(2, alphabet=self.alphabet)

    @property
    def inputs(self) -> int:
        return self.alphabet + 1

    @property
    def outputs(self) -> int:
        return self.alphabet

    @property
    def horizon(self) -> int:
        return self.items

    @property
    def baseline(self) -> dict[str, float]:
        return {"accuracy": 1 / self.alphabet, "nats": log(self.alphabet)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        letters = rng.integers(0, self.alphabet, (self.items, size))
        silence = np.zeros_like(letters)
        asked = np.repeat([False, True], self.items)[:, None]
        return Batch(
            x=np.concatenate([letters + 1, silence]),
            y=np.concatenate([silence, letters]),
            mask=np.broadcast_to(asked, (2 * self.items, size)).copy(),
        )


@dataclass(frozen=True)
class Recite(Memorize):
    """Memorisation with answers fed back: each letter is asked for by the one before it.

    Source: Jozefowicz, Zaremba & Sutskever (2015), the filter as it was measured: while a letter
        is predicted, the right one before it is the input (teacher forcing; from memory, the paper
        could not be read).
    Reading: a blank asks for the first letter. Gated cells learn it several times sooner than
        `memorize`.
    """

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        batch = super().sample(rng, size)
        x = batch.x.copy()
        x[self.items + 1 :] = x[: self.items - 1]
        return replace(batch, x=x)
