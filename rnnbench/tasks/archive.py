"""Sequences from the UEA and UCR archives: their .ts files.

Read here rather than by a library, so that a mistake is told with line and place, and because no
release of one installs beside current NumPy and pandas; compared with aeon's reader in the tests.
Source of the format: Bagnall et al. (2018), The UEA multivariate time series classification
archive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnbench.errors import UserError, unknown
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


@dataclass(frozen=True)
class _Header:
    """What the lines before @data say. first: the number of the first line after it. labels: the
    classes; None: labels are numbers, or there are none.
    """

    labelled: bool
    labels: tuple[str, ...] | None
    channels: int | None
    length: int | None
    first: int


def _load(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """(cases (channels, T), their labels)."""
    if not path.is_file() or path.suffix != ".ts":
        raise UserError(f"task.path: no file '{path}' that ends with .ts in {Path.cwd()}")
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a .ts file: {' '.join(str(error).split())}") from None
    header = _header(path, lines)
    if not header.labelled:
        raise UserError(f"{path} has no labels")
    cases: list[np.ndarray] = []
    labels: list[str | float] = []
    for number, line in enumerate(lines[header.first :], header.first + 1):
        if not line.strip() or line.startswith(("#", "%")):
            continue
        *channels, label = line.strip().split(":")
        where = f"{path} line {number}"
        cases.append(_case(channels, header, where))
        labels.append(_label(label.strip(), header, where))
    if not cases:
        raise UserError(f"{path} is not a .ts file: it holds no cases")
    return cases, np.asarray(labels, float if header.labels is None else str)


def _header(path: Path, lines: Sequence[str]) -> _Header:
    said: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(("#", "%")):
            continue
        if not line.startswith("@"):
            raise UserError(
                f"{path} is not a .ts file: line {number} stands before @data: '{line[:30]}'"
            )
        key, *values = line[1:].split() or [""]
        if key.lower() == "data":
            break
        said[key.lower()] = values
    else:
        raise UserError(f"{path} is not a .ts file: it has no line @data")
    if _yes(said, "timestamps"):
        raise UserError(
            f"{path} has time stamps (@timestamps true), which are not read; write values alone"
        )
    classes = said.get("classlabel", [])
    channels = "1" if _yes(said, "univariate") else next(iter(said.get("dimension", [])), None)
    length = next(iter(said.get("serieslength", [])), None) if _yes(said, "equallength") else None
    return _Header(
        labelled=_yes(said, "classlabel") or _yes(said, "targetlabel"),
        labels=tuple(classes[1:]) if _yes(said, "classlabel") else None,
        channels=int(channels) if channels and channels.isdigit() else None,
        length=int(length) if length and length.isdigit() else None,
        first=number,
    )


def _yes(said: Mapping[str, list[str]], key: str) -> bool:
    return [word.lower() for word in said.get(key, [])[:1]] == ["true"]


def _case(channels: Sequence[str], header: _Header, where: str) -> np.ndarray:
    """One case: (channels, T). A question mark is a missing value."""
    if not channels:
        raise UserError(f"{where}: a case is values, a colon and a label")
    if header.channels is not None and len(channels) != header.channels:
        raise UserError(f"{where}: {len(channels)} channels, @dimension says {header.channels}")
    rows = []
    for k, text in enumerate(channels, 1):
        values = text.split(",")
        try:
            rows.append([float("nan") if v.strip() == "?" else float(v) for v in values])
        except ValueError:
            step = next(n for n, v in enumerate(values, 1) if not _is_number(v))
            raise UserError(
                f"{where}: channel {k} step {step} is not a number: '{values[step - 1].strip()}'"
            ) from None
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise UserError(f"{where}: channels have {min(lengths)} to {max(lengths)} steps")
    if header.length is not None and lengths != {header.length}:
        raise UserError(f"{where}: {lengths.pop()} steps, @seriesLength says {header.length}")
    return np.array(rows)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() == "?"
    return True


def _label(text: str, header: _Header, where: str) -> str | float:
    if header.labels is None:
        if not _is_number(text) or text == "?":
            raise UserError(f"{where}: the label is not a number: '{text}'")
        return float(text)
    if header.labels and text not in header.labels:
        raise unknown(f"label in {where}:", text, header.labels)
    return text
