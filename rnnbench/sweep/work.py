"""What a worker does with a pack: train what is free, and turn every failure into a record instead of an end.

Runs in a process of its own, on this machine or another; results go to the runs' folders, so nothing is lost with it.
"""

import os
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rnnbench.claims import claim
from rnnbench.errors import Interrupted, UserError
from rnnbench.records import SCHEMA, Folder
from rnnbench.sweep.planning import Job


class Quiet:
    """A watcher that says nothing, and stops when the file `stop` appears."""

    def __init__(self, stop: Path) -> None:
        self.stop = stop

    def start(self, pack: Any, step: int) -> None: ...

    def stepped(self, step: int, loss_K: Any) -> None: ...

    def validated(self, rows: Any) -> None: ...

    def interrupted(self) -> bool:
        return self.stop.exists()


def work(jobs: Sequence[Job], stop: Path) -> list[tuple[str, str]]:
    """Train the jobs of one pack that have not ended and that nobody else is training: (id, what became of it).

    What became of it: a status of records, or `interrupted`, or `elsewhere` for a run that another process has taken.
    """
    outcome = {}
    with ExitStack() as held:
        free = []
        for job in jobs:
            folder = Folder.of(job.settings)
            if claim(held, folder):
                record = folder.record()
                if record is not None and record["status"] != "failed":  # ended since the sweep was planned
                    outcome[folder.path.name] = record["status"]
                else:
                    free.append(job)
            else:
                outcome[folder.path.name] = "elsewhere"
        outcome |= _trained(free, stop)
    return list(outcome.items())


def _trained(jobs: Sequence[Job], stop: Path) -> dict[str, str]:
    """Train together; if that fails, halves of the pack, so that one failing run takes no other with it."""
    from rnnbench.engine.run import run_pack

    if not jobs:
        return {}
    try:
        records = run_pack([job.settings for job in jobs], [job.overrides for job in jobs], Quiet(stop), lambda text: None)
        return {record["id"]: record["status"] for record in records}
    except Interrupted:
        return {Folder.of(job.settings).path.name: "interrupted" for job in jobs}
    except Exception as error:  # a user's cell may raise anything; memory may run out
        if len(jobs) > 1:
            half = len(jobs) // 2
            return _trained(jobs[:half], stop) | _trained(jobs[half:], stop)
        return {_failed(jobs[0], error): "failed"}


def lost(job: Job, attempts: int) -> None:
    """Record a run whose workers died under it."""
    _failed(job, UserError(f"its worker was killed {attempts} times, perhaps for memory; use a smaller batch or fewer units"))


def _failed(job: Job, error: Exception) -> str:
    """Record a failure with its traceback; returns the run's id."""
    folder, run = Folder.of(job.settings), job.settings
    reason = str(error) if isinstance(error, UserError) else "".join(traceback.format_exception(error))
    empty = dict.fromkeys(
        ("hidden", "params", "steps", "best", "final", "primary", "baseline", "target", "solved_at", "seconds", "throughput", "peak_memory_bytes")
    )
    named = {"schema": SCHEMA, "id": folder.path.name, "study": run.study, "cell": run.cell.name, "task": run.task["name"], "seed": run.seed}
    try:
        folder.open(run, job.overrides)
        folder.write_record(named | {"status": "failed", "reason": reason, "settings": asdict(run)} | empty | {"engine": run.engine.name})
    except UserError as full:  # no space even for that: the sweep's own output is all that is left
        os.write(2, f"rnnbench: {folder.path.name} failed, and so did its record: {full}\n".encode())
    return folder.path.name
