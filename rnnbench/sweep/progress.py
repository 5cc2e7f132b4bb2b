"""How far a sweep is, read from its runs' folders: which runs have ended, and how, and how much of
the rest is done.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench.runs.records import Folder
from rnnbench.sweep.estimate import Budget, budget
from rnnbench.sweep.planning import Job

KEPT = ("status", "reason", "primary", "best")  # of a record: thousands of them stay in memory
TAIL = 400  # bytes at the end of a curve, in which its last row begins


class SweepProgress:
    """The runs of one sweep. retry=failed: a failure from before it counts as not ended."""

    def __init__(self, jobs: Mapping[Path, Job], retry: str) -> None:
        self.jobs = jobs
        self.ended: dict[Path, dict[str, Any]] = {}
        self.stale: dict[Path, object] = {}  # failures from before, by the file that says so
        self.lock = threading.Lock()  # the view looks from a thread of its own
        self.look()
        if retry == "failed":
            for path, record in list(self.ended.items()):
                if record["status"] == "failed":
                    self.stale[path] = _stamp(path)
                    del self.ended[path]
        self.before = frozenset(self.ended)
        self.budgets: dict[str, Budget] = {}
        self.started = time.monotonic()
        self.done_at_start = self._part_done()

    def look(self, among: Iterable[Path] | None = None) -> None:
        """Read the records that are new, of some runs or of all."""
        with self.lock:
            for path in self.jobs if among is None else among:
                if path in self.ended or (
                    path in self.stale and _stamp(path) in (None, self.stale[path])
                ):
                    continue
                if (record := Folder(path).record()) is not None:
                    self.ended[path] = {key: record.get(key) for key in KEPT}

    def failed_unrecorded(self, path: Path, reason: str) -> None:
        """A failure that could not be written into its folder has ended, too, as far as this sweep
        goes.
        """
        with self.lock:
            self.ended[path] = dict.fromkeys(KEPT) | {"status": "failed", "reason": reason}

    def left(self, among: Iterable[Path] | None = None) -> dict[Path, Job]:
        """The runs that have not ended, of some or of all."""
        asked = list(self.jobs if among is None else among)
        self.look(asked)
        return {path: self.jobs[path] for path in asked if path not in self.ended}

    def fresh(self) -> dict[Path, dict[str, Any]]:
        """What has ended since the sweep began."""
        with self.lock:
            return {path: record for path, record in self.ended.items() if path not in self.before}

    def states(self) -> Counter[str]:
        """How many runs have which status; `left`: none yet."""
        with self.lock:
            return Counter(
                self.ended[path]["status"] if path in self.ended else "left" for path in self.jobs
            )

    def table(self) -> dict[tuple[str, str], list[dict[str, Any] | None]]:
        """(task, cell) → what is known of its runs; None: not ended."""
        rows: dict[tuple[str, str], list[dict[str, Any] | None]] = {}
        with self.lock:
            for path in self.jobs:
                rows.setdefault((path.parts[-3], path.parts[-2]), []).append(self.ended.get(path))
        return dict(sorted(rows.items()))

    def seconds_left(self) -> float | None:
        """At the pace so far; None: not known yet."""
        done = self._part_done() - self.done_at_start
        whole = len(self.jobs) - len(self.before) - self.done_at_start
        return (
            (time.monotonic() - self.started) * (whole - done) / done
            if done > 0.01 * whole and whole > done
            else None
        )

    def _part_done(self) -> float:
        """In runs: those that ended in this sweep, and of those on their way the share of their
        steps up to the last validation.
        """
        with self.lock:
            open_jobs = [(path, job) for path, job in self.jobs.items() if path not in self.ended]
            count = float(len(self.ended.keys() - getattr(self, "before", self.ended.keys())))
        return count + sum(
            min(1.0, last_step(Folder(path)) / budget(job.settings, self.budgets).steps)
            for path, job in open_jobs
        )


def last_step(folder: Folder) -> int:
    """The step of the last row of a curve; 0 if there is none."""
    try:
        with folder.curve_path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            return int(file.read().rsplit(b"\n", 2)[-2].split(b",")[0])
    except (OSError, ValueError, IndexError):
        return 0


def _stamp(path: Path) -> object:
    try:
        stat = Folder(path).record_path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def best(records: Sequence[Mapping[str, Any] | None]) -> tuple[str, float | None, float | None]:
    """Metric, validation and test score of the best run by validation."""
    known = [r for r in records if r and r["primary"] and r["best"]]
    metric = known[0]["primary"]["name"] if known else ""
    known = [r for r in known if r["best"]["valid"].get(metric) is not None]
    if not known:
        return metric, None, None
    first = (min if known[0]["primary"]["goal"] == "min" else max)(
        known, key=lambda r: r["best"]["valid"][metric]
    )
    return metric, first["best"]["valid"][metric], first["best"]["test"].get(metric)


def headline(record: Mapping[str, Any]) -> str:
    """The first line of why a run failed."""
    return next(iter(str(record.get("reason") or "").splitlines()), "")
