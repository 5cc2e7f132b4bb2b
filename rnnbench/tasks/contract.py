"""What a task is: batches for a seed, scores for predictions, the score of a predictor without
memory, and what counts as solved.

A task is a frozen dataclass whose fields are its settings (`task.length=100`), found through the
`type` of its YAML in `configs/task/`. It knows nothing of cells, engines or replicas: it makes
batches for one seed; the engine stacks K of them, and hands predictions with that leading axis K to
`score`.

Axes: K replicas   T time steps   B sequences   I input width   C output width.
"""

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rnnbench.draw import Draw
from rnnbench.errors import UserError

Split = Literal["valid", "test"]
# metric → (sum_K, count_K); sums over batches divide to the mean
Scores = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Batch:
    """Sequences of one seed, time first.

    x: (T, B, I) float32, or (T, B) int64 where inputs are symbols.
    y: targets: int64 classes or float32 vectors; (B, …) if `last`, else (T, B, …).
    mask: (T, B) bool, the predictions that count; None means all of them. Padding is masked.
    last: predictions are read at the last step only, so that there is nothing to mask;
        `lengths.read_at_end` makes a batch of sequences that end at different steps.
    carry: the sequences continue those of the batch before, so the state does too.
    """

    x: np.ndarray
    y: np.ndarray
    mask: np.ndarray | None = None
    last: bool = False
    carry: bool = False

    def __post_init__(self) -> None:
        if self.last and self.mask is not None:
            raise UserError(
                "a batch with last=True has no mask, for every sequence is read at its last step;"
                " where sequences end at different steps, make it with"
                " rnnbench.tasks.lengths.read_at_end"
            )

    def part(self, start: int, stop: int) -> "Batch":
        """The sequences from `start` to `stop`."""
        chosen = slice(start, stop)
        y = self.y[chosen] if self.last else self.y[:, chosen]
        return replace(
            self, x=self.x[:, chosen], y=y, mask=None if self.mask is None else self.mask[:, chosen]
        )


def stacked(batches: Sequence[Batch]) -> Batch:
    """Batches along a first axis K, padded to the longest; what one batch masks is no other's.

    Raises UserError where they are read at the last step and their last steps are not the same.
    """
    first, lengths = batches[0], {len(b.x) for b in batches}
    if first.last and len(lengths) > 1:
        raise UserError(
            f"batches with last=True have {min(lengths)} to {max(lengths)} steps, and runs that"
            " train together need equally many; where sequences end at different steps, make a"
            " batch with rnnbench.tasks.lengths.read_at_end, or train one run at a time with pack=1"
        )
    masks = None
    if not first.last and (len(lengths) > 1 or any(b.mask is not None for b in batches)):
        masks = [np.ones(b.y.shape[:2], bool) if b.mask is None else b.mask for b in batches]
    x, targets = _padded([b.x for b in batches]), [b.y for b in batches]
    y = np.stack(targets) if first.last else _padded(targets)
    return replace(first, x=x, y=y, mask=None if masks is None else _padded(masks))


def _padded(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """(K, T, …) from K arrays (at most T, …), zeros at their ends."""
    longest = max(len(array) for array in arrays)
    if all(len(array) == longest for array in arrays):
        return np.stack(arrays) if len(arrays) > 1 else arrays[0][None]
    whole = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(whole, arrays, strict=True):
        row[: len(array)] = array
    return whole


@dataclass(frozen=True)
class Task:
    """Base of every task. Subclasses add settings as fields and say the rest in class attributes
    and properties.

    `inputs` is the input width I, or the number of symbols if `symbols`; `outputs` the number of
    classes or values. `metric` is the primary metric and `goal` its direction. `baseline` maps
    every metric to what the best predictor without memory scores on the test data (but for metrics
    of which nobody can say; never the primary one); `horizon` is the longest lag that matters, in
    steps (chrono initialisation's T_max), or None. `target` is the primary score that counts as
    solved; None: nothing does.
    """

    target: float | None = None

    loss: ClassVar[Literal["mse", "cross_entropy", "bernoulli"]]
    metric: ClassVar[str]
    goal: ClassVar[Literal["min", "max"]]
    symbols: ClassVar[bool] = False
    per_seed: ClassVar[bool] = True  # whether evaluation data differ between seeds

    @property
    def inputs(self) -> int:
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        raise NotImplementedError

    @property
    def baseline(self) -> dict[str, float]:
        raise NotImplementedError

    @property
    def horizon(self) -> int | None:
        return None

    @property
    def going_on(self) -> int | None:
        """Steps of a window, where sequences go on from window to window (`Batch.carry`)."""
        return None

    @property
    def stops(self) -> tuple[int, ...]:
        """The symbols that end a sentence, where the task is made of sentences."""
        return ()

    @property
    def threshold(self) -> float | None:
        """The primary score that counts as solved; `target`, where a task has no other use for that
        word.
        """
        return self.target

    @property
    def remark(self) -> str:
        """What its user may not expect of the data, in a sentence; empty: nothing."""
        return ""

    def fetch(self, name: str) -> Path:
        """A data file, by its name in the catalogue (`rnnbench data list`); `bound` says how."""
        raise LookupError(f"{name}: this task is not bound to a source of data")

    def bound(self, fetch: Callable[[str], Path]) -> "Task":
        """This task, able to reach its data files through `fetch(name) -> Path`."""
        # equal settings may share one object; its data belong to whoever bound it
        task = copy(self)
        object.__setattr__(task, "fetch", fetch)
        return task

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        """The training batch of `size` sequences at `step`: a pure function of its arguments."""
        raise NotImplementedError

    def together(self, draws: Sequence[Draw], step: int, size: int) -> Batch:
        """What `batch` says to every one of these, stacked along a first axis and padded to the
        longest: where data lie ready, a task can do it faster.
        """
        return stacked([self.batch(draw, step, size) for draw in draws])

    def epoch(self, size: int) -> int | None:
        """How many batches of `size` sequences are one pass over the training data; None: these
        are drawn without end.
        """
        return None

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        """The whole validation or test set in batches of at most `size` sequences."""
        raise NotImplementedError

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        """Every metric as (sum_K, count_K).

        prediction: (K, B, C) or (K, T, B, C); y and mask: with leading K. Here: the loss under the
        metric's name; for classes the accuracy too, and then the loss is called nats if the metric
        is the accuracy.
        """
        loss = summed(pointwise_loss(self.loss, prediction, y), mask)
        return self._named(loss, prediction, y, mask)

    def scores(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        """What `score` says, and the loss under its own name."""
        loss = summed(pointwise_loss(self.loss, prediction, y), mask)
        if type(self).score is Task.score:  # the loss is all that it needs: once is enough
            return self._named(loss, prediction, y, mask) | {"loss": loss}
        return self.score(prediction, y, mask) | {"loss": loss}

    def _named(
        self, loss: tuple[Tensor, Tensor], prediction: Tensor, y: Tensor, mask: Tensor | None
    ) -> Scores:
        if self.loss != "cross_entropy":
            return {self.metric: loss}
        right = summed(hits(prediction, y), mask)
        return {"accuracy": right, "nats" if self.metric == "accuracy" else self.metric: loss}


@dataclass(frozen=True)
class Generated(Task):
    """A synthetic task: `sample(rng, size)` draws fresh sequences; validation and test have streams
    of their own.
    """

    valid_size: int = 1000
    test_size: int = 2000

    def __post_init__(self) -> None:
        at_least(1, valid_size=self.valid_size, test_size=self.test_size)

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        raise NotImplementedError

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        return self.sample(draw("train", step), size)

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        total = self.valid_size if split == "valid" else self.test_size
        # at once, so that the set does not depend on the size of its batches
        whole = self.sample(draw(split), total)
        for start in range(0, total, size):
            yield whole.part(start, start + size)


def pointwise_loss(kind: str, prediction: Tensor, y: Tensor) -> Tensor:
    """The loss of every prediction: prediction's shape without its last axis.

    Nats; bernoulli sums over outputs.
    """
    if kind == "mse":
        return (prediction - y).square().mean(-1)
    if kind == "bernoulli":
        return F.binary_cross_entropy_with_logits(prediction, y, reduction="none").sum(-1)
    return F.cross_entropy(prediction.flatten(0, -2), y.flatten(), reduction="none").view(y.shape)


def hits(prediction: Tensor, y: Tensor) -> Tensor:
    """1 where the most probable class is the right one, else 0."""
    return (prediction.argmax(-1) == y).float()


def flawless(right: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(sum_K, count_K) of the sequences in which nothing that counts is wrong.

    right: (K, T, B) of 0 and 1.
    """
    passed = right > 0 if mask is None else (right > 0) | ~mask
    return summed(passed.all(1).float(), None)


def score_answers(loss: str, prediction: Tensor, y: Tensor, mask: Tensor | None) -> "Scores":
    """Of answers of several symbols: accuracy of a symbol, share of sequences without a mistake,
    nats a symbol.

    prediction: (K, T, B, C). y: (K, T, B). mask: (K, T, B), what is an answer.
    """
    assert mask is not None
    right = hits(prediction, y)
    return {
        "accuracy": summed(right, mask),
        "exact": flawless(right, mask),
        "nats": summed(pointwise_loss(loss, prediction, y), mask),
    }


def summed(values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """(sum_K, count_K) over the positions that count."""
    if mask is None:
        return values.flatten(1).sum(1), torch.full(
            (len(values),), values[0].numel(), device=values.device
        )
    return torch.where(mask, values, 0).flatten(1).sum(1), mask.flatten(1).sum(1)


def at_least(least: float, **settings: float) -> None:
    """Refuse settings below `least`, by name."""
    for name, value in settings.items():
        if value < least:
            raise UserError(f"task.{name} must be at least {least}, got {value}")
