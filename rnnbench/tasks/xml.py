"""Nested tags: predict every next character; names of closing tags are the only thing that must be
remembered.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil, log
from string import ascii_lowercase

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor

from rnnbench.tasks.contract import Batch, Generated, Scores, at_least, hits, pointwise_loss, summed
from rnnbench.tasks.symbols import next_characters, random_letters

ALPHABET = "<>/" + ascii_lowercase
OPEN, SLASH = ALPHABET.index("<"), ALPHABET.index("/")
PATIENCE = 50  # iterations after which a document only closes
NAME = (2, 10)  # letters of a tag's name


@dataclass(frozen=True)
class Xml(Generated):
    """Predict the next character of documents such as `<qa><bxe></bxe></qa>`.

    A document is made by iterations: with probability one half, or once 50 are over, the most
        recent open tag is closed, or the document ends if none is open; otherwise a tag is opened,
        its name 2 to 10 random letters. A sequence is as many whole documents, one after another,
        as go into `length` characters; the rest is padding and does not count. `closing` is the
        accuracy on the letters of closing tags.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures.
    Reading: by the rule half of all documents are empty. Those are left out, which is the same as
        always opening a tag first. Documents have 172 characters on average, half of them fewer
        than 73, the longest about 680; those longer than `length` are left out, so 700 and above
        keep all. The paper trains on the stream with unrolling 35 and carried state; here each
        sequence starts afresh, after a `>` as if a document had just ended. A document that does
        not fit into a sequence opens the next one, so that packing favours no length; only what
        overflows the last sequence of a batch is lost.
    Limits: most letters of opening tags cannot be known, so that no predictor exceeds an accuracy
        of 0.650 or falls below
        1.348 nats (both for length=700; 0.652 and 1.338 for 200). Always answering `<` scores
        0.118.
    """

    target: float | None = 0.6
    valid_size: int = 200
    test_size: int = 400
    length: int = 200

    loss = "cross_entropy"
    metric = "accuracy"
    goal = "max"
    symbols = True
    inputs = len(ALPHABET)
    outputs = len(ALPHABET)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2 * NAME[1] + 5, length=self.length)  # a tag of any name, opened and closed

    @property
    def horizon(self) -> int:
        return self.length

    @cached_property
    def baseline(self) -> dict[str, float]:
        """Shares of the characters, estimated from 300 000 of them whatever the seed; letters are
        alike.
        """
        batch = self.sample(np.random.default_rng(0), ceil(300_000 / self.length))
        characters = batch.y[batch.mask]
        share = np.bincount(characters, minlength=self.outputs) / len(characters)
        marks, letters = share[:3], share[3:].sum()
        nats = entr(marks).sum() + entr(letters) + letters * log(26)
        return {"accuracy": float(share[OPEN]), "nats": float(nats), "closing": 1 / 26}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        stream = documents(rng, self.length)
        rows: list[str] = []
        row = ""
        while len(rows) < size:
            text = next(stream)
            if len(row) + len(text) > self.length:
                rows.append(row)
                row = ""
            row += text
        return next_characters([">" + row for row in rows], ALPHABET, self.length)

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        assert mask is not None
        right = hits(prediction, y)
        return {
            "accuracy": summed(right, mask),
            "nats": summed(pointwise_loss(self.loss, prediction, y), mask),
            "closing": summed(right, mask & in_closing_tag(y)),
        }


def documents(rng: np.random.Generator, longest: int) -> Iterator[str]:
    """Documents without end, none of them empty or of more than `longest` characters: those are
    given up on the way.
    """
    choices = _choices(rng)
    while True:
        text, unclosed = "", list[str]()
        for iteration, (close, name) in enumerate(choices):
            if iteration and (close or iteration >= PATIENCE):
                if not unclosed:
                    yield text
                    break
                text += f"</{unclosed.pop()}>"
            else:
                unclosed.append(name)
                text += f"<{name}>"
            if len(text) > longest:
                break


def _choices(rng: np.random.Generator, block: int = 1024) -> Iterator[tuple[bool, str]]:
    """What each iteration may do: close, or else open a tag of this name.

    Drawn in blocks, for speed.
    """
    while True:
        close = rng.random(block) < 0.5
        long = rng.integers(NAME[0], NAME[1] + 1, block)
        letters = random_letters(rng, block, NAME[1])
        yield from zip(
            close.tolist(),
            (name[:n] for name, n in zip(letters, long.tolist(), strict=True)),
            strict=True,
        )


def in_closing_tag(y: Tensor) -> Tensor:
    """Where y, (K, T, B), is a letter of a closing tag: the last mark other than `>` was a
    slash.
    """
    step = torch.arange(y.shape[1], device=y.device)[:, None]
    slash, opened = (torch.where(y == mark, step, -1).cummax(1).values for mark in (SLASH, OPEN))
    return (slash > opened) & (y > SLASH)
