"""Polyphonic music: predict which of 88 piano keys sound in the next frame."""

import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from rnnbench.draw import Draw
from rnnbench.errors import UserError, unknown
from rnnbench.tasks.contract import Batch, Split, Task, at_least

FILES = {
    "jsb": "polyphonic/JSB_Chorales.mat",
    "nottingham": "polyphonic/Nottingham.mat",
    "piano": "polyphonic/Piano_midi.mat",
    "muse": "polyphonic/MuseData.mat",
}
KEYS = 88
FEW = 6  # sequences side by side: fewer waste more than their padding would
STRATUM = 2  # so many batches' worth of sequences, neighbours in length, are shuffled together


@dataclass(frozen=True)
class Chorales(Task):
    """Piano-rolls of 88 keys: each frame is predicted from those before it; keys are independent
    given the state.

    dataset: jsb (chorales by J. S. Bach), nottingham (folk tunes), piano (Piano-midi.de),
        muse (MuseData: orchestral and chamber music).
    max_length: longer training sequences are cut into nearly equal pieces of at most so many
        transitions, each begun without its past; null cuts none. 200 leaves every chorale whole.
        Evaluation never cuts: it reads windows of this length, to save memory, and carries the
        state from each to the next.

    Source: Boulanger-Lewandowski, Bengio, Vincent (2012), Modeling temporal dependencies in
        high-dimensional sequences; chorales in the split of Allan and Williams (2005).
    Reading: nll is in nats per frame: cross-entropy summed over the keys and averaged over all
        frames of a split, but for the first of each sequence, which has no past. (An average of the
        sequences' averages differs a little.) A training batch takes sequences of similar length.
        Its padded length depends on step and batch size alone, not on the seed; which sequences it
        holds does depend on the seed. What does not fill a batch is left out for one pass, at
        random.
    """

    dataset: str = "jsb"
    max_length: int | None = 200

    loss = "bernoulli"
    metric = "nll"
    goal = "min"
    per_seed = False
    inputs = KEYS
    outputs = KEYS
    horizon = 60  # frames, the mean length of a JSB chorale

    def __post_init__(self) -> None:
        if self.dataset not in FILES:
            raise unknown("value for task.dataset:", self.dataset, FILES)
        if self.max_length is not None:
            at_least(1, max_length=self.max_length)

    @cached_property
    def rolls(self) -> dict[str, list[np.ndarray]]:
        """split → its sequences, uint8 (frames, 88)."""
        path: Path = self.fetch(FILES[self.dataset])
        return piano_rolls(path)

    @cached_property
    def pieces(self) -> list[np.ndarray]:
        """Training sequences, float32, cut and in ascending order of length.

        A piece begins with the last frame of the one before, so that cutting loses no transition.
        """
        pieces = []
        for roll in self.rolls["train"]:
            transitions = len(roll) - 1
            count = math.ceil(transitions / (self.max_length or transitions))
            borders = np.linspace(0, transitions, count + 1).round().astype(int)
            frames = roll.astype(np.float32)
            pieces += [frames[start : end + 1] for start, end in pairwise(borders)]
        return sorted(pieces, key=len)

    @property
    def going_on(self) -> int | None:
        return self.max_length

    def epoch(self, size: int) -> int:
        return len(self.pieces) // size

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        """x, y: (T, size, 88). A pass takes its batches in an order that is the same for
        all seeds.
        """
        both = self.together([draw], step, size)
        assert both.mask is not None
        return Batch(both.x[0], both.y[0], both.mask[0])

    def together(self, draws: Sequence[Draw], step: int, size: int) -> Batch:
        """x, y: (K, T, size, 88)."""
        count, batches = len(self.pieces), self.epoch(size)
        if batches == 0:
            raise UserError(
                f"train.batch must be at most {count}, the number of training sequences of "
                f"{self.dataset}, got {size}"
            )
        epoch, turn = divmod(step, batches)
        number = turns(epoch, batches)[turn]
        first = number - number % STRATUM
        start, end = (n * count // batches for n in (first, min(first + STRATUM, batches)))
        place = start + (number - first) * size
        chosen = [shared_out(draw, epoch, count, batches)[place : place + size] for draw in draws]
        longest = len(self.pieces[end - 1]) - 1
        return padded([[self.pieces[i] for i in own] for own in chosen], longest)

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        """Whole sequences, at most `size` of similar length side by side, in windows that carry
        the state.
        """
        for group in alike(self.rolls[split], size):
            length = len(group[-1]) - 1
            whole, window = padded([group], length), self.max_length or length
            assert whole.mask is not None
            for start in range(0, length, window):
                part = slice(start, start + window)
                x, y, mask = whole.x[0, part], whole.y[0, part], whole.mask[0, part]
                yield Batch(x, y, mask, carry=start > 0)

    @cached_property
    def baseline(self) -> dict[str, float]:
        return {"nll": self.references["frequencies"]}

    @cached_property
    def references(self) -> dict[str, float]:
        """Nats per test frame. uniform: every key at 1/2.

        frequencies: each key's in the training frames. markov: the same given whether the key
        sounded one frame before. Counts of either outcome start at 1/2.
        """
        before, after = transitions(self.rolls["train"])
        test_before, test_after = transitions(self.rolls["test"])
        given = np.stack([frequencies(after, where=before == past) for past in (0, 1)])
        return {
            "uniform": KEYS * math.log(2),
            "frequencies": surprise(frequencies(after), test_after),
            "markov": surprise(np.where(test_before, given[1], given[0]), test_after),
        }


def alike(rolls: list[np.ndarray], size: int) -> list[list[np.ndarray]]:
    """The sequences in groups of at most `size`, ascending in length: a new group begins where
    more than a tenth of the one before would be padding and it has FEW.
    """
    groups: list[list[np.ndarray]] = [[]]
    frames = 0
    for roll in sorted(rolls, key=len):
        group, frames = groups[-1], frames + len(roll)
        wasteful = len(group) >= FEW and (len(group) + 1) * len(roll) > 1.1 * frames
        if len(group) == size or wasteful:
            groups.append([])
            frames = len(roll)
        groups[-1].append(roll)
    return groups


def padded(groups: Sequence[Sequence[np.ndarray]], length: int) -> Batch:
    """Of every group inputs and the frames that follow them, (K, length, B, 88) of the same memory,
    padded with silence that the mask leaves out.
    """
    runs, size = len(groups), len(groups[0])
    frames = np.empty((runs, length + 1, size, KEYS), np.float32)
    mask = np.ones((runs, length, size), np.bool_)
    for k, group in enumerate(groups):
        for column, roll in enumerate(group):
            count = len(roll)
            frames[k, :count, column] = roll
            if count <= length:
                frames[k, count:, column] = 0
                mask[k, count - 1 :, column] = False
    return Batch(x=frames[:, :-1], y=frames[:, 1:], mask=mask)


@lru_cache(maxsize=8)
def turns(epoch: int, batches: int) -> list[int]:
    """The batches of a pass in the order in which they are taken."""
    order: list[int] = Draw(0)("schedule", epoch).permutation(batches).tolist()
    return order


@lru_cache(maxsize=2**10)  # an epoch of a large pack
def shared_out(draw: Draw, epoch: int, count: int, batches: int) -> list[int]:
    """The numbers of all pieces, stratum after stratum, at random within each: its batches take
    them in turn.
    """
    bounds = [n * count // batches for n in range(0, batches, STRATUM)]
    stratum = np.searchsorted(bounds, np.arange(count), side="right")
    order: list[int] = np.lexsort((draw("train", epoch).random(count), stratum)).tolist()
    return order


def transitions(rolls: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Every frame that has a next one, and that next one: (n, 88) each."""
    return np.concatenate([roll[:-1] for roll in rolls]), np.concatenate(
        [roll[1:] for roll in rolls]
    )


def frequencies(frames: np.ndarray, where: np.ndarray | bool = True) -> np.ndarray:
    """How often each key sounds among the frames `where` it is asked; (88,), never 0 or 1."""
    counted = np.broadcast_to(where, frames.shape)
    share: np.ndarray = ((frames * counted).sum(0) + 0.5) / (counted.sum(0) + 1)
    return share


def surprise(probability: np.ndarray, frames: np.ndarray) -> float:
    """Nats per frame of predicting each key with its probability."""
    return float(-np.log(np.where(frames, probability, 1 - probability)).sum(1).mean())


@lru_cache(maxsize=3)
def piano_rolls(path: Path) -> dict[str, list[np.ndarray]]:
    """split → sequences, from a MATLAB file of three cell arrays of (frames, 88) matrices.

    UserError, naming it, if it is not that.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        content = loadmat(path)
        rolls = {
            split: [_roll(matrix) for matrix in content[f"{split}data"].ravel()]
            for split in ("train", "valid", "test")
        }
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        MatReadError,
        zlib.error,
    ) as error:
        raise UserError(
            f"{path} is not a file of piano-rolls ({type(error).__name__}: {error}); delete it to "
            f"have it fetched again"
        ) from None
    if not all(rolls.values()):
        raise UserError(f"{path} has an empty split; delete it to have it fetched again")
    return rolls


def _roll(matrix: np.ndarray) -> np.ndarray:
    if (
        matrix.ndim != 2
        or matrix.shape[1] != KEYS
        or len(matrix) < 2
        or not np.isin(matrix, (0, 1)).all()
    ):
        raise ValueError(
            f"a sequence has shape {matrix.shape}, expected (at least 2 frames, {KEYS}) of 0 and 1"
        )
    return matrix.astype(np.uint8)
