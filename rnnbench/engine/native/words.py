"""What compiled functions are called with: numbers of 64 bits, some of them addresses."""

import ctypes
from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

Numbers = ctypes.Array[ctypes.c_int64]
Word = int | Tensor | Numbers | None  # None: the address of nothing


def fields(words: Sequence[Word]) -> Numbers:
    """One call's."""
    return (ctypes.c_int64 * len(words))(*map(_number, words))


class WordTable:
    """The same words for one portion of the replicas after the other, a row each.

    A tensor with more rows than a portion has replicas is one of all replicas, of which every
    portion gets its own; the others serve all portions. changing: what later calls replace by
    other tensors of the same shapes. counted: where the number of replicas stands.

    Axes: n portions   F words.
    """

    def __init__(
        self,
        words: Sequence[Word],
        replicas: int,
        portion: int,
        changing: Sequence[Tensor],
        counted: Sequence[int],
    ) -> None:
        n = -(-replicas // portion)
        self.portion, self.counted = portion, list(counted)
        self.left = replicas - (n - 1) * portion  # in the last portion
        self.base_F = np.array([_number(word) for word in words], np.int64)
        steps_F = np.array([self._step(word) for word in words], np.int64)
        self.steps_nF = np.arange(n)[:, None] * steps_F
        which = {id(tensor): i for i, tensor in enumerate(changing)}
        found = [(place, which[id(w)]) for place, w in enumerate(words) if id(w) in which]
        self.places = np.array([place for place, _ in found], np.int64)
        self.chosen = [i for _, i in found]

    def _step(self, word: Word) -> int:
        """Bytes from what a portion gets to what the next one gets."""
        if not isinstance(word, Tensor) or len(word) <= self.portion:
            return 0
        return self.portion * word.stride(0) * word.element_size()

    def __call__(self, changed: Sequence[Tensor]) -> np.ndarray:
        """(n, F), with other tensors in the places of those that change."""
        self.base_F[self.places] = [changed[i].data_ptr() for i in self.chosen]
        table_nF = self.base_F + self.steps_nF
        if self.left < self.portion:
            table_nF[-1, self.counted] = self.left
        return table_nF


class Memory:
    """One piece of memory for all that lives no longer than a portion, of whatever sizes."""

    ALIGNED = 64  # bytes

    def __init__(self, like: Tensor) -> None:
        self.whole = like.new_empty(0)

    def divided(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Tensors of these shapes, each from a multiple of 64 bytes on; what they hold is left from
        whatever was there.
        """
        lanes = self.ALIGNED // self.whole.element_size()
        starts, used = {}, 0
        for name, shape in shapes.items():
            starts[name] = used
            used += -(-int(np.prod(shape)) // lanes) * lanes
        if used > len(self.whole):
            self.whole = self.whole.new_empty(used + lanes)
        first = -self.whole.data_ptr() % self.ALIGNED // self.whole.element_size()
        return {
            name: self.whole[first + start :][: int(np.prod(shapes[name]))].view(shapes[name])
            for name, start in starts.items()
        }


def _number(word: Word) -> int:
    if word is None:
        return 0
    if isinstance(word, Tensor):
        return word.data_ptr()
    return word if isinstance(word, int) else ctypes.addressof(word)
