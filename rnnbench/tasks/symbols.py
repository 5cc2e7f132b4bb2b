"""What tasks over symbols share: texts as batches in which every character is read and the next one
predicted.
"""

from collections.abc import Sequence

import numpy as np

from rnnbench.tasks.contract import Batch


def encode(texts: Sequence[str], alphabet: str, width: int) -> np.ndarray:
    """The place of every character in `alphabet`: (width, B) int64, filled up with zeros."""
    place = np.zeros(128, np.int64)
    place[list(alphabet.encode("ascii"))] = np.arange(len(alphabet))
    characters = "".join(text.ljust(width, alphabet[0]) for text in texts)
    return np.ascontiguousarray(
        place[np.frombuffer(characters.encode("ascii"), np.uint8)].reshape(-1, width).T
    )


def next_characters(
    texts: Sequence[str], alphabet: str, steps: int, known: Sequence[int] | int = 1
) -> Batch:
    """Teacher forcing: step t reads character t and predicts character t + 1.

    Each text has at most steps + 1 characters. Its first `known` ones are given; all others count.
    Targets that do not count are 0, so that they are classes whatever the outputs are.
    """
    ids = encode(texts, alphabet, steps + 1)
    target = np.arange(1, steps + 1)[:, None]
    mask = (target >= np.asarray(known)) & (target < np.array([len(text) for text in texts]))
    return Batch(x=ids[:-1], y=np.where(mask, ids[1:], 0), mask=mask)


def random_letters(rng: np.random.Generator, words: int, length: int) -> list[str]:
    """`words` strings of `length` lowercase letters."""
    letters = (
        rng.integers(ord("a"), ord("z") + 1, words * length, np.uint8).tobytes().decode("ascii")
    )
    return [letters[k * length : (k + 1) * length] for k in range(words)]
