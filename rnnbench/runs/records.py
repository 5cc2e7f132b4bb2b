"""What a run leaves: its folder, its identity, its record. Everything else is a view of records.

No torch.

A file appears whole or not at all: it is written beside its place and renamed. `record.json` is
    written last; its presence means that the run ended.
"""

import csv
import errno
import hashlib
import io
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

from rnnbench.catalogue import neighbours
from rnnbench.errors import UserError
from rnnbench.runs.checksums import Damaged, check_json, checksum, seal_json, seal_yaml
from rnnbench.runs.form import flaw, is_shallow
from rnnbench.settings import Settings

SCHEMA = 2  # what each adds: see `upgraded`
LONGEST = 80  # bytes of a name of study, task or cell
TORN = re.compile(r"\..+\.[0-9a-f]{32}")  # the name of a file while it is written, see `write`
LATER: tuple[
    tuple[str, str, Any], ...
] = (  # settings that came later: as they are by default they are no part of an id
    ("cell", "options", {}),
    ("model", "block", "plain"),
    ("model", "bidirectional", False),
    ("model", "recurrent_dropout", 0),
    ("model", "zoneout", 0),
    ("train", "weight_noise", 0),
    ("optim", "constants", {}),
)
CurveRow = dict[str, Any]  # of a curve: step, split, then numbers by column


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
    for section, key, usual in LATER:
        if values[section][key] == usual:
            del values[section][key]
    if values["model"]["match"] is not None:
        del values["model"]["hidden"]  # solved, whatever it says
    for section, key in (("cell", "step"), ("optim", "name")):
        if digest := values[section].pop("digest"):  # a file is its content, wherever it lies
            values[section][key] = f"{digest}:{values[section][key].rpartition(':')[2]}"
    if digest := values["task"].pop("digest", None):
        kind = values["task"]["type"]
        if ":" in kind:
            values["task"]["type"] = f"{digest}:{kind.rpartition(':')[2]}"
        else:
            values["task"]["corpus" if "corpus" in values["task"] else "path"] = digest
            values["task"].pop("test_path", None)
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
        if self.record_path.exists() and self.record() is None:
            put_aside(self.record_path)
        self.write_config(asdict(settings))
        write(self.path / "overrides.yaml", OmegaConf.to_yaml(list(overrides)))
        kept: dict[str, Path] = {}
        for target in (settings.cell.step, str(settings.task["type"]), settings.optim.name):
            file = Path(target.rpartition(":")[0]).expanduser()
            if ":" in target and file.is_file() and file != self.source(target):
                for one in (file, *neighbours(file)):
                    other = kept.setdefault(one.name, one)
                    if other.read_bytes() != one.read_bytes():
                        raise UserError(
                            f"{other} and {one} are two files of one name, which a run's folder "
                            f"cannot keep side by side; rename one"
                        )
        for name, file in kept.items():
            write(self.path / "source" / name, file.read_bytes())

    def source(self, target: str) -> Path:
        """Where the run keeps the user's file of `path/to/file.py:name`: a cell, a task, an
        optimiser.
        """
        return self.path / "source" / Path(target.rpartition(":")[0]).name

    def write_config(self, settings: Mapping[str, Any]) -> None:
        write(self.path / "config.yaml", seal_yaml(OmegaConf.to_yaml(dict(settings))))

    def record(self) -> dict[str, Any] | None:
        """The record if the run has ended; None also for a damaged or foreign file."""
        try:
            found = parsed(self.record_path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Damaged as damaged:
            return _ignored(self.record_path, f"it was damaged or edited: {damaged}")
        except (OSError, ValueError, RecursionError):
            return _ignored(self.record_path, "it cannot be read")
        if is_record(found):
            return upgraded(found)
        told = ""
        if isinstance(found, dict) and found.get("schema") in range(1, SCHEMA + 1):
            told = flaw(found)
        return _ignored(self.record_path, told or f"it is no record of schema 1 to {SCHEMA}")

    def write_record(self, record: Mapping[str, Any]) -> None:
        """The record, which knows the checksum of each file that lies beside it now."""
        beside = (self.best_path, self.last_path, self.curve_path)
        sums = {path.name: checksum(path.read_bytes()) for path in beside if path.is_file()}
        whole = seal_json(finite({**record, "checksums": sums} if sums else record))
        write(self.record_path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")

    def write_curve(self, rows: Iterable[CurveRow]) -> None:
        """The whole curve anew: a column per number that any row has; what a row lacks is empty."""
        rows = list(rows)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        lines = [",".join(columns)]
        lines += [",".join(_written(row.get(column)) for column in columns) for row in rows]
        write(self.curve_path, "\n".join(lines) + "\n")

    def curve(self) -> list[CurveRow]:
        """The rows of the curve, numbers as numbers.

        Raises OSError or ValueError if there is none, or not the one that the record knows.
        """
        data = self.curve_path.read_bytes()
        if not unchanged(data, self.record(), self.curve_path.name):
            raise Damaged("it is not the curve that the run wrote")
        rows = csv.DictReader(io.StringIO(data.decode(), newline=""))
        return [{name: _read(name, text) for name, text in row.items() if text} for row in rows]


def _written(value: Any) -> str:
    """A value of a curve as its file holds it."""
    if value is None:
        return ""
    return repr(value) if isinstance(value, float) else str(value)


def _read(column: str, text: str) -> Any:
    """What `_written` wrote in a column of a curve."""
    if column == "split":
        return text
    return int(text) if column == "step" else float(text)


def unchanged(data: bytes, record: Mapping[str, Any] | None, name: str) -> bool:
    """Whether a file of a run holds what its record says; where that says nothing, it does."""
    sums = (record or {}).get("checksums")
    known = sums.get(name) if isinstance(sums, dict) else None
    return known is None or known == checksum(data)


def parsed(data: bytes) -> Any:
    """What JSON of ours holds. Raises ValueError or RecursionError; of these Damaged for what was
    whole once.
    """
    found = check_json(json.loads(data))
    if not is_shallow(found):
        raise ValueError("nested too deeply")
    if b"\\ud" in data.lower():  # half a character, which no file can hold
        json.dumps(found, ensure_ascii=False).encode()
    return found


def filled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a record with those that came later, as they were without a choice."""
    made = dict(settings)
    for section, key, usual in LATER:
        if isinstance(made.get(section), dict):
            made[section] = {key: usual} | made[section]
    return made


def is_record(found: Any) -> bool:
    """Whether this is the record of a run, in a format that is known."""
    if not (
        isinstance(found, dict)
        and type(found.get("schema")) is int
        and 1 <= found["schema"] <= SCHEMA
    ):
        return False
    return not flaw(found)


def upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """A record of any schema up to this one, with all fields of this one; None: it does not say.

    Schema 2 adds `last_fifth` (see `improvement`) and `flops`, of the network in one step of one
    sequence, forward.
    """
    return {"last_fifth": None, "flops": None} | record


def own_seconds(record: Mapping[str, Any]) -> float:
    """What a run took by itself: its share of the time of its pack; 0: the record does not say."""
    taken: float = sum((record.get("seconds") or {}).values())
    return taken / (record.get("replicas") or 1)


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
    folders = [Folder(path.parent) for path in record_files(root)]
    found = [(folder, record) for folder in folders if (record := folder.record()) is not None]
    if not found:
        raise UserError(f"no finished run under '{place}': no readable record.json in it")
    return found


def located(place: str, results: str) -> Path:
    """What a user calls a place with runs: the name of a study (or more of the path) in the folder
    of results, else a path. UserError where nothing is named.
    """
    if not place.strip("\0 "):
        raise UserError("a place with runs has a name: a study, a folder or a file, got ''")
    inside = Path(results).expanduser() / place
    return inside if inside.is_dir() else Path(place).expanduser()


def run_folders(place: Path) -> list[Path]:
    """The folder of a run that this is, else every one with a record below it, else the place."""
    own = [place / name for name in ("config.yaml", "record.json")]
    if not place.is_dir() or any(path.exists() for path in own):
        return [place]
    return [path.parent for path in record_files(place)] or [place]


def record_files(root: Path) -> list[Path]:
    """Every record.json below a folder, sorted."""
    return files_below(root, "record.json")


def files_below(root: Path, name: str) -> list[Path]:
    """What has this name below a folder, sorted; what goes while we look, as in /proc, is not
    there.
    """
    return sorted(
        Path(folder) / name
        for folder, folders, files in os.walk(root)
        if name in (*files, *folders)
    )


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all. UserError if the disk refuses."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(
        f".{path.name}.{uuid4().hex}"
    )  # not mkstemp, whose files are closed to colleagues
    if path.exists() and not path.is_file():
        raise UserError(f"cannot write {path}: it is no file, and stays; choose another name")
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
    if len(value.encode()) > LONGEST:  # a lock is named after three of them
        raise UserError(f"{key} names a folder: at most {LONGEST} bytes, got '{value[:40]}…'")
    return value
