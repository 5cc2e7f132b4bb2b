"""Run a sweep: what has ended is skipped, the rest goes in packs to workers, and nothing that
happens to one run ends it.

Two sweeps of the same runs share the work: each run is trained by whoever claims it first, and both
end when all is done.
"""

import os
import socket
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from rnnbench.errors import Interrupted, SomeFailed, UserError
from rnnbench.runs.lock import holder
from rnnbench.runs.records import TORN, Folder, write
from rnnbench.settings import one_of
from rnnbench.signals import listen, restore
from rnnbench.sweep import manifest
from rnnbench.sweep.backends import BACKENDS, gpus
from rnnbench.sweep.packs import packs
from rnnbench.sweep.planning import Job
from rnnbench.sweep.progress import SweepProgress
from rnnbench.sweep.view import View
from rnnbench.sweep.work import BESIDE, Ended, Orders, lost

TORN_AFTER = 60  # seconds after which nobody writes a file any more
DEATHS = 3  # after so many workers died under a run, it is recorded as failed


@dataclass(frozen=True)
class Options:
    """backend: loky, ray, dask, submitit. workers: processes; None: one per core, or one per GPU.

    pack: most runs trained together.

    retry: `failed` repeats runs that failed before, `none` leaves them. fail_fast: the first
        failure stops the sweep.
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


def launch(jobs: Sequence[Job], options: Options, command: str) -> bool:
    """Train every job that has not ended; whether any run has ended since.

    Raises Interrupted or SomeFailed when it did not go to the end.

    command: what was typed, for the message that says how to go on.
    """
    unique = {job.folder.path: job for job in jobs}
    manifest.note(list(unique), command)
    workers = options.workers or default_workers(jobs)
    study = next(iter(unique)).parents[2].absolute()
    going = study / ".sweeps" / f"going-{uuid4().hex[:12]}"
    clean(going.parent)
    write(going, f"{socket.gethostname()} {os.getpid()}\n{command}")
    orders = Orders(going, Path.cwd())
    progress = SweepProgress(unique, options.retry)
    stopping = Stopping(going)
    try:
        with View(progress, workers, options.fail_fast, orders) as view, stopping:
            rounds(progress, view, orders, options, workers)
    except KeyboardInterrupt:
        raise Interrupted(
            f"workers were stopped at once; to go on from the last checkpoints:\n  {command}"
        ) from None
    finally:
        for left in (going, orders.log, orders.notes):
            with suppress(OSError):
                left.unlink()
    states = progress.states()
    if stopping.asked and states["left"]:
        raise Interrupted(f"what was running is saved; to go on:\n  {command}")
    if states["failed"]:
        early = (
            f"fail_fast stopped the sweep, {states['left']} runs are left"
            if states["left"]
            else "the same command repeats them"
        )
        raise SomeFailed(
            f"{states['failed']} of {len(unique)} runs failed (rnnbench status {study.name}); "
            f"{early}"
        )
    return bool(progress.fresh())


def clean(folder: Path) -> None:
    """Remove what sweeps of this machine that were killed have left in a folder `.sweeps`: orders,
    what their workers said, half-written files.
    """
    for left in [path for path in folder.glob(".*") if TORN.fullmatch(path.name)]:
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > TORN_AFTER:
                left.unlink()
    for going in folder.glob("going-*"):
        if going.suffix in BESIDE:
            continue
        with suppress(OSError, ValueError):
            host, process = going.read_text("utf-8").splitlines()[0].split()
            if host == socket.gethostname() and not _lives(int(process)):
                going.unlink()
    for said in [path for path in folder.glob("going-*") if path.suffix in BESIDE]:
        if not said.with_suffix("").exists():
            with suppress(OSError):
                said.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def rounds(
    progress: SweepProgress, view: View, orders: Orders, options: Options, workers: int
) -> None:
    """Hand packs to workers until every run has ended or the orders are to stop.

    What comes back without an end (a worker died; another process had claimed the run) is in the
    next round. The runs of a worker that died come back in smaller packs, then alone: it may have
    been for memory, or because of one of them.
    """
    sizes = (options.pack, -(-options.pack // 4), 1)
    deaths: Counter[Path] = Counter()
    while (left := progress.left()) and not orders.stopped():
        free = {path: job for path, job in left.items() if holder(Folder(path)) is None}
        if not free:
            view.wait_for_others(len(left))
            time.sleep(1)
            continue
        made = []
        for died, size in enumerate(sizes):
            jobs_left = [job for path, job in free.items() if deaths[path] == died]
            made += packs(jobs_left, size, workers)
        view.round(len(made))
        for pack, ended in BACKENDS[options.backend](made, workers, orders, options.cluster):
            view.pack_done()
            settle(pack, ended, progress, view, deaths, orders)


def settle(
    pack: Sequence[Job],
    ended: list[Ended] | None,
    progress: SweepProgress,
    view: View,
    deaths: Counter[Path],
    orders: Orders,
) -> None:
    """Note what became of a pack; record as failed what has taken too many workers with it."""
    for folder, status, unrecorded in ended or ():
        if unrecorded:
            progress.failed_unrecorded(folder, unrecorded)
        deaths[folder] += status == "interrupted" and not orders.stopped()
    if ended is None and not orders.stopped():
        said = last_words(orders.log)
        view.say(f"a worker died{said}; its {len(pack)} runs go on from their checkpoints")
        deaths.update(job.folder.path for job in pack)
    left = progress.left(job.folder.path for job in pack)
    for job in pack:
        path = job.folder.path
        if deaths[path] >= DEATHS and path in left:
            became = lost(job, DEATHS)
            if became.unrecorded:
                progress.failed_unrecorded(path, became.unrecorded)


def last_words(log: Path) -> str:
    """Of all workers, for who wonders why one died: the last line that they said."""
    with suppress(OSError):
        if lines := log.read_text("utf-8", "replace").strip().splitlines():
            return f" (the last that workers said: {lines[-1][:200]})"
    return ""


def default_workers(jobs: Sequence[Job]) -> int:
    """One per GPU if runs go there, else one per core that this process may use."""
    from joblib import cpu_count

    named = {
        job.settings.engine.device for job in jobs if job.settings.engine.device.startswith("cuda:")
    }
    return len(named) or len(gpus(jobs)) or int(cpu_count())


class Stopping:
    """Ctrl-C and SIGTERM ask all workers, through a file that they watch, to save and stop; once
    more ends it all at once.
    """

    def __init__(self, going: Path) -> None:
        self.going, self.asked = going, False

    def __enter__(self) -> None:
        self.before = listen(self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.going.unlink(missing_ok=True)
        with suppress(OSError):  # the terminal may be gone
            print("\nstopping: workers save and end; once more to stop at once", flush=True)

    def __exit__(self, *_: object) -> None:
        restore(self.before)
