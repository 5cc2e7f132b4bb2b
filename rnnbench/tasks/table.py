"""Sequences from a table: CSV or Parquet, a row a time step."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnbench.errors import UserError, unknown
from rnnbench.tasks.dataset import Dataset, Part, Sequences

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table(Dataset):
    """Rows of a table as time steps; a column says what is to be predicted.

    path: a .csv (a header, commas) or .parquet file. target: the column to predict: a class or a
        number, of each sequence or of each step, or the one to forecast. sequence: the column that
        tells sequences apart; null: the table is one. time: the column that orders the steps of a
        sequence, numbers or dates; null: as they stand. group: sequences with the same value are
        never in two parts. features: the columns to read; null: all others that are not named
        here, and for a forecast the target too.
    test_path: another table, with the sequences to test on. solved: the score that counts as
        solved, which other tasks call target.

    Where the target of every sequence is constant, it is read at the end, else at every step.
    """

    path: str = ""
    target: str = ""  # type: ignore[assignment]  # here a column; `solved` is what others mean by it
    sequence: str | None = None
    time: str | None = None
    group: str | None = None
    features: list[str] | None = None
    test_path: str | None = None
    solved: float | None = None

    @property
    def threshold(self) -> float | None:
        return self.solved

    def read(self) -> Sequences:
        for name, value in (("path", self.path), ("target", self.target)):
            if not value:
                raise UserError(f"task=table needs task.{name}")
        parts: list[tuple[str, Part | None]] = [(self.path, "train" if self.test_path else None)]
        if self.test_path:
            parts.append((self.test_path, "test"))
        read = [self._read(path) for path, _ in parts]
        names = self._features(read[0][1], parts[0][0])
        x, y, groups, rows = [], [], [], []
        given: list[Part] = []
        for (path, part), (lines, table) in zip(parts, read, strict=True):
            values = self._numbers(table, names, lines, path)
            labels = self._target(table, lines, path)
            for steps in self._sequences(table, lines, path):
                x.append(values[steps])
                y.append(labels[steps])
                rows.append((Path(path).name, lines[steps]))
                groups.append(table[self.group].iloc[steps[0]] if self.group else None)
                if part:
                    given.append(part)
        forecast = self.kind == "forecast"
        constant = not forecast and len(y) > 1 and all((a == a[0]).all() for a in y)
        predicted = names.index(self.target) if self.target in names else None
        if forecast and predicted is None:
            raise UserError(f"task.features must name the target '{self.target}' to forecast it")

        def where(n: int, t: int | None) -> str:
            file, lines = rows[n]
            return f"{file} row {lines[0 if t is None else t]}"

        return Sequences(
            x=x,
            y=None if forecast else [a[0] if constant else a for a in y],
            names=names,
            where=where,
            label=self.target,
            groups=groups if self.group else None,
            given=given or None,
            predicted=predicted,
        )

    def _read(self, path: str) -> tuple[np.ndarray, "pd.DataFrame"]:
        """(the row of each line as an editor counts it, the table)."""
        import pandas as pd

        place = Path(path).expanduser()
        if not place.is_file():
            raise UserError(f"task.path: no file '{path}' in {Path.cwd()}")
        suffix = place.suffix.lower()
        if suffix not in (".csv", ".parquet"):
            raise UserError(f"task.path must be a .csv or .parquet file, got '{path}'")
        try:
            table = pd.read_csv(place) if suffix == ".csv" else pd.read_parquet(place)
        except ImportError:
            raise UserError(f"{path}: Parquet needs pip install 'rnnbench[parquet]'") from None
        except (ValueError, OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path} is not a table: {' '.join(str(error).split())}") from None
        first = 2 if suffix == ".csv" else 1  # below the header
        if table.empty:
            raise UserError(f"{path} has no rows")
        named = (self.target, self.sequence, self.time, self.group, *(self.features or ()))
        for column in named:
            if column is not None and column not in table.columns:
                raise unknown(f"column of {place.name}", column, map(str, table.columns))
        return np.arange(first, first + len(table)), table

    def _features(self, table: "pd.DataFrame", path: str) -> list[str]:
        if self.features is not None:
            return list(self.features)
        named = {self.sequence, self.time, self.group}
        named |= set() if self.kind == "forecast" else {self.target}
        names = [str(column) for column in table.columns if column not in named]
        if not names:
            raise UserError(f"{path} has no columns to read beside those that task=table names")
        return names

    def _numbers(
        self, table: "pd.DataFrame", names: list[str], lines: np.ndarray, path: str
    ) -> np.ndarray:
        """(rows, I) float64; UserError for the first text among them."""
        import pandas as pd

        columns = []
        for name in names:
            if name not in table.columns:
                raise unknown(f"column of {Path(path).name}", name, map(str, table.columns))
            column = table[name]
            values = pd.to_numeric(column, errors="coerce").to_numpy(float, na_value=np.nan)
            wrong = np.isnan(values) & column.notna().to_numpy()
            wrong |= np.isinf(values)
            if wrong.any():
                k = int(wrong.argmax())
                raise UserError(
                    f"{Path(path).name} row {lines[k]}, column '{name}': expected a number, got "
                    f"'{column.iloc[k]}'; correct it, or name the columns to read with "
                    f"task.features=[…]"
                )
            columns.append(values)
        return np.stack(columns, 1)

    def _target(self, table: "pd.DataFrame", lines: np.ndarray, path: str) -> np.ndarray:
        column = table[self.target]
        if column.isna().any() and self.kind != "forecast":
            k = int(column.isna().to_numpy().argmax())
            raise UserError(
                f"{Path(path).name} row {lines[k]}, column '{self.target}' has no value; every "
                f"target must be there"
            )
        values: np.ndarray = column.to_numpy()
        return values if values.dtype.kind in "fiu" else values.astype(str)

    def _sequences(self, table: "pd.DataFrame", lines: np.ndarray, path: str) -> list[np.ndarray]:
        """The rows of each sequence, in the order of time."""
        if self.sequence is None:
            rows = [np.arange(len(table))]
        else:
            if table[self.sequence].isna().any():
                k = int(table[self.sequence].isna().to_numpy().argmax())
                raise UserError(
                    f"{Path(path).name} row {lines[k]}, column '{self.sequence}' has no value; "
                    f"every row belongs to a sequence"
                )
            found: Any = table.groupby(self.sequence, sort=True).indices
            rows = [np.asarray(found[key]) for key in sorted(found)]
        if self.time is None:
            return rows
        times = self._times(table, lines, path)
        ordered = []
        for where in rows:
            order = np.argsort(times[where], kind="stable")
            same = np.flatnonzero(np.diff(times[where][order]) == 0)
            if len(same):
                first, second = sorted(lines[where][order][same[0] : same[0] + 2])
                raise UserError(
                    f"{Path(path).name} rows {first} and {second}, column '{self.time}': the same "
                    f"time twice in a sequence; say what tells sequences apart with task.sequence"
                )
            ordered.append(where[order])
        return ordered

    def _times(self, table: "pd.DataFrame", lines: np.ndarray, path: str) -> np.ndarray:
        import pandas as pd

        column = table[self.time]
        values = pd.to_numeric(column, errors="coerce")
        if values.isna().any():
            dates = pd.to_datetime(column, errors="coerce", utc=True)
            if dates.isna().any():
                k = int(dates.isna().to_numpy().argmax())
                raise UserError(
                    f"{Path(path).name} row {lines[k]}, column '{self.time}': expected a number "
                    f"or a date, got '{column.iloc[k]}'"
                )
            return np.asarray(dates.astype("int64"))
        return np.asarray(values, float)
