"""Character language modelling: predict the next character of a text, with a state that is carried
through it.
"""

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Scores, Split, Task, at_least, pointwise_loss, summed

CORPORA = {
    "tinyshakespeare": ("tinyshakespeare/input.txt",),
    "ptb": ("ptb/ptb.train.txt", "ptb/ptb.valid.txt", "ptb/ptb.test.txt"),
    "text8": ("text8/text8.zip",),
}
SMOOTHING = 0.1  # added to every count of the n-gram references


class Corpus(NamedTuple):
    """symbols: the vocabulary, ascending; the splits: (length,) positions in it, one per
    character.
    """

    symbols: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class CharLM(Task):
    """Bits per character of a text, read in windows of truncated backpropagation through time.

    corpus: tinyshakespeare; ptb (Penn Treebank); text8; or the path of any text file in UTF-8.
    window: the characters of a training window; gradients stop at its borders, the state does not.
    end_of_sentence: how many symbols end a sentence of ptb: 1 is a newline, 2 a space and a
        newline.
    tracks: the places at which an evaluation text is entered and then read side by side. Each entry
        meets a few dozen
        characters without their past, which makes the score a little worse; tracks=1 is exact, and
        slow.

    Source: Mikolov et al. (2012), Subword language modeling with neural networks (ptb); Mahoney,
        Large text compression benchmark (text8); Karpathy (2015), char-rnn (tinyshakespeare).
    Reading: ptb characters are derived from the word files: a space between words, and a newline
        after each sentence (5,017,482 / 393,042 / 442,423 characters, 50 symbols). Many results
        count one more character per sentence (5,059,550 / 396,412 / 446,184): end_of_sentence=2.
        text8 is cut at 90 and 95 million; other texts at 90 and 95 percent. The vocabulary is that
        of the whole text, so that no evaluation character is unknown. For training, a text is a
        ring entered at a place that the seed draws, and as many tracks as the batch has sequences
        go round
        it: seeds see other windows, all in the same number of steps. The first character of a split
            is not predicted.
    """

    corpus: str = "tinyshakespeare"
    window: int = 100
    end_of_sentence: int = 1
    tracks: int = 10

    loss = "cross_entropy"
    metric = "bpc"
    goal = "min"
    symbols = True
    per_seed = False
    horizon = 8  # what Tallec and Ollivier (2018) give chrono initialisation on text8

    def __post_init__(self) -> None:
        at_least(1, window=self.window, tracks=self.tracks)
        if self.end_of_sentence not in (1, 2):
            raise UserError(f"task.end_of_sentence must be 1 or 2, got {self.end_of_sentence}")
        if self.end_of_sentence == 2 and self.corpus != "ptb":
            raise UserError(
                f"task.end_of_sentence=2 has an effect with task.corpus=ptb only, got "
                f"task.corpus={self.corpus}; remove it"
            )
        if self.corpus not in CORPORA and not Path(self.corpus).expanduser().is_file():
            raise UserError(
                f"task.corpus must be {', '.join(CORPORA)} or the path of a text file; there is "
                f"no file '{self.corpus}'"
            )

    @cached_property
    def text(self) -> Corpus:
        if self.corpus not in CORPORA:
            return plain(Path(self.corpus).expanduser())
        paths: list[Path] = [self.fetch(name) for name in CORPORA[self.corpus]]
        if self.corpus == "ptb":
            return penn_treebank(*paths, end_of_sentence=self.end_of_sentence)
        return text8(*paths) if self.corpus == "text8" else plain(*paths)

    @property
    def inputs(self) -> int:
        return len(self.text.symbols)

    @property
    def outputs(self) -> int:
        return len(self.text.symbols)

    def epoch(self, size: int) -> int:
        return len(self.text.train) // size // self.window

    @property
    def going_on(self) -> int:
        return self.window

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        """x, y: (window, size).

        A pass is as many steps as a track of length // size characters has whole windows.
        """
        ring = self.text.train
        stride = len(ring) // size
        windows = self.epoch(size)
        if windows == 0:
            raise UserError(
                f"{size} sequences of {self.window} characters do not fit into the {len(ring)} "
                f"training characters of {self.corpus}; "
                "lower train.batch or task.window"
            )
        window = step % windows
        start = draw("train").integers(len(ring)) + window * self.window
        positions = start + np.arange(self.window + 1)[:, None] + stride * np.arange(size)
        ids = ring[positions % len(ring)].astype(np.int64)
        return Batch(x=ids[:-1], y=ids[1:], carry=window > 0)

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        """x, y: (window, up to `size` tracks); every character after the first is predicted once,
        the rest is masked.
        """
        ids = getattr(self.text, split)
        predicted = len(ids) - 1
        length = math.ceil(predicted / self.tracks)
        starts = np.arange(0, predicted, length)
        for group in range(0, len(starts), size):
            for offset in range(0, length, self.window):
                within_track = offset + np.arange(self.window)[:, None]
                positions = starts[group : group + size] + within_track
                mask = (within_track < length) & (positions < predicted)
                positions = np.where(mask, positions, 0)
                x, y = ids[positions].astype(np.int64), ids[positions + 1].astype(np.int64)
                yield Batch(x=x, y=y, mask=mask, carry=offset > 0)

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        bits = pointwise_loss(self.loss, prediction, y) / math.log(2)
        correct = (prediction.argmax(-1) == y).to(bits.dtype)
        return {"bpc": summed(bits, mask), "accuracy": summed(correct, mask)}

    @cached_property
    def baseline(self) -> dict[str, float]:
        """The frequencies of the training text (every count plus SMOOTHING), and its most frequent
        character, on the test text.
        """
        counts = np.bincount(self.text.train, minlength=self.inputs)
        return {
            "bpc": self.ngram(1),
            "accuracy": float((self.text.test[1:] == counts.argmax()).mean()),
        }

    @cached_property
    def references(self) -> dict[str, float]:
        """Bits per test character of uniform guessing and of n-grams of the training text, as far
        as their tables are small.
        """
        grams = {
            name: order
            for order, name in enumerate(("unigram", "bigram", "trigram"), 1)
            if self.inputs**order <= 1e7
        }
        return {"uniform": math.log2(self.inputs)} | {
            name: self.ngram(order) for name, order in grams.items()
        }

    def ngram(self, order: int) -> float:
        """Bits per test character given the order - 1 before it: counts of the training text, each
        plus SMOOTHING.
        """

        def coded(ids: np.ndarray) -> np.ndarray:
            code = np.zeros(len(ids) - order + 1, np.int64)
            for lag in range(order):
                code = code * self.inputs + ids[lag : len(ids) - order + 1 + lag]
            return code

        counts = (
            np.bincount(coded(self.text.train), minlength=self.inputs**order).reshape(
                -1, self.inputs
            )
            + SMOOTHING
        )
        bits = -np.log2(counts / counts.sum(1, keepdims=True))
        # where the context does not use it up, the first character is left out as in evaluation
        first = max(2 - order, 0)
        return float(bits.ravel()[coded(self.text.test[first:])].mean())


def plain(path: Path) -> Corpus:
    """A text file in UTF-8, cut at 90 and 95 percent of its characters.

    UserError, naming it, if it is not that.
    """
    try:
        return _plain(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; task.corpus needs a text file"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text (byte {error.start}); convert it to UTF-8"
        ) from None


@lru_cache(maxsize=2)
def _plain(path: Path, changed: int) -> Corpus:
    content = path.read_bytes()
    length = len(content) if content.isascii() else len(content.decode())
    if length < 40:
        raise UserError(
            f"{path} has {length} characters; a text needs at least 40 to be cut in three, and "
            f"many more to be learnt from"
        )
    return cut(content, length * 9 // 10, length * 19 // 20)


@lru_cache(maxsize=2)
def penn_treebank(train: Path, valid: Path, test: Path, end_of_sentence: int) -> Corpus:
    """Characters from the word files, in which every sentence has a space on both sides and a
    newline.
    """
    end = b" \n" if end_of_sentence == 2 else b"\n"
    splits = []
    for path in (train, valid, test):
        lines = [line.split() for line in path.read_bytes().splitlines()]
        splits.append(b"".join(b" ".join(words) + end for words in lines))
    return cut(b"".join(splits), len(splits[0]), len(splits[0]) + len(splits[1]))


@lru_cache(maxsize=1)
def text8(path: Path) -> Corpus:
    """The one file of the archive; 90 and 95 percent of it are 90 and 95 million characters."""
    with zipfile.ZipFile(path) as archive:
        content = archive.read("text8")
    return cut(content, len(content) * 9 // 10, len(content) * 19 // 20)


def cut(content: bytes, valid: int, test: int) -> Corpus:
    """Number the characters of a UTF-8 text by its vocabulary, and cut it where validation and test
    begin.
    """
    ids: np.ndarray
    if content.isascii():  # a table of bytes does it, without sorting
        symbols = bytes(sorted(set(content)))
        ids = np.frombuffer(
            content.translate(bytes.maketrans(symbols, bytes(range(len(symbols))))), np.uint8
        )
        return Corpus(symbols.decode(), ids[:valid], ids[valid:test], ids[test:])
    points, ids = np.unique(
        np.frombuffer(content.decode().encode("utf-32-le"), "<u4"), return_inverse=True
    )
    return Corpus("".join(map(chr, points)), ids[:valid], ids[valid:test], ids[test:])
