"""What a worker does with a pack: train what is free, and turn every failure into a record instead
of an end.

Runs in a process of its own, on this machine or another; results go to the runs' folders, so
nothing is lost with it.
"""

import os
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rnnbench.errors import Interrupted, UserError
from rnnbench.runs.lock import claim
from rnnbench.runs.records import SCHEMA
from rnnbench.sweep.planning import Job

# of this process, if it is a worker of this machine
BUSY, LEAVING = threading.Lock(), threading.Event()

BESIDE = LOG, NOTES = ".log", ".notes"  # files beside the orders, by how their names end


@dataclass(frozen=True)
class Orders:
    """What a worker obeys.

    going: a file; when it is gone, workers save and stop (deleting works on a full disk, too).

    place: the folder that relative paths start from. parent: the process whose death ends the
        worker; None: nobody's.
    """

    going: Path
    place: Path
    parent: int | None = None

    @property
    def log(self) -> Path:
        """What workers of this machine say, beside their orders."""
        return self.going.with_name(f"{self.going.name}{LOG}")

    @property
    def notes(self) -> Path:
        """What workers of any machine want told, a line each."""
        return self.going.with_name(f"{self.going.name}{NOTES}")

    def tell(self, text: str) -> None:
        """Have the sweep say this, once, whoever tells it."""
        with suppress(OSError), self.notes.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def stopped(self) -> bool:
        try:
            self.going.stat()
        except FileNotFoundError:
            return True
        except OSError:  # a network file system takes a moment
            pass
        return LEAVING.is_set() or (self.parent is not None and os.getppid() != self.parent)


class Ended(NamedTuple):
    """What became of a run.

    status: of its record; or `interrupted`; or `elsewhere`: another process trains it.

    unrecorded: why it failed, if that could not be written into its folder.
    """

    folder: Path
    status: str
    unrecorded: str = ""


class Quiet:
    """A watcher that says nothing, and stops when it is told to."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders

    def start(self, pack: Any, step: int) -> None: ...

    def stepped(self, step: int, loss_K: Any) -> None: ...

    def validated(self, rows: Any) -> None: ...

    def interrupted(self) -> bool:
        return self.orders.stopped()


def enlist(parent: int, log: Path) -> None:
    """Make this process a worker: Ctrl-C is its parent's affair, SIGTERM saves, it leaves when its
    parent has died, and what it and its libraries say goes into the file `log`.
    """
    with suppress(OSError):
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)

    def leave() -> None:
        while os.getppid() == parent and not LEAVING.is_set():
            time.sleep(0.5)
        with BUSY:  # after saving
            os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: LEAVING.set())
    threading.Thread(target=leave, daemon=True).start()


def work(jobs: Sequence[Job], orders: Orders) -> list[Ended]:
    """Train the jobs of one pack that have not ended and that nobody else is training; what became
    of each.
    """
    from rnnbench.training.train import no_word_of_threads

    if not orders.place.is_dir():
        raise UserError(
            f"{os.uname().nodename} has no folder {orders.place}: workers need the file system of "
            f"the sweep"
        )
    os.chdir(orders.place)
    ended, free = [], []
    with BUSY, ExitStack() as held, no_word_of_threads():
        for job in jobs:
            folder = job.folder
            try:
                if not claim(held, folder):
                    ended.append(Ended(folder.path, "elsewhere"))
                    continue
                record = folder.record()
                if (
                    record is not None and record["status"] != "failed"
                ):  # ended since the sweep was planned
                    ended.append(Ended(folder.path, record["status"]))
                    continue
                folder.record_path.unlink(missing_ok=True)  # it is tried again: it has not ended
                free.append(job)
            except (UserError, OSError) as refused:
                ended.append(_failed(job, str(refused)))
        return ended + _trained(free, orders)


def _trained(jobs: Sequence[Job], orders: Orders) -> list[Ended]:
    """Train together; if that fails, halves of the pack, so that one failing run takes no other
    with it.
    """
    from rnnbench.training.run import run_pack

    if not jobs:
        return []
    paths = [job.folder.path for job in jobs]
    if orders.stopped():
        return [Ended(path, "interrupted") for path in paths]
    try:
        records = run_pack(
            [job.settings for job in jobs],
            [job.overrides for job in jobs],
            Quiet(orders),
            orders.tell,
        )
        return [Ended(path, record["status"]) for path, record in zip(paths, records, strict=True)]
    except Interrupted:
        return [Ended(path, "interrupted") for path in paths]
    except (Exception, SystemExit) as error:  # a user's cell may raise anything; memory may run out
        reason = _reason(error)
    # here the error is gone, and with it what its frames held in memory
    if len(jobs) > 1:
        half = len(jobs) // 2
        return _trained(jobs[:half], orders) + _trained(jobs[half:], orders)
    return [_failed(jobs[0], reason)]


def lost(job: Job, attempts: int) -> Ended:
    """Record a run whose workers died under it."""
    with ExitStack() as held:
        folder = job.folder
        if not claim(held, folder):
            return Ended(folder.path, "elsewhere")
        return _failed(
            job,
            f"its worker was killed {attempts} times, perhaps out of memory; use smaller batches "
            f"or fewer units",
        )


def _reason(error: BaseException) -> str:
    """What went wrong in a line, and below it the traceback; a refusal of ours has none, but for
    what it was raised over.
    """
    if not isinstance(error, UserError):
        first = traceback.format_exception_only(error)[-1].splitlines()[0]
        return f"{first}\n{''.join(traceback.format_exception(error))}"
    below = traceback.format_exception(error.__context__) if error.__context__ else []
    return "\n".join([str(error), *(["".join(below)] if below else [])])


def _failed(job: Job, reason: str) -> Ended:
    """Record a failure."""
    folder, run = job.folder, job.settings
    empty = dict.fromkeys(
        (
            "hidden",
            "params",
            "steps",
            "best",
            "final",
            "primary",
            "baseline",
            "target",
            "solved_at",
            "seconds",
            "throughput",
            "peak_memory_bytes",
            "flops",
            "last_fifth",
        )
    )
    named = {
        "schema": SCHEMA,
        "id": folder.path.name,
        "study": run.study,
        "cell": run.cell.name,
        "task": run.task["name"],
        "seed": run.seed,
    }
    try:
        folder.open(run, job.overrides)
        folder.write_record(
            named
            | {"status": "failed", "reason": reason, "settings": asdict(run)}
            | empty
            | {"engine": run.engine.name}
        )
    except (
        UserError,
        OSError,
    ) as refused:  # no space even for that: the sweep's own output is all that is left
        return Ended(
            folder.path, "failed", f"{reason.splitlines()[0]}; nor can that be recorded: {refused}"
        )
    return Ended(folder.path, "failed")
