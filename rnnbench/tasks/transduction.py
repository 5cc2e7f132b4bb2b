"""Strings written anew once they are read: reversed, or twice."""

from dataclasses import dataclass
from math import log

import numpy as np
from torch import Tensor

from rnnbench.tasks.contract import Batch, Scores, score_answers
from rnnbench.tasks.lengths import Varied

BLANK = 2


@dataclass(frozen=True)
class Rewriting(Varied):
    """Base of tasks that read `length` bits, then write as many as `rewrite` makes of them.

    A blank asks for each bit of the answer; bits that were written are not fed back.
    """

    target: float | None = 0.99
    length: int = 40

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True
    inputs = 3
    outputs = 2
    times = 1  # how much longer the answer is

    @property
    def horizon(self) -> int:
        return (1 + self.times) * self.length

    @property
    def baseline(self) -> dict[str, float]:
        return {"accuracy": 0.5, "exact": 0.5**self.length, "nats": log(2)}

    def rewrite(self, word: np.ndarray) -> np.ndarray:
        """The answer to words (T, B)."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        word = rng.integers(0, 2, (self.length, size))
        answer = self.rewrite(word)
        mask = np.zeros((len(word) + len(answer), size), bool)
        mask[len(word) :] = True
        return Batch(
            x=np.concatenate([word, np.full_like(answer, BLANK)]),
            y=np.concatenate([np.zeros_like(word), answer]),
            mask=mask,
        )

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        return score_answers(self.loss, prediction, y, mask)


@dataclass(frozen=True)
class Reverse(Rewriting):
    """Read a string of bits, write it backwards. A stack does it.

    `exact` is the share of strings without a mistake.

    Source: Delétang et al. (2023), Neural networks and the Chomsky hierarchy (reverse string).
    Reading: trained on lengths of 1 to `length`, tested at `length`.
    """

    def rewrite(self, word: np.ndarray) -> np.ndarray:
        return word[::-1]


@dataclass(frozen=True)
class Duplicate(Rewriting):
    """Read a string of bits, write it twice. A stack does not do it.

    `exact` is the share of strings without a mistake.

    Source: Delétang et al. (2023), Neural networks and the Chomsky hierarchy (duplicate string).
    Reading: trained on lengths of 1 to `length`, tested at `length`.
    """

    times = 2

    def rewrite(self, word: np.ndarray) -> np.ndarray:
        return np.concatenate([word, word])
