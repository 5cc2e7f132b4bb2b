"""Random binary vectors that are stored and given back: the tasks of the neural Turing machine.

All of them answer after everything was read, at steps whose input is silent, with a probability for
every bit. The score is in bits a sequence, as in the paper: what it would cost to send the answers.
"""

from dataclasses import dataclass
from math import log, sqrt
from typing import ClassVar

import numpy as np
from torch import Tensor

from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Scores, at_least, pointwise_loss, summed
from rnnbench.tasks.lengths import Varied


@dataclass(frozen=True)
class Vectors(Varied):
    """Base of tasks in bits a sequence: `bits` is the cross-entropy, `wrong` the bits that are."""

    target: float | None = 0.1
    width: int = 8

    loss = "bernoulli"
    metric = "bits"
    goal = "min"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, width=self.width)

    @property
    def outputs(self) -> int:
        return self.width

    @property
    def due(self) -> int:
        """How many random bits a sequence gives back."""
        raise NotImplementedError

    @property
    def baseline(self) -> dict[str, float]:
        """Every bit of an answer is a fair coin to whoever has not stored it."""
        return {"bits": float(self.due), "wrong": self.due / 2}

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        bits = pointwise_loss(self.loss, prediction, y) / log(2)
        wrong = ((prediction > 0) != (y > 0.5)).sum(-1).to(bits.dtype)
        return {"bits": per_sequence(bits, mask), "wrong": per_sequence(wrong, mask)}


def per_sequence(values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(sum_K, count_K) of values (K, T, B) that add up along each sequence."""
    total, _ = summed(values, mask)
    return total, total.new_full(total.shape, values.shape[2])


def random_bits(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(np.float32)


def answered(read: np.ndarray, answers: np.ndarray) -> Batch:
    """Read (T, B, I), then silence while `answers` (A, B, C) are due."""
    steps, size = len(read) + len(answers), read.shape[1]
    x = np.zeros((steps, size, read.shape[2]), np.float32)
    y = np.zeros((steps, size, answers.shape[2]), np.float32)
    mask = np.zeros((steps, size), bool)
    x[: len(read)], y[len(read) :], mask[len(read) :] = read, answers, True
    return Batch(x, y, mask)


@dataclass(frozen=True)
class CopyVectors(Vectors):
    """Read random vectors of bits up to a delimiter, then give them back in order.

    Source: Graves, Wayne & Danihelka (2014), Neural Turing machines (copy).
    Reading: trained on 1 to `length` vectors, all sequences of a batch alike; tested on `length`.
        The delimiter has a channel of its own: 2·length + 1 steps. The paper trains on single
        sequences and reports bits over all lengths of training.
    """

    length: int = 20

    @property
    def inputs(self) -> int:
        return self.width + 1

    @property
    def horizon(self) -> int:
        return self.length + 1

    @property
    def due(self) -> int:
        return self.length * self.width

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        word = random_bits(rng, self.length, size, self.width)
        read = np.zeros((self.length + 1, size, self.inputs), np.float32)
        read[:-1, :, : self.width] = word
        read[-1, :, -1] = 1
        return answered(read, word)


@dataclass(frozen=True)
class RepeatCopy(Vectors):
    """Read random vectors of bits and a number, then give them back so many times, and stop.

    Source: Graves, Wayne & Danihelka (2014), Neural Turing machines (repeat copy).
    Reading: trained on 1 to `length` vectors and 1 to `repeats` repetitions, all sequences of a
        batch alike; tested on `length` and `repeats`. The number is the delimiter: it comes after
        the vectors on a channel of its own, less the mean of 1…10 and divided by their standard
        deviation, whatever `repeats` is, so that a trained network can be asked for more. After the
        last vector one more output marks the end; which step that is, is certain to whoever knows
        the lengths of the test.
    """

    length: int = 10
    repeats: int = 10

    sizes: ClassVar = {"length": 1, "repeats": 1}
    mean: ClassVar[float] = 5.5
    deviation: ClassVar[float] = sqrt(8.25)

    @property
    def inputs(self) -> int:
        return self.width + 1

    @property
    def outputs(self) -> int:
        return self.width + 1

    @property
    def horizon(self) -> int:
        """A vector is asked for as often as it is repeated; the count has to last to the end."""
        return self.length * self.repeats + 1

    @property
    def due(self) -> int:
        return self.length * self.repeats * self.width

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        word = random_bits(rng, self.length, size, self.width)
        read = np.zeros((self.length + 1, size, self.inputs), np.float32)
        read[:-1, :, : self.width] = word
        read[-1, :, -1] = (self.repeats - self.mean) / self.deviation
        answers = np.zeros((self.length * self.repeats + 1, size, self.outputs), np.float32)
        answers[:-1, :, : self.width] = np.tile(word, (self.repeats, 1, 1))
        answers[-1, :, -1] = 1
        return answered(read, answers)


@dataclass(frozen=True)
class Recall(Vectors):
    """Read a list of items, then one of them again, and give back the item that followed it.

    Source: Graves, Wayne & Danihelka (2014), Neural Turing machines (associative recall).
    Reading: an item is three vectors. A delimiter precedes each item, another stands before and
        after the item that is asked for, each on a channel of its own. Trained on 2 to `items`
        items, all sequences of a batch alike; tested on `items`.
    """

    width: int = 6
    items: int = 6

    sizes: ClassVar = {"items": 2}
    parts: ClassVar[int] = 3

    @property
    def inputs(self) -> int:
        return self.width + 2

    @property
    def horizon(self) -> int:
        return self.items * (self.parts + 1) + self.parts + 2

    @property
    def due(self) -> int:
        return self.parts * self.width

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        items = random_bits(rng, self.items, self.parts, size, self.width)
        asked, row = rng.integers(0, self.items - 1, size), np.arange(size)
        read = np.zeros((self.items + 1, self.parts + 1, size, self.inputs), np.float32)
        read[:-1, 0, :, -2] = 1
        read[:-1, 1:, :, : self.width] = items
        read[-1, 0, :, -1] = 1
        read[-1, 1:, :, : self.width] = items[asked, :, row].swapaxes(0, 1)
        end = np.zeros((1, size, self.inputs), np.float32)
        end[..., -1] = 1
        answers = items[asked + 1, :, row].swapaxes(0, 1)
        return answered(np.concatenate([read.reshape(-1, size, self.inputs), end]), answers)


@dataclass(frozen=True)
class PrioritySort(Vectors):
    """Read random vectors of bits with priorities, then give back the highest in their order.

    Source: Graves, Wayne & Danihelka (2014), Neural Turing machines (priority sort).
    Reading: priorities are uniform in [-1, 1) on a channel of their own, the highest comes first; a
        delimiter stands before the answer. The paper trains on 20 vectors and asks for 16.
    """

    target: float | None = 20
    items: int = 20
    kept: int = 16

    sizes: ClassVar = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, items=self.items, kept=self.kept)
        if self.kept > self.items:
            raise UserError(f"task.kept must be at most task.items={self.items}, got {self.kept}")

    @property
    def inputs(self) -> int:
        return self.width + 2

    @property
    def horizon(self) -> int:
        return self.items + self.kept

    @property
    def due(self) -> int:
        return self.kept * self.width

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        read = np.zeros((self.items + 1, size, self.inputs), np.float32)
        read[:-1, :, : self.width] = random_bits(rng, self.items, size, self.width)
        read[:-1, :, self.width] = rng.uniform(-1, 1, (self.items, size))
        read[-1, :, -1] = 1
        order = np.argsort(-read[:-1, :, self.width], axis=0, kind="stable")[: self.kept]
        return answered(read, read[order, np.arange(size), : self.width])
