"""State tracking: a small state is moved by every symbol, and its place is asked for at the end.

Regular languages of the Chomsky hierarchy and the word problems of groups.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from math import log
from typing import ClassVar

import numpy as np
from scipy.special import entr
from torch import Tensor

from rnnbench.errors import unknown
from rnnbench.tasks.contract import Batch, Scores, flawless, hits, pointwise_loss, summed
from rnnbench.tasks.lengths import Varied

MODULUS = 5
PLUS, MINUS, TIMES = range(MODULUS, MODULUS + 3)


@dataclass(frozen=True)
class Tracking(Varied):
    """Base of tasks that read a string of `length` symbols and name the state it ends in."""

    target: float | None = 0.99
    length: int = 40

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True

    @property
    def horizon(self) -> int:
        return self.length

    @property
    def joint(self) -> np.ndarray:
        """(symbols, outputs): the probability of each last symbol together with each answer."""
        raise NotImplementedError

    @cached_property
    def baseline(self) -> dict[str, float]:
        """The last symbol and the length are known, what came before is not."""
        joint = self.joint
        nats = entr(joint).sum() - entr(joint.sum(1)).sum()
        return {"accuracy": float(joint.max(1).sum()), "nats": max(float(nats), 0.0)}


@dataclass(frozen=True)
class Cycle(Tracking):
    """Where a walk on a circle of five places ends: steps forth, back, or none.

    The symbols 0, 1, 2 move by -1, 0, 1; the answer is the sum of the moves modulo 5.

    Source: Delétang et al. (2023), Neural networks and the Chomsky hierarchy (cycle navigation).
    Reading: trained on lengths of 1 to `length`, tested at `length`. The answer is read at the last
        symbol; the paper asks for it with one more, empty symbol.
    """

    moves: ClassVar[tuple[int, ...]] = (-1, 0, 1)
    outputs = 5

    @property
    def inputs(self) -> int:
        return len(self.moves)

    @property
    def joint(self) -> np.ndarray:
        step = np.zeros((self.outputs, self.outputs))
        for move in self.moves:
            step += np.roll(np.eye(self.outputs), move, 1) / len(self.moves)
        before = np.linalg.matrix_power(step, self.length - 1)[0]
        return np.stack([np.roll(before, move) for move in self.moves]) / len(self.moves)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        x = rng.integers(0, self.inputs, (self.length, size))
        return Batch(x, np.array(self.moves)[x].sum(0) % self.outputs, last=True)


@dataclass(frozen=True)
class Parity(Cycle):
    """Whether a string of bits holds an odd number of ones.

    Source: Delétang et al. (2023), Neural networks and the Chomsky hierarchy (parity check).
    Reading: trained on lengths of 1 to `length`, tested at `length`. The answer is read at the last
        bit; the paper asks for it with one more, empty symbol.
    """

    moves = (0, 1)
    outputs = 2


@dataclass(frozen=True)
class EvenPairs(Tracking):
    """Whether a string of bits changes an odd number of times between 0 and 1.

    The number of pairs 01 and 10 is even just where the first bit equals the last.

    Source: Delétang et al. (2023), Neural networks and the Chomsky hierarchy (even pairs).
    Reading: trained on lengths of 1 to `length`, tested at `length`. The answer is read at the last
        bit; the paper asks for it with one more, empty symbol.
    """

    inputs = 2
    outputs = 2

    @property
    def joint(self) -> np.ndarray:
        return np.array([[0.5, 0], [0.5, 0]]) if self.length == 1 else np.full((2, 2), 0.25)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        x = rng.integers(0, 2, (self.length, size))
        return Batch(x, (x[1:] != x[:-1]).sum(0) % 2, last=True)


@dataclass(frozen=True)
class Modular(Tracking):
    """The value of a sum such as `3 + 4 * 2 - 1`, modulo 5; products come first.

    Symbols are the digits 0 to 4, then plus, minus and times, digits and operators in turn.

    Source: Delétang et al. (2023), Neural networks and the Chomsky hierarchy (modular arithmetic
        without brackets).
    Reading: trained on lengths of 1 to `length`, tested at `length`; an expression has an odd
        number of symbols, one fewer where the length is even. The answer is read at the last
        digit; the paper asks for it with one more, empty symbol.
    """

    inputs = MODULUS + 3
    outputs = MODULUS

    @property
    def numbers(self) -> int:
        return max(self.length + 1, 2) // 2

    @property
    def joint(self) -> np.ndarray:
        """By the distribution over (sum of finished terms, product at hand), digit by digit."""
        last = np.zeros((MODULUS, MODULUS, MODULUS))  # last digit, sum, product
        digits = np.arange(MODULUS)
        last[digits, 0, digits] = 1 / MODULUS
        for _ in range(self.numbers - 1):
            before, last = last.sum(0), np.zeros_like(last)
            for total, product in np.ndindex(before.shape):
                share = before[total, product] / (3 * MODULUS)
                last[digits, (total + product) % MODULUS, digits] += share
                last[digits, (total + product) % MODULUS, -digits % MODULUS] += share
                last[digits, total, product * digits % MODULUS] += share
        joint = np.zeros((MODULUS, MODULUS))
        for total, product in np.ndindex(MODULUS, MODULUS):
            joint[:, (total + product) % MODULUS] += last[:, total, product]
        return joint

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        x = np.empty((2 * self.numbers - 1, size), np.int64)
        x[::2] = rng.integers(0, MODULUS, (self.numbers, size))
        x[1::2] = rng.integers(PLUS, TIMES, (self.numbers - 1, size), endpoint=True)
        total, product = np.zeros(size, np.int64), x[0]
        for operator, digit in zip(x[1::2], x[2::2], strict=True):
            times = operator == TIMES
            term = np.where(operator == MINUS, -digit, digit)
            total = np.where(times, total, total + product)
            product = np.where(times, product * digit % MODULUS, term)
        return Batch(x, (total + product) % MODULUS, last=True)


@dataclass(frozen=True)
class Groups(Varied):
    """The word problem of a group: after every element, the product of all elements so far.

    group: S3, S5 (all permutations of 3 and 5 things), A5 (the even ones of 5) or Z60 (addition
        modulo 60). S5 and A5 are not solvable.

    `exact` is the share of strings without a mistake, `end` the accuracy at the last element.

    Source: Merrill, Petty & Sabharwal (2024), The illusion of state in state-space models.
    Reading: elements are uniform over the group, permutations numbered in lexicographic order;
        `ab` is a first, then b. Trained on lengths of 1 to `length`, tested at `length`.
    """

    target: float | None = 0.99
    length: int = 40
    group: str = "S5"

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group not in GROUPS:
            raise unknown("value for task.group:", self.group, GROUPS)

    @property
    def inputs(self) -> int:
        return len(products(self.group))

    @property
    def outputs(self) -> int:
        return self.inputs

    @property
    def horizon(self) -> int:
        return self.length

    @property
    def baseline(self) -> dict[str, float]:
        """The first product is the element itself; all others are uniform whatever is read."""
        chance, later = 1 / self.inputs, self.length - 1
        return {
            "accuracy": (1 + later * chance) / self.length,
            "end": chance if later else 1.0,
            "exact": chance**later,
            "nats": later * log(self.inputs) / self.length,
        }

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        x = rng.integers(0, self.inputs, (self.length, size))
        return Batch(x, running_products(products(self.group), x))

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        right = hits(prediction, y)
        return {
            "accuracy": summed(right, mask),
            "end": summed(right[:, -1], None),
            "exact": flawless(right, mask),
            "nats": summed(pointwise_loss(self.loss, prediction, y), mask),
        }


GROUPS = ("S3", "S5", "A5", "Z60")


@lru_cache
def products(group: str) -> np.ndarray:
    """The multiplication table of a group: entry (a, b) is a first, then b."""
    kind, number = group[0], int(group[1:])
    if kind == "Z":
        return np.add.outer(np.arange(number), np.arange(number)) % number
    elements = np.array([p for p in permutations(range(number)) if kind == "S" or is_even(p)])
    each = np.arange(len(elements))
    composed = elements[each[None, :, None], elements[:, None, :]]
    place = number ** np.arange(number)[::-1]  # lexicographic order is the order of these numbers
    table: np.ndarray = np.searchsorted(elements @ place, composed @ place)
    return table


def is_even(permutation: tuple[int, ...]) -> bool:
    """Whether an even number of pairs stands in descending order."""
    descents = sum(a > b for k, b in enumerate(permutation) for a in permutation[:k])
    return descents % 2 == 0


def running_products(table: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The products of the first 1, 2, … T elements of every string, (T, B), in log₂ T rounds.

    After the round with a given gap, entry t is the product of the 2·gap elements that end at t.
    """
    product, gap = x.copy(), 1
    while gap < len(x):
        product[gap:] = table[product[:-gap], product[gap:]]
        gap *= 2
    return product
