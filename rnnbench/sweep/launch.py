"""Run a sweep: what has ended is skipped, the rest goes in packs to workers, and nothing that happens to one run ends it."""

import shlex
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from rnnbench.errors import Interrupted, SomeFailed, UserError
from rnnbench.records import Folder
from rnnbench.settings import one_of
from rnnbench.sweep import manifest
from rnnbench.sweep.backends import BACKENDS
from rnnbench.sweep.packs import packs
from rnnbench.sweep.planning import Job
from rnnbench.sweep.view import View
from rnnbench.sweep.work import lost

ATTEMPTS = 3  # how often a run is handed to a worker that dies


@dataclass(frozen=True)
class Options:
    """backend: loky, ray, dask, submitit. workers: processes; None: one per core. pack: most runs trained together.

    retry: `failed` repeats runs that failed before, `none` leaves them. fail_fast: the first failure stops the sweep.
    cluster: options for the backend, as they are.
    """

    backend: str = "loky"
    workers: int | None = None
    pack: int = 32
    retry: str = "failed"
    fail_fast: bool = False
    cluster: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("backend", self.backend, BACKENDS)
        one_of("retry", self.retry, ("failed", "none"))
        for name, value in (("workers", self.workers), ("pack", self.pack)):
            if value is not None and value < 1:
                raise UserError(f"{name} must be at least 1, got {value}")


def launch(jobs: Sequence[Job], options: Options, arguments: Sequence[str]) -> None:
    """Train every job that has not ended. Raises Interrupted or SomeFailed when it did not go to the end.

    arguments: what was typed, for the message that says how to go on.
    """
    from joblib import cpu_count

    unique = list({Folder.of(job.settings).path: job for job in jobs}.values())
    manifest.note(unique, f"rnnbench train {shlex.join(arguments)}")
    workers = options.workers or cpu_count()
    study = Folder.of(unique[0].settings).path.parents[2]
    stop = study / ".sweeps" / f"stop-{uuid4().hex[:12]}"
    with View(unique, workers, options.fail_fast, stop) as view, _stopping(stop, view):
        for attempt in range(ATTEMPTS):
            open_jobs = [job for job in unique if view.is_open(job, options.retry)]
            if not open_jobs or stop.exists():
                break
            made = packs(open_jobs, max(1, options.pack // 4**attempt), workers)  # smaller ones, if it was for memory
            view.packs(len(made), again=attempt > 0)
            BACKENDS[options.backend](made, workers, stop, options.cluster)
        else:
            for job in unique:
                if view.is_open(job, "none"):
                    lost(job, ATTEMPTS)
        states = view.final()
    _tell(states, stop, arguments)


class _stopping:
    """Ctrl-C and SIGTERM ask all workers, through a file that they look for, to save and stop."""

    def __init__(self, stop: Path, view: View) -> None:
        self.stop, self.view = stop, view

    def __enter__(self) -> None:
        self.before = {s: signal.signal(s, self._asked) for s in (signal.SIGINT, signal.SIGTERM)}

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.stop.exists():
            raise KeyboardInterrupt
        self.stop.parent.mkdir(parents=True, exist_ok=True)
        self.stop.touch()
        self.view.say("stopping: workers save and end; once more to stop at once")

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


def _tell(states: Counter[str], stop: Path, arguments: Sequence[str]) -> None:
    stopped = stop.exists()
    with suppress(OSError):
        stop.unlink()
    again = f"rnnbench train {shlex.join(arguments)}"
    if stopped and states["failed"]:
        raise SomeFailed(f"stopped at the first failure (fail_fast); to go on: {again}")
    if stopped:
        raise Interrupted(f"what was running is saved; to go on: {again}")
    if states["failed"]:
        raise SomeFailed(f"{states['failed']} of {sum(states.values())} runs failed; their record.json says why; the same command repeats them")
