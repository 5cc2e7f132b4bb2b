"""What a person sees of a sweep: packs, runs done, failed and left, the best so far, the time left.

On a terminal a table that changes; elsewhere a line now and then. Failures are told once, as they
happen.
"""

import threading
import time
from pathlib import Path

from rich import box
from rich.live import Live
from rich.table import Table

from rnnbench.console import clock, console, number, say
from rnnbench.runs.records import Folder
from rnnbench.sweep.progress import SweepProgress, best, headline
from rnnbench.sweep.work import Orders

# seconds, seconds, most of a core's time that looking may take
LOOK_EVERY, SAY_EVERY, LOOK_SHARE = 1.0, 30.0, 0.02
TOLD = 10  # failures told one by one


class View:
    """Looks at a sweep's progress from a thread of its own.

    orders: withdrawn at the first failure, if fail_fast; what workers want told lies beside them.
    """

    def __init__(
        self, progress: SweepProgress, workers: int, fail_fast: bool, orders: Orders
    ) -> None:
        self.progress = progress
        self.workers = workers
        self.fail_fast = fail_fast
        self.orders = orders
        self.packs_done = self.packs = self.elsewhere = 0
        self.told: set[Path] = set()
        self.noted: set[str] = set()
        self.spoken = time.monotonic()
        self.finished = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.live = (
            Live(console=console, auto_refresh=False, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> "View":
        done = f", {len(self.progress.before)} of them ended before" if self.progress.before else ""
        say(
            f"{len(self.progress.jobs)} runs{done}; {self.workers} "
            f"worker{'s' if self.workers > 1 else ''}"
        )
        if self.live:
            self.live.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finished.set()
        self.thread.join()
        if self.live:
            self.live.stop()
        self.progress.look()
        self.tell_notes()
        self.tell_failures()
        console.print(self.table(), soft_wrap=False)

    def say(self, text: str) -> None:
        say(text)

    def round(self, packs: int) -> None:
        """So many packs are handed to workers now."""
        self.packs_done, self.packs, self.elsewhere = 0, packs, 0

    def pack_done(self) -> None:
        self.packs_done += 1

    def wait_for_others(self, count: int) -> None:
        """All that is left, another sweep trains."""
        if count != self.elsewhere:
            say(f"waiting for {count} runs that another process trains")
        self.packs, self.elsewhere = 0, count

    def _watch(self) -> None:
        pause = LOOK_EVERY
        while not self.finished.wait(pause):
            began = time.monotonic()
            self.progress.look()
            self.tell_notes()
            self.tell_failures()
            if self.live:
                self.live.update(self.table(), refresh=True)
            elif began - self.spoken > SAY_EVERY:
                self.spoken = began
                say(self.line())
            pause = max(LOOK_EVERY, (time.monotonic() - began) / LOOK_SHARE)

    def tell_notes(self) -> None:
        """What workers want told, each once; a line that is still being written waits."""
        try:
            written = self.orders.notes.read_text("utf-8").split("\n")[:-1]
        except (OSError, UnicodeDecodeError):  # nothing yet, or half a letter
            return
        for note in written:
            if note not in self.noted:
                self.noted.add(note)
                say(note)

    def tell_failures(self) -> None:
        for path, record in self.progress.fresh().items():
            if record["status"] == "failed" and path not in self.told:
                self.told.add(path)
                if self.fail_fast:
                    self.orders.going.unlink(missing_ok=True)
                if len(self.told) <= TOLD:
                    say(f"failed: {'/'.join(path.parts[-3:])}: {headline(record)}")
                if len(self.told) == TOLD:
                    say(f"further failures: rnnbench status {Folder(path).path.parents[2]}")

    def line(self) -> str:
        states, seconds = self.progress.states(), self.progress.seconds_left()
        parts = [
            f"{len(self.progress.jobs) - states['left']} of {len(self.progress.jobs)} runs ended"
        ]
        parts += [f"{states[name]} {name}" for name in ("failed", "left") if states[name]]
        parts += (
            [f"pack {min(self.packs_done + self.workers, self.packs)} of {self.packs}"]
            if self.packs and states["left"]
            else []
        )
        parts += [f"{self.elsewhere} in another process"] if self.elsewhere else []
        parts += [f"about {clock(round(seconds))} left"] if seconds else []
        return ", ".join(parts)

    def table(self) -> Table:
        """A row per task and cell: how far, and the best by validation so far."""
        table = Table(title=self.line(), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("task", "cell", "done", "failed", "diverged", "left", "best", "valid", "test"):
            table.add_column(name, justify="left" if name in ("task", "cell") else "right")
        for (task, cell), records in self.progress.table().items():
            states = [r["status"] if r else "left" for r in records]
            failed, diverged, left = (states.count(name) for name in ("failed", "diverged", "left"))
            metric, valid, test = best(records)
            scores = (metric, number(valid), number(test)) if valid is not None else ("", "", "")
            table.add_row(
                task,
                cell,
                *(
                    str(n or "")
                    for n in (len(states) - failed - diverged - left, failed, diverged, left)
                ),
                *scores,
            )
        return table
