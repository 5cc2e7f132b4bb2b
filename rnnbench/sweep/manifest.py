"""What a study is to hold: every sweep notes the runs that it planned, so that what is missing can be told.

One file per distinct sweep, named by its content: the same command writes the same file.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnbench.claims import is_claimed
from rnnbench.errors import UserError
from rnnbench.records import Folder, write
from rnnbench.sweep.planning import Job


@dataclass(frozen=True)
class Member:
    """A run of a study: where it is, and what has become of it: a status of records, `running`, `interrupted` or `missing`."""

    id: str
    task: str
    cell: str
    state: str
    seconds: float


def note(jobs: Sequence[Job], command: str) -> None:
    """Write down what a sweep is to run."""
    by_study: dict[Path, list[list[str]]] = {}
    for job in jobs:
        path = Folder.of(job.settings).path
        by_study.setdefault(path.parents[2], []).append([*path.parts[-3:]])
    for study, runs in by_study.items():
        text = json.dumps({"command": command, "runs": sorted(runs)}, indent=0)
        write(study / ".sweeps" / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json", text)


def members(study: Path) -> Iterator[Member]:
    """Every run that was planned for a study or is in its folder. UserError if there is none."""
    planned = {tuple(run) for file in sorted(study.glob(".sweeps/*.json")) for run in json.loads(file.read_text("utf-8"))["runs"]}
    present = {path.parent.parts[-3:] for path in study.glob("*/*/*/config.yaml")}
    if not planned | present:
        raise UserError(f"no runs in '{study}'; studies are folders of {study.parent}")
    for task, cell, name in sorted(planned | present):
        yield _member(Folder(study / task / cell / name), task, cell)


def _member(folder: Folder, task: str, cell: str) -> Member:
    record = folder.record()
    if record is not None:
        seconds = sum((record.get("seconds") or {}).values()) / record.get("replicas", 1)
        return Member(folder.path.name, task, cell, record["status"], seconds)
    state = "running" if is_claimed(folder) else "interrupted" if folder.path.exists() else "missing"
    return Member(folder.path.name, task, cell, state, 0.0)
