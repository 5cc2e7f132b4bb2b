"""What a run leaves: its folder, its identity, its record. Everything else is a view of records. No torch.

A file appears whole or not at all: it is written beside its place and renamed. `record.json` is written last; its
presence means that the run ended.
"""

import csv
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from rnnbench.errors import UserError
from rnnbench.settings import Settings

SCHEMA = 1
Row = dict[str, Any]  # of a curve: step, split, then numbers by column


def canonical(settings: Settings) -> dict[str, Any]:
    """The settings that decide a run's numbers: without paths, engine, labels and the rhythm of checkpoints."""
    values = asdict(settings)
    for key in ("paths", "engine", "study"):
        del values[key]
    del values["train"]["checkpoint_every"], values["cell"]["name"], values["task"]["name"]
    digest = values["cell"].pop("digest")
    if digest:  # a file is its content, wherever it lies
        values["cell"]["step"] = f"{digest}:{settings.cell.step.rpartition(':')[2]}"
    if corpus := values["task"].pop("digest", None):
        values["task"]["corpus"] = corpus
    return values


def run_id(settings: Settings) -> str:
    """The identity of a run: twelve hexadecimal digits of a hash of its canonical settings, whatever their order."""
    text = json.dumps(canonical(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Folder:
    """The folder of one run: results/<study>/<task>/<cell>/<id>."""

    path: Path

    @classmethod
    def of(cls, settings: Settings) -> "Folder":
        root = Path(settings.paths.results).expanduser()
        return cls(root / settings.study / settings.task["name"] / settings.cell.name / run_id(settings))

    @property
    def record_path(self) -> Path:
        return self.path / "record.json"

    @property
    def curve_path(self) -> Path:
        return self.path / "curve.csv"

    @property
    def last_path(self) -> Path:
        return self.path / "last.pt"

    @property
    def best_path(self) -> Path:
        return self.path / "best.pt"

    @property
    def board_path(self) -> Path:
        return self.path / "tensorboard"

    def open(self, settings: Settings, overrides: Sequence[str]) -> None:
        """Create the folder with its settings and what was typed."""
        write(self.path / "config.yaml", OmegaConf.to_yaml(asdict(settings)))
        write(self.path / "overrides.yaml", OmegaConf.to_yaml(list(overrides)))

    def record(self) -> dict[str, Any] | None:
        """The record if the run has ended; None also for a torn or foreign file."""
        try:
            found = json.loads(self.record_path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("schema") == SCHEMA and "status" in found else None

    def write_record(self, record: Mapping[str, Any]) -> None:
        write(self.record_path, json.dumps(finite(record), indent=1, ensure_ascii=False) + "\n")

    def write_curve(self, rows: Iterable[Row]) -> None:
        """The whole curve anew: a column per number that any row has; what a row lacks is empty."""
        rows = list(rows)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = [",".join(columns)]
        lines += [",".join("" if (v := row.get(c)) is None else repr(v) if isinstance(v, float) else str(v) for c in columns) for row in rows]
        write(self.curve_path, "\n".join(lines) + "\n")

    def curve(self) -> list[Row]:
        """The rows of the curve, numbers as numbers."""
        with self.curve_path.open(encoding="utf-8", newline="") as file:
            return [{c: int(v) if c == "step" else v if c == "split" else float(v) for c, v in row.items() if v} for row in csv.DictReader(file)]


def find(place: str | Path) -> list[tuple[Folder, dict[str, Any]]]:
    """Every ended run under a folder (or the run that the folder is), with its record. UserError if there is none."""
    root = Path(place).expanduser()
    if not root.exists():
        raise UserError(f"no folder '{place}'; runs land in results/runs/<study> unless paths.results says otherwise")
    folders = [Folder(path.parent) for path in sorted(root.rglob("record.json"))]
    found = [(folder, record) for folder in folders if (record := folder.record()) is not None]
    if not found:
        raise UserError(f"no finished run under '{place}': no readable record.json in it")
    return found


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all. UserError if the disk refuses."""
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise UserError(f"cannot write {path}: {error.strerror}; free space or choose another folder with paths.results, then ask again") from None


def finite(value: Any) -> Any:
    """`value` with every number that JSON has no word for (nan, inf) as None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def checked_label(key: str, value: str) -> str:
    """A name that becomes a folder: letters, digits, dot, dash, underscore. UserError otherwise."""
    if not re.fullmatch(r"[\w][\w.\-]*", value):
        raise UserError(f"{key} names a folder: letters, digits, '.', '-' and '_', got '{value}'")
    return value
