"""Runs that have ended, from wherever they lie: run folders, study folders, runs.jsonl files, the
latter also compressed (runs.jsonl.gz).

No torch, no pandas.

What cannot be read as a run is skipped, and one warning names all of it.

A line of runs.jsonl is a record with two more keys: `overrides`, what was typed (or null), and
`curve`, which maps a split to its columns, each a list with null where there is no number:
{"valid": {"step": [10, 20], "mse": [0.2, null]}}.
"""

import gzip
import io
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnnbench.errors import UserError
from rnnbench.runs.checksums import check_yaml
from rnnbench.runs.form import ENDED
from rnnbench.runs.records import SCHEMA, CurveRow, Folder, is_record, parsed, record_files

LOADER = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
LONGEST, DEEPEST = 1_000_000, 20  # bytes and levels of a config.yaml that a run may leave
SHOWN = 5  # line numbers of one file in the warning
FILES = ("runs.jsonl.gz", "runs.jsonl")  # what `rnnbench study` and `rnnbench collect` write


@dataclass(frozen=True)
class EndedRun:
    """A record, the run folder or the file it was read from, and, from a file, what else its line
    held.
    """

    record: dict[str, Any]
    place: Path
    beside: Mapping[str, Any] | None = None

    @property
    def overrides(self) -> list[str] | None:
        """What was typed; None if it is not known."""
        found: Any
        if self.beside is not None:
            found = self.beside.get("overrides")
        else:
            try:
                found = yaml.load((self.place / "overrides.yaml").read_bytes(), LOADER)
            except (OSError, ValueError, yaml.YAMLError):
                return None
        return (
            found
            if isinstance(found, list) and found and all(isinstance(o, str) for o in found)
            else None
        )

    def curve(self) -> list[CurveRow]:
        """Its curve, rows by step.

        Raises OSError, ValueError or TypeError if there is none that can be read.
        """
        if self.beside is None:
            return Folder(self.place).curve()
        return interleaved(self.beside.get("curve"))


def gather(*places: str | Path) -> list[EndedRun]:
    """Every ended run in these places, sorted by study, task, cell, seed and id.

    An id found twice counts once: results before failures, newer schemas before older, places named
        first before later ones. UserError if a place does not exist or no place holds a run.
    """
    runs: dict[str, EndedRun] = {}
    skipped: list[str] = []
    for place in places:
        if not Path(place).expanduser().exists():  # before others are read, which may be many
            raise _missing(place)
    for place in places:
        for run in _found(Path(place).expanduser(), skipped):
            known = runs.setdefault(run.record["id"], run)
            if rank(run.record) > rank(known.record):
                runs[run.record["id"]] = run
    if skipped:
        warnings.warn(
            f"skipped what is torn, truncated or no record of rnnbench: {', '.join(skipped)}",
            stacklevel=3,
        )
    if not runs:
        named = ", ".join(f"'{place}'" for place in places) or "no place"
        raise UserError(
            f"no finished run in {named}: no readable record.json or line of a runs.jsonl; "
            f"rnnbench train makes runs"
        )
    return sorted(
        runs.values(),
        key=lambda run: (*(run.record[key] for key in ("study", "task", "cell", "seed", "id")),),
    )


def rank(record: Mapping[str, Any]) -> tuple[bool, int]:
    """Greater for the record to keep of two with the same id."""
    return record["status"] in ENDED, record["schema"]


def _found(place: Path, skipped: list[str]) -> Iterator[EndedRun]:
    if place.is_dir():
        found = record_files(place)
        for path in found:
            record = _parsed(path)
            if is_record(record):
                yield EndedRun(record, path.parent)
            else:
                skipped.append(str(path))
        for name in FILES if not found else ():  # run folders are what the file was made from
            if (place / name).is_file():
                yield from lines(place / name, skipped)
    elif place.name == "record.json":
        yield from _found(place.parent, skipped)
    elif place.is_file():
        yield from lines(place, skipped)
    else:
        raise _missing(place)


def _missing(place: str | Path) -> UserError:
    return UserError(
        f"no folder or file '{place}'; runs land in results/runs/<study> unless paths.results "
        f"says otherwise"
    )


def _parsed(path: Path) -> Any:
    """What a JSON file holds; None if it cannot be read.

    `Folder.record` would tell of it a second time.
    """
    try:
        return parsed(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def lines(path: Path, skipped: list[str]) -> Iterator[EndedRun]:
    """The runs in a runs.jsonl; what cannot be read, a torn last line for example, is added to
    `skipped` with its line number.
    """
    bad: list[str] = []
    for number, line in enumerate(raw_lines(path), 1):
        if not line.strip():
            continue
        try:
            found = parsed(line)
        except (ValueError, RecursionError):
            found = None
        if is_record(found):
            beside = {key: found.pop(key, None) for key in ("overrides", "curve")}
            yield EndedRun(found, path, beside)
        else:
            bad.append(str(number))
    if bad:
        more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        skipped.append(f"{path} (line {', '.join(bad[:SHOWN])}{more})")


@dataclass(frozen=True)
class Contents:
    """What a runs.jsonl holds, for who writes it anew.

    known: the ids of runs of this version's and older schemas. newer: id → line of a schema that
        only a newer version reads. unread: how many other lines there are.
    """

    known: dict[str, None]
    newer: dict[str, str]
    unread: int


def contents(path: Path) -> Contents:
    """Every line of a runs.jsonl. UserError if it is no file that can be read."""
    made = Contents({}, {}, 0)
    for text in filter(bytes.strip, raw_lines(path)):
        try:
            found = parsed(text)
        except (ValueError, RecursionError):
            found = None
        if is_record(found):
            made.known[found["id"]] = None
        elif is_newer(found):
            made.newer[found["id"]] = text.decode().rstrip("\n")
        else:
            made = replace(made, unread=made.unread + 1)
    return made


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a runs.jsonl, unpacked on the way if its name ends in .gz; for what does not
    unpack, one line that is no record.

    Raises UserError if there is no file that can be read.
    """
    try:
        if path.suffix == ".gz":  # whole: its checksum stands at the end
            yield from gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        else:
            with path.open("rb") as file:
                yield from file
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield b"(this does not unpack)"
    except OSError as error:
        raise UserError(f"cannot read '{path}': {error.strerror}") from None


def is_newer(found: Any) -> bool:
    """Whether this is a record in a format of the future."""
    return (
        isinstance(found, dict)
        and type(found.get("schema")) is int
        and found["schema"] > SCHEMA
        and isinstance(found.get("id"), str)
    )


def read_settings(path: Path) -> Any:
    """What a config.yaml holds, as plain values; a stranger's may be anything.

    Raises Damaged if it was sealed and is not what was written, OSError, or ValueError if it is no
    YAML, or one that no run leaves: huge, deep, with aliases or interpolations.
    """
    with path.open("rb") as file:
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise ValueError(f"longer than {LONGEST} bytes")
    text, depth = check_yaml(data).decode(), 0
    try:
        for event in yaml.parse(text, LOADER):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST or isinstance(event, yaml.AliasEvent):
                raise ValueError("nested too deeply, or with aliases")
        if "${" in text:
            raise ValueError("with interpolations")
        return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ValueError(" ".join(str(error).split())) from None


def interleaved(curve: Any) -> list[CurveRow]:
    """The columns of a line of runs.jsonl as rows by step; a row lacks what is null.

    TypeError or ValueError for anything else.
    """
    if not isinstance(curve, dict):
        raise TypeError("no curve")
    rows: list[CurveRow] = []
    for split, columns in curve.items():
        for values in zip(*columns.values(), strict=True):
            pairs = dict(zip(columns, values, strict=True))
            step = pairs.pop("step", None)
            if not isinstance(step, int):
                raise ValueError("a curve without steps")
            rows.append(
                {"step": step, "split": split}
                | {name: float(value) for name, value in pairs.items() if value is not None}
            )
    return sorted(rows, key=lambda row: row["step"])  # stable: train stays before valid


def columns(
    rows: Iterable[CurveRow], keep: Mapping[str, Sequence[int]]
) -> dict[str, dict[str, list[Any]]]:
    """Rows of a curve as `interleaved` reads them; of each split only the rows whose numbers are in
    `keep`.
    """
    splits: dict[str, list[CurveRow]] = {}
    for row in rows:
        splits.setdefault(row["split"], []).append(row)
    made: dict[str, dict[str, list[Any]]] = {}
    for split, members in splits.items():
        chosen = [members[k] for k in keep[split]]
        names = dict.fromkeys(name for row in chosen for name in row if name != "split")
        made[split] = {name: [row.get(name) for row in chosen] for name in names}
    return made
