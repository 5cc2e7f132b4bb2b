"""Sequences that are given rather than generated: from tables, arrays and archives of a user's.

A subclass reads its file into `Sequences`; here they are split, scaled, batched and scored. Which
sequences are trained on depends on `split_seed` alone, never on a run's seed; what is fitted
(scaling, classes) is fitted on training data only.

Axes: N sequences   T time steps   B batch   I input width.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.errors import UserError, unknown
from rnnbench.tasks.contract import (
    Batch,
    Scores,
    Split,
    Task,
    hits,
    pointwise_loss,
    summed,
)

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "test")
KINDS = ("classification", "regression", "forecast")
MISSING = ("refuse", "mean", "previous")
FEW = 1e-12  # a column whose standard deviation is below this is constant
LIKE_CLASSES = 20  # so many whole numbers may be the names of classes


@dataclass(frozen=True)
class Sequences:
    """What a file holds.

    x: N arrays (T, I) of float64, NaN where a value is missing. y: N arrays of labels or numbers,
    (T,), or () where a sequence has one; None for forecasts. names: of the I columns. groups: of
    each sequence, or None. given: the part of each sequence where the file says it, or None.
    where: place(n, t) → "table.csv row 12", for messages; t None: the whole sequence.
    predicted: the column of x that is forecast.
    """

    x: Sequence[np.ndarray]
    y: Sequence[np.ndarray] | None
    names: Sequence[str]
    where: Callable[[int, int | None], str]
    label: str
    groups: Sequence[object] | None = None
    given: Sequence[Part] | None = None
    predicted: int | None = None


@dataclass(frozen=True)
class Piece:
    """A stretch of a sequence: the steps from `start` to `stop`."""

    sequence: int
    start: int
    stop: int


@dataclass(frozen=True)
class Dataset(Task):
    """Base of tasks on data of the user's.

    kind: classification (accuracy, nats), regression and forecast (mse, mae and r2 in the units
        of the file), or auto: labels that are texts are classes, numbers are regressed.
    window: long sequences are cut into pieces of at most so many steps, where an answer is due at
        every step; null: not at all. ahead: a forecast is of the value so many steps later.
    valid, test: shares of the sequences (of the groups, where there are some); of a forecast, and
        of a single sequence, shares of time: the last steps are tested. split_seed: draws them.
    scale: inputs and numbers to predict get mean 0 and deviation 1 in training data; scores are
        in the units of the file.
    missing: refuse; mean: of the training data; previous: the last value that is there, before the
        first the mean. A missing label is always refused.

    The memoryless baseline is the training data's most frequent class, their mean, or for a
    forecast the present value. r2 is 1 - squared error / squared error of the training mean.
    """

    kind: str = "auto"
    window: int | None = None
    ahead: int = 1
    valid: float = 0.15
    test: float = 0.15
    split_seed: int = 0
    scale: bool = True
    missing: str = "refuse"

    per_seed = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind", self.kind, ("auto", *KINDS)),
            ("missing", self.missing, MISSING),
        ):
            if value not in known:
                raise unknown(f"task.{name}", value, known)
        for name, share in (("valid", self.valid), ("test", self.test)):
            if not 0 < share < 1:
                raise UserError(f"task.{name} must be a share between 0 and 1, got {share}")
        if self.valid + self.test >= 1:
            raise UserError(
                f"task.valid and task.test must leave something to train on, got "
                f"{self.valid} + {self.test}"
            )
        for name, number in (("window", self.window), ("ahead", self.ahead)):
            if number is not None and number < 1:
                raise UserError(f"task.{name} must be at least 1, got {number}")
        if self.split_seed < 0:
            raise UserError(f"task.split_seed must be at least 0, got {self.split_seed}")

    def read(self) -> Sequences:
        """What the file holds. UserError, with row and column, for what cannot be used."""
        raise NotImplementedError

    # What the engine asks

    @property
    def loss(self) -> Literal["mse", "cross_entropy"]:  # type: ignore[override]
        return "cross_entropy" if self._kind == "classification" else "mse"

    @property
    def metric(self) -> str:  # type: ignore[override]
        return "accuracy" if self._kind == "classification" else "mse"

    @property
    def goal(self) -> Literal["min", "max"]:  # type: ignore[override]
        return "max" if self._kind == "classification" else "min"

    @property
    def inputs(self) -> int:
        return len(self._data.names)

    @property
    def outputs(self) -> int:
        return len(self._classes) if self._kind == "classification" else 1

    @property
    def horizon(self) -> int:
        return max(piece.stop - piece.start for piece in self._pieces["train"])

    def epoch(self, size: int) -> int:
        return len(self._pieces["train"]) // size

    def batch(self, draw: Draw, step: int, size: int) -> Batch:
        """The pieces in an order that each pass draws anew; what does not fill a batch at its end
        is left out.
        """
        pieces = self._pieces["train"]
        if size > len(pieces):
            raise UserError(
                f"train.batch must be at most {len(pieces)}, the number of training sequences, "
                f"got {size}"
            )
        epoch, index = divmod(step, self.epoch(size))
        order = draw("train", epoch).permutation(len(pieces))
        return self._batch([pieces[k] for k in order[index * size : (index + 1) * size]])

    def evaluation(self, split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        pieces = self._pieces[split]
        for start in range(0, len(pieces), size):
            yield self._batch(pieces[start : start + size])

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        if self._kind == "classification":
            nats = summed(pointwise_loss("cross_entropy", prediction, y), mask)
            return {"accuracy": summed(hits(prediction, y), mask), "nats": nats}
        _, deviation = self._answers
        wrong, spread = ((prediction - y) * deviation)[..., 0], (y * deviation)[..., 0]
        squares, number = summed(wrong.square(), mask)
        total, _ = summed(spread.square(), mask)  # y is the distance from the training mean
        large = torch.finfo(torch.float32).max ** 0.5  # counts below 1 count as 1
        unit = large / total.max().clamp(min=1e-30)
        return {
            "mse": (squares, number),
            "mae": summed(wrong.abs(), mask),
            "r2": ((total - squares) * unit, total * unit),
        }

    @cached_property
    def baseline(self) -> dict[str, float]:
        test = [self._labels(piece) for piece in self._pieces["test"]]
        if self._kind == "classification":
            train = [self._labels(piece) for piece in self._pieces["train"]]
            counts = np.bincount(np.concatenate(train), minlength=len(self._classes))
            nats = math.log(counts.sum()) - np.log(np.maximum(counts, 1))
            found = np.concatenate(test)
            right = float((found == counts.argmax()).mean())
            return {"accuracy": right, "nats": float(nats[found].mean())}
        _, deviation = self._answers
        answers = np.concatenate(test)
        guess = np.zeros_like(answers)
        if self._kind == "forecast":
            now = [self._now(piece) for piece in self._pieces["test"]]
            guess = np.concatenate(now)
        wrong = (guess - answers) * deviation
        spread = (answers * deviation) ** 2
        r2 = 1 - float((wrong**2).sum() / max(spread.sum(), 1e-300))
        return {"mse": float((wrong**2).mean()), "mae": float(np.abs(wrong).mean()), "r2": r2}

    # Reading

    @cached_property
    def _data(self) -> Sequences:
        found = self.read()
        if not found.x or not len(found.names):
            raise UserError(f"{found.where(0, None)} holds no sequences with columns to read")
        return found

    @cached_property
    def _kind(self) -> str:
        if self.kind == "forecast" or (self._data.y is None and self.kind == "auto"):
            return "forecast"
        texts = any(y.dtype.kind not in "fiu" for y in self._data.y or ())
        if self.kind == "regression" and texts:
            raise UserError(
                f"task.kind=regression needs numbers, and {self._data.label} holds texts; use "
                f"task.kind=classification"
            )
        if self.kind != "auto":
            return self.kind
        return "classification" if texts else "regression"

    @property
    def remark(self) -> str:
        """Whole numbers may be counts or the names of classes: which, a file does not say."""
        if self.kind != "auto" or self._kind != "regression":
            return ""
        values = np.unique(np.concatenate([y.ravel() for y in self._data.y or ()]))
        if len(values) > LIKE_CLASSES or (values != np.round(values)).any():
            return ""
        return (
            f"{self._data.label} has {len(values)} different values, all of them whole: they are "
            f"predicted as numbers; if they are classes, add task.kind=classification"
        )

    @cached_property
    def _whole(self) -> bool:
        """Whether there is one answer a sequence, read at its end."""
        return self._data.y is not None and all(y.ndim == 0 for y in self._data.y)

    @cached_property
    def _pieces(self) -> dict[Part, list[Piece]]:
        lengths = [len(x) for x in self._data.x]
        made: dict[Part, list[Piece]] = {part: [] for part in PARTS}
        if (
            self._data.given is None
            and not self._whole
            and (self._kind == "forecast" or len(lengths) == 1)
        ):
            for n, length in enumerate(lengths):
                for part, start, stop in self._by_time(n, length):
                    made[part] += self._cut(n, start, stop)
        else:
            for n, part in enumerate(self._drawn(len(lengths))):
                made[part] += self._cut(n, 0, self._usable(lengths[n]))
        for part, pieces in made.items():
            if not pieces:
                raise UserError(
                    f"{self._data.where(0, None)}: nothing is left for {part}; bring more "
                    f"sequences or change task.valid and task.test"
                )
        return made

    def _usable(self, length: int) -> int:
        return length - self.ahead if self._kind == "forecast" else length

    def _by_time(self, n: int, length: int) -> list[tuple[Part, int, int]]:
        usable = self._usable(length)
        test = round(usable * self.test)
        valid = round(usable * self.valid)
        train = usable - valid - test
        if min(train, valid, test) < 1:
            raise UserError(
                f"{self._data.where(n, None)} has {length} steps, too few to train, validate and "
                f"test on"
            )
        # an answer of training lies `ahead` steps on: these steps are left out before the next part
        gap = self.ahead if self._kind == "forecast" else 0
        stops = (max(train - gap, 1), max(train + valid - gap, train + 1), usable)
        starts = (0, train, train + valid)
        return [(part, a, b) for part, a, b in zip(PARTS, starts, stops, strict=True)]

    def _cut(self, n: int, start: int, stop: int) -> list[Piece]:
        if self._whole or self.window is None:
            return [Piece(n, start, stop)] if stop > start else []
        edges = range(start, stop, self.window)
        return [Piece(n, edge, min(edge + self.window, stop)) for edge in edges]

    def _drawn(self, count: int) -> list[Part]:
        """The part of every sequence: as the file says, or drawn; a group stays together, and
        classes are shared out evenly where nothing else holds sequences together.
        """
        rng = np.random.default_rng(self.split_seed)
        parts: list[Part] = list(self._data.given or ["train"] * count)
        free = [n for n in range(count) if parts[n] == "train"]
        shares: dict[Part, float] = {"valid": self.valid, "test": self.test}
        wanted = {part: share for part, share in shares.items() if part not in parts}
        if not wanted:
            return parts
        groups = self._data.groups
        if groups is not None:
            units: dict[object, list[int]] = {}
            for n in free:
                units.setdefault(groups[n], []).append(n)
            strata = [list(units.values())]
        elif self._whole and self._kind == "classification":
            classes: dict[object, list[list[int]]] = {}
            for n in free:
                classes.setdefault(self._data.y[n].item(), []).append([n])  # type: ignore[index]
            strata = list(classes.values())
        else:
            strata = [[[n] for n in free]]
        for stratum in strata:
            order = [stratum[k] for k in rng.permutation(len(stratum))]
            edge = 0
            for part, share in wanted.items():
                number = round(share * len(stratum))
                if len(strata) == 1 and len(stratum) > len(wanted):
                    number = max(number, 1)
                for unit in order[edge : edge + number]:
                    for n in unit:
                        parts[n] = part
                edge += number
        return parts

    # Values

    @cached_property
    def _scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """(mean, deviation) of every column in the training data."""
        rows = np.concatenate(
            [self._data.x[p.sequence][p.start : p.stop] for p in self._pieces["train"]]
        )
        there = ~np.isnan(rows)
        number = there.sum(0)
        if not number.all():
            empty = self._data.names[int(np.argmin(number))]
            raise UserError(f"column '{empty}' has no value in the training data; leave it out")
        mean = np.where(there, rows, 0).sum(0) / number
        spread = np.where(there, rows - mean, 0)
        deviation = np.sqrt((spread**2).sum(0) / number)
        return mean, np.where(deviation > FEW * np.maximum(np.abs(mean), 1), deviation, 1.0)

    @cached_property
    def _inputs(self) -> list[np.ndarray]:
        """Scaled sequences without gaps, (T, I) float32 each."""
        mean, deviation = self._scaling
        made = []
        for n, x in enumerate(self._data.x):
            gaps = np.isnan(x)
            if gaps.any():
                x = self._filled(n, x, gaps, mean)
            made.append(((x - mean) / deviation if self.scale else x).astype(np.float32))
        return made

    def _filled(self, n: int, x: np.ndarray, gaps: np.ndarray, mean: np.ndarray) -> np.ndarray:
        if self.missing == "refuse":
            t, column = np.argwhere(gaps)[0]
            raise UserError(
                f"{self._data.where(n, int(t))}, column '{self._data.names[column]}' has no "
                f"value; fill it in, or say task.missing=mean or task.missing=previous"
            )
        if self.missing == "previous":
            last = np.maximum.accumulate(np.where(gaps, -1, np.arange(len(x))[:, None]), 0)
            earlier = np.take_along_axis(x, np.maximum(last, 0), 0)
            return np.where(last < 0, mean, earlier)
        return np.where(gaps, mean, x)

    @cached_property
    def _classes(self) -> dict[object, int]:
        """Label → class, of the labels of the training data."""
        seen: set[object] = set()
        for piece in self._pieces["train"]:
            seen |= set(np.atleast_1d(self._raw(piece)).tolist())
        return {label: k for k, label in enumerate(sorted(seen, key=lambda v: (str(type(v)), v)))}

    def _raw(self, piece: Piece) -> np.ndarray:
        assert self._data.y is not None
        y = self._data.y[piece.sequence]
        return y if y.ndim == 0 else y[piece.start : piece.stop]

    @cached_property
    def _answers(self) -> tuple[float, float]:
        """(mean, deviation) of the numbers to predict in the training data; (mean, 1) unscaled."""
        if self._kind == "forecast":
            column = self._data.predicted or 0
            mean, deviation = (float(values[column]) for values in self._scaling)
            return mean, deviation if self.scale else 1.0
        train = [np.atleast_1d(self._raw(piece)) for piece in self._pieces["train"]]
        values = np.concatenate(train).astype(float)
        deviation = float(values.std())
        return float(values.mean()), deviation if self.scale and deviation > FEW else 1.0

    def _labels(self, piece: Piece) -> np.ndarray:
        """The answers of a piece: classes (T,), or scaled numbers (T,); one if read at its end."""
        if self._kind == "forecast":
            return self._future(piece, self.ahead)
        raw = np.atleast_1d(self._raw(piece))
        if self._kind == "regression":
            mean, deviation = self._answers
            values = raw.astype(float)
            if np.isnan(values).any():
                raise UserError(f"{self._told(piece, int(np.isnan(values).argmax()))} has no value")
            return (values - mean) / deviation
        for t, label in enumerate(raw.tolist()):
            if label not in self._classes:
                if label is None or label != label or label == "":
                    raise UserError(f"{self._told(piece, t)} has no value")
                raise UserError(
                    f"{self._told(piece, t)}: the label '{label}' is not in the training data; "
                    f"give it to more sequences, or choose another task.split_seed"
                )
        return np.array([self._classes[label] for label in raw.tolist()], np.int64)

    def _told(self, piece: Piece, t: int) -> str:
        step = None if self._whole else piece.start + t
        return f"{self._data.where(piece.sequence, step)}, column '{self._data.label}'"

    def _future(self, piece: Piece, ahead: int) -> np.ndarray:
        """What is forecast, so many steps after each step; in units of its deviation."""
        column = self._data.predicted or 0
        values = self._inputs[piece.sequence][piece.start + ahead : piece.stop + ahead, column]
        raw = self._data.x[piece.sequence][piece.start + ahead : piece.stop + ahead, column]
        if self.missing != "refuse" and np.isnan(raw).any():
            t = piece.start + ahead + int(np.isnan(raw).argmax())
            raise UserError(
                f"{self._data.where(piece.sequence, t)}, column '{self._data.label}' has no "
                f"value to forecast; fill it in"
            )
        mean, deviation = self._answers
        return values.astype(float) if self.scale else (values.astype(float) - mean) / deviation

    def _now(self, piece: Piece) -> np.ndarray:
        return self._future(piece, 0)

    def _batch(self, pieces: Sequence[Piece]) -> Batch:
        """x: (T, B, I), padded at the end to the longest."""
        lengths = np.array([piece.stop - piece.start for piece in pieces])
        steps, row = int(lengths.max()), np.arange(len(pieces))
        x = np.zeros((steps, len(pieces), self.inputs), np.float32)
        answers = [self._labels(piece) for piece in pieces]
        classes = self._kind == "classification"
        y = np.zeros((steps, len(pieces)), np.int64 if classes else np.float32)
        mask = np.zeros((steps, len(pieces)), bool)
        for b, piece in enumerate(pieces):
            x[: lengths[b], b] = self._inputs[piece.sequence][piece.start : piece.stop]
            if not self._whole:
                y[: lengths[b], b], mask[: lengths[b], b] = answers[b], True
        if self._whole:
            last = np.concatenate(answers).astype(y.dtype)
            if (lengths == steps).all():
                return Batch(x, last if classes else last[:, None], last=True)
            y[lengths - 1, row], mask[lengths - 1, row] = last, True
        return Batch(x, y if classes else y[..., None], None if mask.all() else mask)
