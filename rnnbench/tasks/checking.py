"""Batches of a task that is not ours, looked at once: what is wrong is said to its author.

Without it a transposed array or a label out of range ends in a traceback of PyTorch's, and a NaN in
the data in "diverged".

Axes: T time steps   B sequences   I input width   C output width.
"""

from itertools import islice

import numpy as np

from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.tasks.contract import Batch, Task

OURS = "rnnbench.tasks."
EVALUATED = 3  # batches of validation and test


def is_ours(task: Task) -> bool:
    return type(task).__module__.startswith(OURS)


def check(task: Task, draw: Draw, size: int) -> None:
    """Look at a training batch and at the first batches of validation and test.

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
    _check(task, batch, f"{name}.batch", size)
    if not np.array_equal(batch.x, task.batch(draw, 0, size).x):
        raise UserError(
            f"{name}.batch must be a function of its arguments: two calls made two batches; draw "
            f"numbers from draw('train', step) only"
        )
    for split in ("valid", "test"):
        where = f"{name}.evaluation('{split}')"
        found = list(islice(task.evaluation(split, draw, size), EVALUATED))  # type: ignore[arg-type]
        if not found:
            raise UserError(f"{where} has no batches")
        for batch in found:
            _check(task, batch, where, None)


def _check(task: Task, batch: Batch, where: str, size: int | None) -> None:
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
