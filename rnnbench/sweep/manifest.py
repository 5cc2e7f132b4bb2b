"""What a study is to hold: every sweep notes the runs that it planned, so that what is missing can
be told.

One file per distinct sweep, named by its content: the same command writes the same file.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnbench.errors import UserError
from rnnbench.runs.lock import holder
from rnnbench.runs.records import Folder, write


@dataclass(frozen=True)
class RunState:
    """A run of a study. state: a status of records, or `running`, `interrupted`, `missing`.

    record: if it has ended. holder: the process that trains it now, if one does.
    """

    folder: Folder
    state: str
    record: dict[str, Any] | None = None
    holder: str | None = None


def note(runs: Sequence[Path], command: str) -> None:
    """Write down what a sweep is to run."""
    by_study: dict[Path, list[str]] = {}
    for path in runs:
        by_study.setdefault(path.parents[2], []).append("/".join(path.parts[-3:]))
    for study, names in by_study.items():
        text = json.dumps({"command": command, "runs": sorted(names)}, indent=0)
        write(study / ".sweeps" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json", text)


def members(study: Path) -> Iterator[RunState]:
    """Every run that was planned for a study or is in its folder. UserError if there is none."""
    try:
        names = {
            "/".join(path.parent.parts[-3:])
            for kind in ("config.yaml", "record.json")
            for path in study.glob(f"*/*/*/{kind}")
        }
        for file in sorted(study.glob(".sweeps/*.json")):
            names |= set(_planned(file))
    except OSError as error:  # a folder that goes while we look, as in /proc
        raise UserError(f"cannot read '{error.filename or study}': {error.strerror}") from None
    if not names:
        raise UserError(
            f"no runs in '{study}'; a study is a folder of paths.results, named by study=NAME"
        )
    for name in sorted(names):
        yield _member(Folder(study / name))


def _planned(file: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(file.read_text("utf-8"))["runs"]]
    except (OSError, ValueError, KeyError, TypeError):  # a foreign file
        return []


def _member(folder: Folder) -> RunState:
    if (process := holder(folder)) is not None:
        return RunState(folder, "running", holder=process)
    if (record := folder.record()) is not None:
        return RunState(folder, record["status"], record)
    return RunState(folder, "interrupted" if folder.path.exists() else "missing")
