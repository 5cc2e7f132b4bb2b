"""Sequences from NumPy: an .npz file of arrays."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnbench.errors import UserError
from rnnbench.tasks.dataset import Dataset, Part, Sequences

SUFFIXES: tuple[tuple[str, Part], ...] = (("", "train"), ("_valid", "valid"), ("_test", "test"))


@dataclass(frozen=True)
class Arrays(Dataset):
    """Arrays `x` (N, T, I) or (N, T) and `y`, (N,) a label a sequence or (N, T) a label a step.

    path: an .npz file. May also hold `lengths` (N,): what comes later is padding; `groups` (N,):
        what must stay together; x_test and y_test, x_valid and y_valid (with lengths_test, …):
        parts that are given and not drawn. A forecast is of the last column of x and needs no y.
    """

    path: str = ""

    def read(self) -> Sequences:
        if not self.path:
            raise UserError("task=arrays needs task.path")
        arrays = self._load()
        x: list[np.ndarray] = []
        y: list[np.ndarray] = []
        rows: list[tuple[str, int]] = []
        given: list[Part] = []
        for suffix, part in SUFFIXES:
            if f"x{suffix}" in arrays:
                found, labels = self._part(arrays, suffix)
                x += found
                y += labels
                given += [part] * len(found)
                rows += [(f"x{suffix}", n) for n in range(len(found))]
        groups = arrays.get("groups")
        if groups is not None and len(groups) != len(arrays["x"]):
            raise UserError(
                f"{self.path}: groups has {len(groups)} entries for {len(arrays['x'])} sequences"
            )
        name = Path(self.path).name
        columns = x[0].shape[1]
        if any(sequence.shape[1] != columns for sequence in x):
            raise UserError(f"{self.path}: x and its parts have different numbers of columns")

        def where(n: int, t: int | None) -> str:
            key, row = rows[n]
            return f"{name} {key}[{row}]" if t is None else f"{name} {key}[{row}, {t}]"

        return Sequences(
            x=x,
            y=None if self.kind == "forecast" else y,
            names=[str(k) for k in range(columns)],
            where=where,
            label="y",
            groups=None if groups is None or len(set(given)) > 1 else groups.tolist(),
            given=given if len(set(given)) > 1 else None,
            predicted=columns - 1,
        )

    def _load(self) -> Mapping[str, np.ndarray]:
        place = Path(self.path).expanduser()
        if not place.is_file():
            raise UserError(f"task.path: no file '{self.path}' in {Path.cwd()}")
        try:
            with np.load(place, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (ValueError, OSError, EOFError, AttributeError) as error:
            raise UserError(f"{self.path} is not an .npz file of arrays: {error}") from None
        if "x" not in arrays:
            raise UserError(f"{self.path} has no array x; it holds {', '.join(arrays) or 'none'}")
        return arrays

    def _part(
        self, arrays: Mapping[str, np.ndarray], suffix: str
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        x = arrays[f"x{suffix}"]
        if x.ndim not in (2, 3) or x.dtype.kind not in "fiub":
            raise UserError(
                f"{self.path}: x{suffix} must be numbers with the axes (N, T, I) or (N, T), got "
                f"{x.dtype} {x.shape}"
            )
        x = x[..., None] if x.ndim == 2 else x
        lengths = arrays.get(f"lengths{suffix}", np.full(len(x), x.shape[1]))
        whole = lengths.dtype.kind in "iu" and lengths.shape == (len(x),)
        if not whole or not ((lengths >= 1) & (lengths <= x.shape[1])).all():
            raise UserError(
                f"{self.path}: lengths{suffix} must be {len(x)} whole numbers from 1 to "
                f"{x.shape[1]}"
            )
        infinite = np.argwhere(np.isinf(x.astype(float)))
        if len(infinite):
            raise UserError(f"{self.path}: x{suffix}{infinite[0].tolist()} is infinite")
        sequences = [row[:length].astype(float) for row, length in zip(x, lengths, strict=True)]
        if self.kind == "forecast":
            return sequences, []
        y = arrays.get(f"y{suffix}")
        if y is None:
            raise UserError(f"{self.path} has x{suffix} and no y{suffix}")
        if y.shape not in (x.shape[:1], x.shape[:2]):
            raise UserError(
                f"{self.path}: y{suffix} must be {x.shape[:1]} or {x.shape[:2]} like x{suffix}, "
                f"got {y.shape}"
            )
        if y.ndim == 1:
            return sequences, [np.asarray(label) for label in y]
        return sequences, [row[:length] for row, length in zip(y, lengths, strict=True)]
