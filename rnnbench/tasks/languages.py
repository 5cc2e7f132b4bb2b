"""Languages that need counting or a stack: what may come next in aⁿbⁿ and in nested brackets."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import ClassVar

import numpy as np
from scipy.special import entr
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.tasks.contract import (
    Batch,
    Scores,
    Split,
    Task,
    at_least,
    flawless,
    pointwise_loss,
    score_answers,
    summed,
)
from rnnbench.tasks.lengths import Varied


@dataclass(frozen=True)
class AnBn(Task):
    """Words of n letters a, then n letters b: count, and count down.

    With three or four `letters`, n letters c follow, and n letters d. From the first b on every
    next letter is certain, and so is the end of the word; that part is scored. `exact` is the share
    of the n, from 1 to as many as `length` letters allow, whose word is predicted without a
    mistake.

    Source: Gers & Schmidhuber (2001), LSTM recurrent networks learn simple context-free and
        context-sensitive languages; Joulin & Mikolov (2015), Inferring algorithmic patterns with
        stack-augmented recurrent nets.
    Reading: every sequence of a training batch has an n of its own, uniform from 1. A language with
        one word for each n leaves nothing to draw for evaluation: validation and test are each word
        once, so that validation shows what was trained on and `rnnbench eval RUN_DIR
        task.length=120` what was not. The papers train on the letters before the first b too.
    """

    target: float | None = 1.0
    length: int = 40
    letters: int = 2

    loss = "cross_entropy"
    metric = "exact"
    goal = "max"
    symbols = True
    per_seed = False

    def __post_init__(self) -> None:
        at_least(2, letters=self.letters)
        if self.length < self.letters:
            raise UserError(
                f"task.length must be at least task.letters={self.letters}, got {self.length}"
            )

    @property
    def inputs(self) -> int:
        return self.letters

    @property
    def outputs(self) -> int:
        """The letters, and the end."""
        return self.letters + 1

    @property
    def largest(self) -> int:
        return self.length // self.letters

    @property
    def horizon(self) -> int:
        return self.length

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        return self.words(draw("train", step).integers(1, self.largest, size, endpoint=True))

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        for start in range(1, self.largest + 1, size):
            yield self.words(np.arange(start, min(start + size, self.largest + 1)))

    def words(self, n: np.ndarray) -> Batch:
        """The words with each of `n`, (T, B), padded with a's that the mask leaves out."""
        step = np.arange(self.largest * self.letters)[:, None]
        letter = np.minimum(step // n, self.letters)
        y = np.minimum((step + 1) // n, self.letters)
        inside = letter < self.letters
        return Batch(np.where(inside, letter, 0), np.where(inside, y, 0), inside & (step >= n))

    @cached_property
    def baseline(self) -> dict[str, float]:
        """The step and the letter are known.

        One guess at a step cannot suit two words of which one is less than twice as long as the
        other: the first would end too soon in the second. So 1, 2, 4, 8, … are all that fit.
        """
        batch = self.words(np.arange(1, self.largest + 1))
        assert batch.mask is not None
        step, _ = np.nonzero(batch.mask)
        x, y = batch.x[batch.mask], batch.y[batch.mask]
        count = np.zeros((len(batch.x), self.letters, self.outputs))
        np.add.at(count, (step, x, y), 1)
        nats = entr(count).sum() - entr(count.sum(-1)).sum()
        return {
            "accuracy": float(count.max(-1).sum() / count.sum()),
            "exact": (int(log2(self.largest)) + 1) / self.largest,
            "nats": float(nats / count.sum()),
        }

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        return score_answers(self.loss, prediction, y, mask)


@dataclass(frozen=True)
class Dyck(Varied):
    """Balanced brackets of several kinds: after each, which brackets may come next.

    Every opening bracket may; the closing bracket of the last one that is open may. `accuracy` is
    the share of steps at which the whole set is right, `exact` the share of strings in which every
    set is.

    Source: Suzgun, Gehrmann, Belinkov & Shieber (2019), Memory-augmented recurrent neural networks
        can learn generalized Dyck languages.
    Reading: strings are uniform among the balanced ones of their length, which is one less where it
        is odd; the paper draws from a grammar. Trained on lengths of 2 to `length`, tested at
        `length`. `exact` has no memoryless value here: it is that of the best of 2^length tables.
    """

    target: float | None = 0.99
    length: int = 40
    kinds: int = 2

    loss = "bernoulli"
    metric = "accuracy"
    goal = "max"
    symbols = True
    sizes: ClassVar = {"length": 2}

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, kinds=self.kinds)

    @property
    def inputs(self) -> int:
        """Opening brackets, then closing ones."""
        return 2 * self.kinds

    @property
    def outputs(self) -> int:
        return 2 * self.kinds

    @property
    def pairs(self) -> int:
        return self.length // 2

    @property
    def horizon(self) -> int:
        return self.length

    @cached_property
    def baseline(self) -> dict[str, float]:
        """After an opening bracket the set is known; after a closing one how probable it is, at
        that step, that nothing is open any more. Kinds are alike.
        """
        depth = np.arange(self.pairs + 1)
        share = np.eye(1, self.pairs + 1)[0]  # of the strings, by how many brackets are open
        right = nats = 0.0
        for left in range(2 * self.pairs, 0, -1):
            closing = share * depth * (left + depth + 2) / (2 * left * (depth + 1))
            opening = share - closing
            share = np.append(closing[1:], 0) + np.append(0, opening[:-1])
            closed, empty = closing.sum(), closing[1]
            right += opening.sum() + max(empty, (closed - empty) / self.kinds)
            if closed:
                each = (1 - empty / closed) / self.kinds
                nats += closed * self.kinds * (entr(each) + entr(1 - each))
        steps = 2 * self.pairs
        return {"accuracy": float(right / steps), "nats": float(nats / steps)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        opens = balanced(rng, size, self.pairs)
        change = np.where(opens, 1, -1)
        depth = change.cumsum(1)
        level = np.where(opens, depth, depth + 1)  # a bracket and its partner have the same
        steps = opens.shape[1]
        order = np.argsort(level, axis=1, kind="stable")  # there partners stand side by side
        kind = np.empty((size, steps), np.int64)
        drawn = rng.integers(0, self.kinds, (size, self.pairs))
        np.put_along_axis(kind, order, np.repeat(drawn, 2, axis=1), axis=1)
        # The innermost open bracket is the last one that was opened at the present depth.
        base = np.arange(size)[:, None] * (self.pairs + 1)
        place = np.arange(steps)
        opened = np.sort(((base + level) * steps + place)[opens])
        asked = (base + depth) * steps + place
        innermost = opened[np.searchsorted(opened, asked, side="right") - 1] % steps
        top = np.take_along_axis(kind, innermost, axis=1)
        y = np.zeros((steps, size, self.outputs), np.float32)
        y[..., : self.kinds] = 1
        row, step = np.nonzero(depth)
        y[step, row, self.kinds + top[row, step]] = 1
        return Batch(np.ascontiguousarray(np.where(opens, kind, self.kinds + kind).T), y)

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        right = ((prediction > 0) == (y > 0.5)).all(-1).float()
        return {
            "accuracy": summed(right, mask),
            "exact": flawless(right, mask),
            "nats": summed(pointwise_loss(self.loss, prediction, y), mask),
        }


def balanced(rng: np.random.Generator, size: int, pairs: int) -> np.ndarray:
    """Uniform balanced strings, (size, 2·pairs), True where a bracket opens.

    By the cycle lemma: of the rotations of `pairs` openings and one more closing, just one reaches
    -1 at its end only, and that is a balanced string with the closing after it.
    """
    change = rng.permuted(np.tile([1] * pairs + [-1] * (pairs + 1), (size, 1)), axis=1)
    start = change.cumsum(1).argmin(1) + 1  # after the first of the lowest points
    turned = (start[:, None] + np.arange(2 * pairs)) % (2 * pairs + 1)
    rotated: np.ndarray = np.take_along_axis(change, turned, axis=1) > 0
    return rotated
