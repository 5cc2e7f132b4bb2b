"""Batches of a task that is not ours, looked at before they are used: what is wrong is said to its
author.

Without it a transposed array or a label out of range ends in a traceback of PyTorch's, and a NaN in
the data in "diverged".

Axes: T time steps   B sequences   I input width   C output width.
"""

from collections.abc import Callable, Iterator
from copy import copy
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from rnnbench import catalogue
from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Split, Task

T = TypeVar("T")
OURS = "rnnbench.tasks."
EVALUATED = 3  # batches of validation and test


def is_ours(task: Task) -> bool:
    return type(task).__module__.startswith(OURS)


def watched(task: Task, target: str) -> Task:
    """The task, with a look at every batch that it makes. What its code raises is a UserError that
    names the line; `target` is where that stands, `path/to/file.py:name`.
    """
    name = type(task).__name__

    def batch(draw: Draw, step: int, size: int) -> Batch:
        made = blamed(lambda: task.batch(draw, step, size), target)
        _check(task, made, f"{name}.batch(draw, {step}, {size})", size)
        return made

    def evaluation(split: Split, draw: Draw, size: int) -> Iterator[Batch]:
        batches = blamed(lambda: iter(task.evaluation(split, draw, size)), target)
        number = 0
        while (made := blamed(lambda: next(batches, None), target)) is not None:
            number += 1
            _check(task, made, f"{name}.evaluation('{split}'), batch {number}", None)
            yield made
        if not number:
            raise UserError(f"{name}.evaluation('{split}') has no batches")

    made = copy(task)  # equal settings may share one object
    object.__setattr__(made, "batch", batch)
    object.__setattr__(made, "evaluation", evaluation)
    return made


def blamed(call: Callable[[], T], target: str) -> T:
    """What a call of a user's code returns. UserError, with the line, for what it raises."""
    try:
        return call()
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"task.type: {catalogue.blame(error, target)}") from error


def check(task: Task, draw: Draw, size: int) -> None:
    """Look at what a task says of itself, at a training batch, and at the first batches of
    validation and test of a `watched` task.

    UserError says which array is wrong, what was expected and where.
    """
    name = type(task).__name__
    for word, least in (("inputs", 1), ("outputs", 1)):
        number = getattr(task, word)
        if not isinstance(number, (int, np.integer)) or number < least:
            raise UserError(f"{name}.{word} must be a whole number of at least 1, got {number!r}")
    if task.metric not in task.baseline:
        raise UserError(
            f"{name}.baseline must have the metric '{task.metric}', got {sorted(task.baseline)}"
        )
    batch = task.batch(draw, 0, size)
    if not np.array_equal(batch.x, task.batch(draw, 0, size).x):
        raise UserError(
            f"{name}.batch must be a function of its arguments: two calls made two batches; draw "
            f"numbers from draw('train', step) only"
        )
    for split in ("valid", "test"):
        list(islice(task.evaluation(split, draw, size), EVALUATED))  # type: ignore[arg-type]


def _check(task: Task, batch: Any, where: str, size: int | None) -> None:
    if not isinstance(batch, Batch):
        raise UserError(
            f"{where} must make a rnnbench.tasks.contract.Batch, got {type(batch).__name__}"
        )
    for name in ("x", "y", *(() if batch.mask is None else ("mask",))):
        if not isinstance(getattr(batch, name), np.ndarray):
            kind = type(getattr(batch, name)).__name__
            raise UserError(f"{where}: {name} must be a NumPy array, got {kind}")
    steps, sequences = _inputs(task, batch.x, where)
    if size is not None and sequences != size:
        hint = "; x has time first: (T, B, I)" if steps == size else ""
        raise UserError(
            f"{where}: x must hold {size} sequences on its second axis, got shape "
            f"{batch.x.shape}{hint}"
        )
    axes = (sequences,) if batch.last else (steps, sequences)
    _answers(task, batch.y, batch.mask, axes, where)
    if batch.mask is not None and (batch.mask.dtype != bool or batch.mask.shape != axes):
        raise UserError(
            f"{where}: mask must be bool {axes}, got {batch.mask.dtype} {batch.mask.shape}"
        )
    if batch.mask is not None and not batch.mask.any():
        raise UserError(f"{where}: mask leaves nothing to predict")


def _inputs(task: Task, x: np.ndarray, where: str) -> tuple[int, int]:
    """(T, B)."""
    if task.symbols:
        if x.ndim != 2 or x.dtype.kind not in "iu":
            raise UserError(
                f"{where}: x must be symbols, int64 (T, B), got {x.dtype} {x.shape}; inputs that "
                f"are numbers need symbols = False"
            )
        _refuse_outside(x, task.inputs, f"{where}: x", "inputs")
    else:
        if x.ndim != 3 or x.shape[2] != task.inputs:
            raise UserError(
                f"{where}: x must have the axes (T, B, {task.inputs}), got shape {x.shape}"
            )
        if x.dtype.kind != "f":
            raise UserError(f"{where}: x must be float32, got {x.dtype}; use .astype(np.float32)")
        _refuse_not_finite(x, f"{where}: x")
    if not x.shape[0] or not x.shape[1]:
        raise UserError(f"{where}: x is empty, shape {x.shape}")
    return x.shape[0], x.shape[1]


def _answers(
    task: Task, y: np.ndarray, mask: np.ndarray | None, axes: tuple[int, ...], where: str
) -> None:
    classes = task.loss == "cross_entropy"
    expected = axes if classes else (*axes, task.outputs)
    if y.shape != expected:
        kind = "a class a prediction" if classes else "task.outputs numbers a prediction"
        read = "last=True: one a sequence" if len(axes) == 1 else "one a step"
        raise UserError(f"{where}: y must have shape {expected} ({kind}, {read}), got {y.shape}")
    if y.dtype.kind not in ("iu" if classes else "f"):
        wanted = "int64" if classes else "float32"
        raise UserError(f"{where}: y must be {wanted}, got {y.dtype}; use .astype(np.{wanted})")
    counts = np.ones(axes, bool) if mask is None or mask.shape != axes else mask
    if classes:
        _refuse_outside(np.where(counts, y, 0), task.outputs, f"{where}: y", "outputs")
    else:
        _refuse_not_finite(np.where(counts[..., None], y, 0), f"{where}: y")


def _refuse_outside(values: np.ndarray, limit: int, where: str, what: str) -> None:
    wrong = (values < 0) | (values >= limit)
    if wrong.any():
        at = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise UserError(
            f"{where} is {values[at]} {_place(at)}; {what} = {limit} allows 0 to {limit - 1}"
        )


def _refuse_not_finite(values: np.ndarray, where: str) -> None:
    wrong = ~np.isfinite(values)
    if wrong.any():
        at = tuple(int(k) for k in np.argwhere(wrong)[0])
        raise UserError(f"{where} is {values[at]} {_place(at)}; every number must be finite")


def _place(at: tuple[int, ...]) -> str:
    """In words, where an entry of (T, B, …) or (B, …) is."""
    if len(at) == 1:
        return f"in sequence {at[0]}"
    return f"in sequence {at[1]} at step {at[0]}" + (f", column {at[2]}" if len(at) > 2 else "")
