"""Arithmetic in characters: read a sum with letters strewn in, write the result digit by digit."""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from math import ceil, sqrt
from string import ascii_lowercase, digits

import numpy as np
from scipy.special import entr
from torch import Tensor

from rnnbench.errors import UserError
from rnnbench.tasks.contract import (
    Batch,
    Generated,
    Scores,
    at_least,
    flawless,
    hits,
    pointwise_loss,
    summed,
)
from rnnbench.tasks.symbols import next_characters, random_letters

ANSWER = digits + "-."
ALPHABET = ANSWER + "+=" + ascii_lowercase


@dataclass(frozen=True)
class Arithmetic(Generated):
    """Read `3e36d9-h1h39f94eeh43keg3c=`, write `-13991064.`: 3369 - 13994433 with letters that mean
    nothing.

    Two numbers of up to `digits` digits, each of either sign. After every character before `=`,
    letters follow: one more with probability `distractors` each time. The right characters of the
    answer are fed back (teacher forcing). Scored on the answer with its final `.`; `exact` is the
    share of answers without a mistake.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures; Zaremba & Sutskever (2014), Learning to execute.
    Reading: the papers leave the distributions open. The number of digits is uniform in 1…digits,
        the number uniform among those with so many digits, its sign a fair coin. The sign of the
        second number is the operator, so that adding -7 and subtracting 7 are both `-7`, and
        nothing is written `+-`. Only as many letters as the mean of the longest problem plus three
        standard deviations are strewn in, which bounds the number of steps. Outputs are the 12
        characters that occur in answers. Without memory, the best guess comes from the place in the
        answer alone; its scores are estimated once from 65 536 answers, whatever the seed.
    """

    target: float | None = 0.99
    digits: int = 3
    distractors: float = 0.2

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True
    inputs = len(ALPHABET)
    outputs = len(ANSWER)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, digits=self.digits)
        if self.digits > 18:
            raise UserError(
                f"task.digits must be at most 18, so that sums fit into 64 bits, got {self.digits}"
            )
        if not 0 <= self.distractors <= 0.9:
            raise UserError(
                f"task.distractors must be a probability between 0 and 0.9, got {self.distractors}"
            )

    @property
    def places(self) -> int:
        """Characters before `=` in the longest problem: two numbers, two signs."""
        return 2 * self.digits + 2

    @property
    def spare(self) -> int:
        """The most letters in a problem."""
        p = self.distractors
        return ceil((self.places * p + 3 * sqrt(self.places * p)) / (1 - p))

    @property
    def steps(self) -> int:
        """Every character of the longest problem and answer but the last: `=`, a sign, and one
        digit more than the numbers have.
        """
        return self.places + self.spare + self.digits + 3

    @property
    def horizon(self) -> int:
        return self.steps

    @cached_property
    def baseline(self) -> dict[str, float]:
        first, second = self._numbers(np.random.default_rng(0), 65_536)
        answers = [f"{total}." for total in (first + second).tolist()]
        at = next_characters(["=" + answer for answer in answers], ALPHABET, self.digits + 3)
        assert at.mask is not None
        count = np.stack(
            [
                np.bincount(y[mask], minlength=self.outputs)
                for y, mask in zip(at.y, at.mask, strict=True)
            ]
        )
        reached = count.sum(1, keepdims=True)
        return {
            "accuracy": float(count.max(1).sum() / count.sum()),
            "nats": float((reached * entr(count / np.maximum(reached, 1))).sum() / count.sum()),
            "exact": max(Counter(answers).values()) / len(answers),
        }

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        first, second = self._numbers(rng, size)
        gaps = rng.geometric(1 - self.distractors, (size, self.places)) - 1
        letters = random_letters(rng, size, self.spare)
        questions, answers = [], []
        for a, b, gap, strewn in zip(
            first.tolist(), second.tolist(), gaps.tolist(), letters, strict=True
        ):
            spare = iter(strewn)
            questions.append(
                "".join(
                    c + "".join(islice(spare, g)) for c, g in zip(f"{a}{b:+}", gap, strict=False)
                )
                + "="
            )
            answers.append(f"{a + b}.")
        texts = [q + a for q, a in zip(questions, answers, strict=True)]
        return next_characters(texts, ALPHABET, self.steps, known=[len(q) for q in questions])

    def _numbers(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """(2, size) numbers: first how many digits, then which, then the sign."""
        long = rng.integers(1, self.digits + 1, (2, size))
        least = np.where(long > 1, 10 ** (long - 1), 0)
        numbers: np.ndarray = rng.integers(least, 10**long) * rng.choice([-1, 1], (2, size))
        return numbers

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        assert mask is not None
        right = hits(prediction, y)
        return {
            "accuracy": summed(right, mask),
            "nats": summed(pointwise_loss(self.loss, prediction, y), mask),
            "exact": flawless(right, mask),
        }
