"""Sequences from the UEA and UCR archives: .ts files, read by aeon (pip install
'rnnbench[archive]').
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnbench.errors import UserError
from rnnbench.tasks.dataset import Dataset, Part, Sequences


@dataclass(frozen=True)
class Archive(Dataset):
    """A data set of the UEA or UCR archive: a label, or a number, of each sequence.

    path: a .ts file. test_path: the file to test on; null: NAME_TEST.ts beside NAME_TRAIN.ts if it
        is there, else a share of the sequences.
    """

    path: str = ""
    test_path: str | None = None

    def read(self) -> Sequences:
        if not self.path:
            raise UserError("task=ts needs task.path")
        parts: list[tuple[Path, Part]] = [(Path(self.path).expanduser(), "train")]
        if (test := self._test()) is not None:
            parts.append((test, "test"))
        x: list[np.ndarray] = []
        y: list[np.ndarray] = []
        rows: list[tuple[str, int]] = []
        given: list[Part] = []
        for path, part in parts:
            found, labels = _load(path)
            x += [np.asarray(sequence, float).T for sequence in found]
            y += [np.asarray(label) for label in labels]
            given += [part] * len(found)
            rows += [(path.name, n + 1) for n in range(len(found))]
        widths = {sequence.shape[1] for sequence in x}
        if len(widths) > 1:
            raise UserError(f"{self.path}: sequences have {min(widths)} to {max(widths)} channels")

        def where(n: int, t: int | None) -> str:
            name, case = rows[n]
            return f"{name} case {case}" + ("" if t is None else f" step {t + 1}")

        return Sequences(
            x=x,
            y=None if self.kind == "forecast" else y,
            names=[str(k) for k in range(widths.pop())],
            where=where,
            label="class",
            given=given if test is not None else None,
            predicted=0,
        )

    def _test(self) -> Path | None:
        if self.test_path is not None:
            return Path(self.test_path).expanduser()
        path = Path(self.path).expanduser()
        beside = path.with_name(path.name.replace("_TRAIN.ts", "_TEST.ts"))
        return beside if beside != path and beside.is_file() else None


def _load(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """(cases (channels, T), their labels)."""
    try:
        from aeon.datasets import load_from_ts_file
    except ImportError:
        raise UserError("task=ts needs aeon: pip install 'rnnbench[archive]'") from None
    if not path.is_file() or path.suffix != ".ts":
        raise UserError(f"task.path: no file '{path}' that ends with .ts in {Path.cwd()}")
    try:
        cases, labels, said = load_from_ts_file(str(path), return_meta_data=True)
    except Exception as error:  # whatever a torn or foreign file makes the reader raise
        raise UserError(f"{path} is no .ts file: {' '.join(str(error).split())}") from None
    if not len(cases):
        raise UserError(f"{path} is no .ts file: it holds no cases")
    if not said.get("classlabel") and not said.get("targetlabel"):
        raise UserError(f"{path} has no labels")
    numbers = bool(said.get("targetlabel"))
    return list(cases), np.asarray(labels, float if numbers else str)
