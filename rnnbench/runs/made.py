"""Files of ours in folders that hold other people's, too: we overwrite and delete only what we
wrote.

Each such folder has a manifest of what was written there and by what. A file that is not in it, or
that was edited since, is refused by name before anything is written.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.runs.records import write

MANIFEST = ".made-by-rnnbench.json"
SHOWN = 5  # files in the way that a message names

Known = dict[str, dict[str, list[str]]]  # what wrote them → file → SHA-256 of what it may hold


def add_file(path: Path, content: str | bytes, by: str = "files") -> Path:
    """Write one file. UserError if something that we did not write is in the way."""
    data = content.encode() if isinstance(content, str) else content
    _put(path.parent, {path.name: data}, by, keep=True)
    return path


def put_files(folder: Path, files: Mapping[str, bytes], by: str, adopt: bool = False) -> None:
    """Write all files of one kind into a folder, and remove those of an earlier call that are not
    among them and were not edited since.

    files: path in the folder → content, written in this order. adopt: the folder has no manifest
        but is known to be ours; files of these names are overwritten. Raises UserError, before
        anything is written, if something that we did not write is in the way.
    """
    _put(folder, files, by, keep=False, adopt=adopt)


def _put(
    folder: Path, files: Mapping[str, bytes], by: str, keep: bool, adopt: bool = False
) -> None:
    known = _read(folder)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    expected: dict[str, set[str]] = {name: {digest} for name, digest in digests.items()}
    for made in known.values():
        for name, possible in made.items():
            expected.setdefault(name, set()).update(possible)
    if not (adopt and not known):
        refuse_foreign(folder, {name: expected[name] for name in files})
    before = known.get(by, {})
    during = {name: [*before.get(name, []), digest] for name, digest in digests.items()}
    _note(folder, known | {by: before | during})  # first: what a killed process wrote is known
    for name, content in files.items():
        write(folder / name, content)
    stale = {} if keep else {name: before[name] for name in before.keys() - files.keys()}
    for name, possible in stale.items():
        if _digest(folder / name) in possible:
            with suppress(OSError):
                (folder / name).unlink()
    left = {name: possible for name, possible in before.items() if name not in stale}
    _note(folder, known | {by: left | {name: [digest] for name, digest in digests.items()}})


def refuse_foreign(folder: Path, expected: Mapping[str, set[str]]) -> None:
    """UserError for what stands in the place of these files and holds something else.

    expected: path in the folder → SHA-256 of what may be overwritten.
    """
    foreign = [
        name
        for name, possible in expected.items()
        if ((folder / name).exists() or (folder / name).is_symlink())
        and _digest(folder / name) not in possible
    ]
    parents = {parent for name in expected for parent in (folder / name).parents}
    foreign += [
        str(parent) for parent in sorted(parents) if parent.exists() and not parent.is_dir()
    ]
    if foreign:
        shown = ", ".join(str(folder / name) for name in foreign[:SHOWN])
        more = f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else ""
        raise UserError(
            f"in the way, and not written by rnnbench or edited since: {shown}{more}; move that "
            f"away, or choose another place with --out"
        )


def clear_events(folder: Path) -> None:
    """Remove TensorBoard's event files below a folder, and the folders that are empty then."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what a folder holds before the folder
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            elif path.name.startswith("events.out.tfevents."):
                path.unlink()


def _digests(files: Any) -> dict[str, list[str]]:
    return {str(name): [str(digest) for digest in possible] for name, possible in files.items()}


def _read(folder: Path) -> Known:
    """The manifest; empty where there is none, or none that can be read."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
        return {str(by): _digests(files) for by, files in found.items()}
    except (OSError, ValueError, RecursionError, AttributeError, TypeError):
        return {}


def _note(folder: Path, known: Known) -> None:
    write(folder / MANIFEST, json.dumps(known, indent=0, sort_keys=True) + "\n")


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    except OSError:
        return None
