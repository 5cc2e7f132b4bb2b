"""What a person sees of a sweep: runs done, failed and left, the best so far, the time left. It reads the runs' folders.

On a terminal a table that changes; elsewhere a line now and then.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.table import Table

from rnnbench.records import Folder
from rnnbench.screen import console, number, say
from rnnbench.sweep.planning import Job

LOOK_EVERY, SAY_EVERY = 1.0, 30.0  # seconds


class View:
    """Looks at the folders of a sweep's runs from a thread of its own. fail_fast: creates `stop` at the first failure."""

    def __init__(self, jobs: Sequence[Job], workers: int, fail_fast: bool, stop: Path) -> None:
        self.folders = {Folder.of(job.settings): job for job in jobs}
        self.workers, self.fail_fast, self.stop = workers, fail_fast, stop
        self.records: dict[Folder, dict[str, Any]] = {}
        self.look()
        self.before = len(self.records)
        self.stale = {folder for folder, record in self.records.items() if record["status"] == "failed"}
        self.started = self.spoken = time.monotonic()
        self.finished = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.live = Live(console=console, refresh_per_second=2, transient=True) if console.is_terminal else None

    def __enter__(self) -> "View":
        done = f", {self.before} of them done before" if self.before else ""
        say(f"{len(self.folders)} runs{done}; {self.workers} workers")
        if self.live:
            self.live.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finished.set()
        self.thread.join()
        if self.live:
            self.live.stop()
        self.look()
        console.print(self.table())

    def say(self, text: str) -> None:
        say(text)

    def packs(self, count: int, again: bool) -> None:
        say(f"{'a worker died; again ' if again else ''}{count} packs")

    def is_open(self, job: Job, retry: str) -> bool:
        """Whether a run still has to be trained (retry=failed: also one that failed before this sweep)."""
        folder = Folder.of(job.settings)
        record = folder.record()
        return record is None or (record["status"] == "failed" and retry == "failed" and folder in self.stale and record == self.records.get(folder))

    def look(self) -> None:
        """Read the records that are new."""
        for folder in self.folders:
            known = self.records.get(folder)
            if (known is None or known["status"] == "failed") and (record := folder.record()) is not None:
                self.records[folder] = record

    def final(self) -> Counter[str]:
        """How many runs are in which state."""
        self.look()
        return Counter(self.records[f]["status"] if f in self.records else "left" for f in self.folders)

    def _watch(self) -> None:
        while not self.finished.wait(LOOK_EVERY):
            self.look()
            failed = [f for f, r in self.records.items() if r["status"] == "failed" and f not in self.stale]
            if failed and self.fail_fast:
                self.stop.touch()
            if self.live:
                self.live.update(self.table())
            elif time.monotonic() - self.spoken > SAY_EVERY:
                self.spoken = time.monotonic()
                say(self.line())

    def line(self) -> str:
        states = self.final()
        failed = f", {states['failed']} failed" if states["failed"] else ""
        return f"{len(self.records)} of {len(self.folders)} runs done{failed}, {states['left']} left{self._time_left(states['left'])}"

    def _time_left(self, left: int) -> str:
        fresh = len(self.records) - self.before
        if not fresh or not left:
            return ""
        seconds = (time.monotonic() - self.started) / fresh * left
        return f", about {seconds / 60:.0f} min" if seconds > 90 else f", about {seconds:.0f} s"

    def table(self) -> Table:
        """A row per task and cell: how far, and the best by validation so far."""
        table = Table(title=self.line(), title_justify="left")
        for name in ("task", "cell", "done", "failed", "diverged", "left", "best", "valid", "test"):
            table.add_column(name, justify="left" if name in ("task", "cell") else "right")
        rows: dict[tuple[str, str], list[dict[str, Any] | None]] = {}
        for folder in self.folders:
            rows.setdefault((folder.path.parts[-3], folder.path.parts[-2]), []).append(self.records.get(folder))
        for (task, cell), records in sorted(rows.items()):
            states = Counter("left" if r is None else r["status"] for r in records)
            done = len(records) - states["left"] - states["failed"]
            counts = [str(c or "") for c in (done, states["failed"], states["diverged"], states["left"])]
            table.add_row(task, cell, *counts, *_best([r for r in records if r and r.get("best")]))
        return table


def _best(records: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    """Metric, validation and test score of the best run by validation."""
    if not records:
        return "", "", ""
    metric, goal = records[0]["primary"]["name"], records[0]["primary"]["goal"]
    known = [r for r in records if r["best"]["valid"].get(metric) is not None]
    if not known:
        return metric, "", ""
    best = (min if goal == "min" else max)(known, key=lambda r: r["best"]["valid"][metric])
    return metric, number(best["best"]["valid"][metric]), number(best["best"]["test"].get(metric))
