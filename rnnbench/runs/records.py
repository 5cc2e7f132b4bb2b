"""What a run leaves: its folder, its identity, its record. Everything else is a view of records.

No torch.

A file appears whole or not at all: it is written beside its place and renamed. `record.json` is
    written last; its presence means that the run ended.
"""

import csv
import errno
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from omegaconf import OmegaConf

from rnnbench.errors import UserError
from rnnbench.settings import Settings

SCHEMA = 1
TORN = re.compile(r"\..+\.[0-9a-f]{32}")  # the name of a file while it is written, see `write`
Row = dict[str, Any]  # of a curve: step, split, then numbers by column


def canonical(settings: Settings) -> dict[str, Any]:
    """The settings that decide a run's numbers: without paths, engine, labels and the rhythm of
    checkpoints and probes.
    """
    values = asdict(settings)
    for key in ("paths", "engine", "study"):
        del values[key]
    del (
        values["train"]["checkpoint_every"],
        values["train"]["probe_every"],
        values["cell"]["name"],
        values["task"]["name"],
    )
    budget = "epochs" if values["train"]["epochs"] is None else "steps"
    del values["train"][budget]  # not set, or what the epochs come to
    if values["model"]["match"] is not None:
        del values["model"]["hidden"]  # solved, whatever it says
    digest = values["cell"].pop("digest")
    if digest:  # a file is its content, wherever it lies
        values["cell"]["step"] = f"{digest}:{settings.cell.step.rpartition(':')[2]}"
    if corpus := values["task"].pop("digest", None):
        values["task"]["corpus"] = corpus
    return values


def run_id(settings: Settings) -> str:
    """The identity of a run: twelve hexadecimal digits of a hash of its canonical settings,
    whatever their order.
    """
    text = json.dumps(_whole(canonical(settings)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _whole(value: Any) -> Any:
    """`value` with 2.0 written as 2, so that it does not matter how a number was typed."""
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass(frozen=True)
class Folder:
    """The folder of one run: results/<study>/<task>/<cell>/<id>."""

    path: Path

    @classmethod
    def of(cls, settings: Settings) -> "Folder":
        root = Path(settings.paths.results).expanduser()
        return cls(
            root / settings.study / settings.task["name"] / settings.cell.name / run_id(settings)
        )

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
    def lock_path(self) -> Path:
        """Held by the process that trains the run; beside the study's sweeps, so that a run's
        folder holds results only.
        """
        return self.path.parents[2] / ".sweeps" / f"{'-'.join(self.path.parts[-3:])}.lock"

    @property
    def board_path(self) -> Path:
        return self.path / "tensorboard"

    def open(self, settings: Settings, overrides: Sequence[str]) -> None:
        """Create the folder with its settings and what was typed; sweep out what a killed process
        left half-written.
        """
        for torn in self.path.glob(".*"):
            if TORN.fullmatch(torn.name) and torn.is_file():
                torn.unlink(missing_ok=True)
        write(self.path / "config.yaml", OmegaConf.to_yaml(asdict(settings)))
        write(self.path / "overrides.yaml", OmegaConf.to_yaml(list(overrides)))

    def record(self) -> dict[str, Any] | None:
        """The record if the run has ended; None also for a torn or foreign file."""
        try:
            found = json.loads(self.record_path.read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            return _ignored(self.record_path, "it cannot be read")
        if isinstance(found, dict) and found.get("schema") == SCHEMA and "status" in found:
            return found
        return _ignored(self.record_path, f"it is no record of schema {SCHEMA}")

    def write_record(self, record: Mapping[str, Any]) -> None:
        write(self.record_path, json.dumps(finite(record), indent=1, ensure_ascii=False) + "\n")

    def write_curve(self, rows: Iterable[Row]) -> None:
        """The whole curve anew: a column per number that any row has; what a row lacks is empty."""
        rows = list(rows)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = [",".join(columns)]
        lines += [
            ",".join(
                "" if (v := row.get(c)) is None else repr(v) if isinstance(v, float) else str(v)
                for c in columns
            )
            for row in rows
        ]
        write(self.curve_path, "\n".join(lines) + "\n")

    def curve(self) -> list[Row]:
        """The rows of the curve, numbers as numbers."""
        with self.curve_path.open(encoding="utf-8", newline="") as file:
            return [
                {
                    c: int(v) if c == "step" else v if c == "split" else float(v)
                    for c, v in row.items()
                    if v
                }
                for row in csv.DictReader(file)
            ]


@cache  # one warning a file
def _ignored(path: Path, why: str) -> None:
    print(f"rnnbench: ignoring {path}: {why}", file=sys.stderr)


def find(place: str | Path) -> list[tuple[Folder, dict[str, Any]]]:
    """Every ended run under a folder (or the run that the folder is), with its record.

    UserError if there is none.
    """
    root = Path(place).expanduser()
    if not root.exists():
        raise UserError(
            f"no folder '{place}'; runs land in results/runs/<study> unless paths.results says "
            f"otherwise"
        )
    folders = [Folder(path.parent) for path in sorted(root.rglob("record.json"))]
    found = [(folder, record) for folder in folders if (record := folder.record()) is not None]
    if not found:
        raise UserError(f"no finished run under '{place}': no readable record.json in it")
    return found


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all. UserError if the disk refuses."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(
        f".{path.name}.{uuid4().hex}"
    )  # not mkstemp, whose files are closed to colleagues
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = (
            "free space, then ask again" if full else "choose another folder (runs: paths.results)"
        )
        raise UserError(f"cannot write {path}: {error.strerror}; {remedy}") from None
    finally:
        with suppress(OSError):  # also after Ctrl-C
            temporary.unlink()


def put_aside(path: Path, keep: bool = False) -> Path:
    """Give a file that cannot be used the name FILE.damaged (FILE.damaged-2 …), or such a copy;
    the new place. UserError if the disk refuses.
    """
    number = 1
    while (place := path.with_name(f"{path.name}.damaged{f'-{number}' * (number > 1)}")).exists():
        number += 1
    if keep:
        write(place, path.read_bytes())
    else:
        try:
            path.replace(place)
        except OSError as error:
            raise UserError(f"cannot rename {path}: {error.strerror}") from None
    return place


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
