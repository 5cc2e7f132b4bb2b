"""Data files: which there are (`data.yaml`), and how one comes into the cache, whole and verified
or not at all.

A file is looked for in the cache (`paths.data`), then in the mirror (`paths.mirror`, a folder or a
URL), then on the internet. Whatever the source, its SHA-256 is checked before the file gets its
name, so that a file in the cache is never half-written, also when processes fetch it at the same
time. Nothing here opens a file's contents. No torch.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.request import urlopen
from uuid import uuid4

from omegaconf import OmegaConf

from rnnbench.errors import UserError, unknown
from rnnbench.settings import Paths

TIMEOUT = 20  # seconds without a byte, after which a source counts as unreachable
CHUNK = 1 << 20


@dataclass(frozen=True)
class DataFile:
    """One file of the catalogue. name: its path below the cache, and below a mirror."""

    name: str
    bytes: int
    sha256: str
    urls: tuple[str, ...]
    what: str
    licence: str


class DataState(NamedTuple):
    """A line of `rnnbench data list` or `check`; only `present`, `absent` and `ok` are healthy
    states.
    """

    name: str
    bytes: int
    state: str
    what: str
    licence: str


class Unreachable(Exception):
    """A source has no such file, or does not answer."""


@cache
def catalogue() -> dict[str, DataFile]:
    """Every known data file by name."""
    files = {}
    groups: Any = OmegaConf.to_container(OmegaConf.load(Path(__file__).with_suffix(".yaml")))
    for folder, group in groups.items():
        for file, (size, sha256) in group["files"].items():
            urls = tuple(source + file for source in group["sources"])
            files[f"{folder}/{file}"] = DataFile(
                f"{folder}/{file}", size, sha256, urls, group["what"], group["licence"]
            )
    return files


def listing(paths: Paths) -> list[DataState]:
    """What there is and what is here, by size alone: quick. States: present, absent, wrong size."""
    return [_row(file, _quick_state(file, _place(file, paths))) for file in catalogue().values()]


def check(paths: Paths) -> list[DataState]:
    """The same with every present file read and its checksum compared.

    States: ok, absent, corrupt (found …).
    """
    rows = []
    for file in catalogue().values():
        place = _place(file, paths)
        found = _found(place) if place.is_file() else file.sha256
        state = (
            "absent"
            if not place.is_file()
            else "ok"
            if found == file.sha256
            else f"corrupt (found SHA-256 {found})"
        )
        rows.append(_row(file, state))
    return rows


def fetch_all(
    names: Sequence[str] | None, paths: Paths, say: Callable[[str], None] = print
) -> list[Path]:
    """Fetch the named files or folders of files (`ptb`), or everything; replace what is corrupt.

    Returns their paths.

    A file that cannot be had does not keep the others from coming; UserError at the end says how
    many are missing.
    """

    def attempt(name: str) -> Path | None:
        try:
            return fetch(name, paths, say, replace=True)
        except UserError as error:
            say(str(error))
            return None

    places = {name: attempt(name) for name in _chosen(names)}
    if missing := [name for name, place in places.items() if place is None]:
        raise UserError(
            f"{len(missing)} of {len(places)} data files could not be fetched: {', '.join(missing)}"
        )
    return [place for place in places.values() if place is not None]


def is_here(name: str, paths: Paths) -> bool:
    return name in catalogue() and _place(catalogue()[name], paths).is_file()


def fetch(
    name: str, paths: Paths, say: Callable[[str], None] = print, *, replace: bool = False
) -> Path:
    """The path of a data file in the cache, where it is put first if it is missing (or corrupt,
    with `replace`).

    UserError, in one line: unknown name, corrupt file in the cache or the mirror, no source, cache
        not writable.
    """
    if name not in catalogue():
        raise unknown("data file", name, catalogue(), "rnnbench data list")
    file = catalogue()[name]
    place = _place(file, paths)
    if place.is_file():
        found = _found(place)
        if found == file.sha256:
            return place
        if not replace:
            remedy = f"delete it, or replace it with: rnnbench data fetch {name}"
            raise UserError(
                f"{place} is corrupt: expected SHA-256 {file.sha256}, found {found}; {remedy}"
            )
        say(f"{place} is corrupt and will be replaced")
    failures = []
    for source, is_mirror in _sources(file, paths):
        try:
            found = _bring(source, place, file, say)
        except Unreachable as error:
            failures.append(f"{source}: {error}")
            continue
        if found == file.sha256:
            return place
        if is_mirror:
            raise UserError(
                f"the mirror's {source} is corrupt: expected SHA-256 {file.sha256}, found "
                f"{found}; repair it or unset paths.mirror"
            )
        failures.append(f"{source}: wrong SHA-256 {found}")
    remedy = (
        f"put the file with SHA-256 {file.sha256} at {place}, or set paths.mirror (or "
        f"RNNBENCH_MIRROR) to a folder or URL that has {name}"
    )
    raise UserError(f"cannot fetch {name} ({'; '.join(failures)}); {remedy}")


def _chosen(names: Sequence[str] | None) -> list[str]:
    chosen: list[str] = []
    for name in catalogue() if names is None else names:
        matching = [
            known
            for known in catalogue()
            if known == name or known.startswith(name.rstrip("/") + "/")
        ]
        if not matching:
            raise unknown("data file", name, catalogue(), "rnnbench data list")
        chosen += [known for known in matching if known not in chosen]
    return chosen


def _row(file: DataFile, state: str) -> DataState:
    return DataState(file.name, file.bytes, state, file.what, file.licence)


def _place(file: DataFile, paths: Paths) -> Path:
    return Path(paths.data).expanduser().absolute() / file.name


def _quick_state(file: DataFile, place: Path) -> str:
    if not place.is_file():
        return "absent"
    return "present" if place.stat().st_size == file.bytes else "wrong size"


def _found(place: Path) -> str:
    """The SHA-256 of a file; read once per process unless the file changes."""
    try:
        stat = place.stat()
        return _digest(place, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise UserError(
            f"cannot read {place}: {error.strerror}; make it readable or delete it"
        ) from None


@cache
def _digest(place: Path, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with place.open("rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def _sources(file: DataFile, paths: Paths) -> Iterator[tuple[str, bool]]:
    """(folder path or URL of the file, whether it is the mirror's), in the order in which they are
    asked.
    """
    if paths.mirror:
        base = (
            paths.mirror
            if "://" in paths.mirror
            else str(Path(paths.mirror).expanduser().absolute())
        )
        yield f"{base.rstrip('/')}/{file.name}", True
    yield from ((url, False) for url in file.urls)


def _bring(source: str, place: Path, file: DataFile, say: Callable[[str], None]) -> str:
    """Copy `source` to `place` if its checksum is right; say what it was otherwise.

    Unreachable, or UserError.
    """
    # one byte too many is enough to know that it is another file
    digest, left = hashlib.sha256(), file.bytes + 1

    def chunks() -> Iterator[bytes]:
        nonlocal left
        with _reading(source) as stream:
            say(f"fetching {file.name} ({file.bytes / 1e6:.1f} MB) from {source}")
            while left and (chunk := _read(stream, min(CHUNK, left))):
                left -= len(chunk)
                digest.update(chunk)
                yield chunk

    _write(place, chunks(), accept=lambda: digest.hexdigest() == file.sha256)
    return digest.hexdigest() if left else f"more than {file.bytes} bytes"


def _reading(source: str) -> BinaryIO:
    try:
        return urlopen(source, timeout=TIMEOUT) if "://" in source else Path(source).open("rb")  # type: ignore[no-any-return]
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(_reason(error)) from None


def _read(stream: BinaryIO, size: int) -> bytes:
    try:
        return stream.read(size)
    except (OSError, HTTPException) as error:
        raise Unreachable(_reason(error)) from None


def _reason(error: Exception) -> str:
    """A few words: the operating system's where there are any, without numbers and without the
    path.
    """
    cause = getattr(error, "reason", error)  # URLError wraps what happened
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__)


def _write(place: Path, chunks: Iterable[bytes], accept: Callable[[], bool]) -> None:
    """Write `chunks` beside `place` and give them its name if `accept()` says so; otherwise leave
    nothing behind.
    """
    part = place.with_name(f".{place.name}.{uuid4().hex}.part")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as stream:
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        if accept():
            part.replace(place)
    except OSError as error:
        raise UserError(
            f"cannot write {place}: {error.strerror}; make room there, or set paths.data to "
            f"another folder"
        ) from None
    finally:
        # the rename has already taken it away if all went well; a folder that cannot be read has
        # nothing to remove
        if os.access(part, os.F_OK):
            part.unlink()
