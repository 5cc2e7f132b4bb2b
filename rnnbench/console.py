"""What a person sees of a run: a progress bar (plain lines where the output is no terminal) and a
summary.
"""

import json
import textwrap
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import groupby
from types import FrameType
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rnnbench.data import DataState
from rnnbench.published import span
from rnnbench.runs.records import finite
from rnnbench.signals import listen, restore

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for the person, as it is (no markup)."""
    console.print(text.replace("\x1b", "\\x1b"), markup=False)


def put_json(value: Any) -> None:
    """A value for programs: JSON on standard output; what is not finite is null."""
    console.out(json.dumps(finite(value), indent=1, ensure_ascii=False), highlight=False)


@contextmanager
def aside(wanted: bool) -> Iterator[None]:
    """What is said meanwhile goes to standard error, if wanted: standard output is for JSON."""
    console.stderr = wanted
    try:
        yield
    finally:
        console.stderr = False


class RunView(AbstractContextManager["RunView"]):
    """Watches one pack: a bar with loss, rate and time left.

    Ctrl-C (or SIGTERM) asks to stop after the step.
    """

    def __init__(self) -> None:
        self.stop = False
        self.handlers: dict[int, Any] = {}
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]} left"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(
            *columns, console=console, disable=not console.is_terminal, transient=True
        )
        self.drawn = 0.0

    def __enter__(self) -> "RunView":
        self.handlers = listen(self._asked)
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        restore(self.handlers)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True
        with suppress(OSError):  # the terminal may be gone
            say("stopping after this step; once more to stop at once, without saving")

    def start(self, pack: Any, step: int) -> None:
        run = pack.runs[0]
        counted = f"{len(pack.runs)} runs of " if len(pack.runs) > 1 else ""
        layers = f"{run.model.layers} layers of " if run.model.layers > 1 else ""
        say(
            f"{counted}{run.cell.name} on {run.task['name']}, seed {run.seed}: "
            f"{layers}{pack.hidden} units, {pack.network.count:,} parameters, "
            f"engine {pack.engine} on {pack.device}"
            + (f", continued from step {step}" if step else "")
        )
        if told := pack.stack[0].told:
            say(told)
        if context := pack.network.context:
            say(
                f"no states between windows: the {context} steps before each window are read again "
                f"as its context"
            )
        self.metric = pack.task.metric
        self.task = self.bar.add_task("training", total=run.train.steps, completed=step, rate="")
        self.first, self.began = step, time.perf_counter()

    def stepped(self, step: int, loss_K: Any) -> None:
        now = time.perf_counter()
        if not self.bar.disable and now - self.drawn > 0.2:
            self.drawn = now
            rate = (step - self.first) / (now - self.began)
            self.bar.update(
                self.task,
                completed=step,
                description=f"loss {loss_K.mean().item():.4f}",
                rate=f"{rate:.1f} steps/s,",
            )

    def validated(self, rows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        for fresh in rows:
            if fresh:
                train, valid = fresh
                scores = f"{self.metric} {valid[self.metric]:.4g}"
                rate = (train["step"] - self.first) / (time.perf_counter() - self.began)
                say(
                    f"step {train['step']:>6}   train loss {train['loss']:.4f}   valid {scores}   "
                    f"{rate:.1f} steps/s"
                )

    def interrupted(self) -> bool:
        return self.stop


def summary(record: Mapping[str, Any], folder: str) -> None:
    """One screen: what came out, beside what can be had without memory and what was published."""
    reported = record["best"] or record["final"]
    primary, metrics = record["primary"]["name"], [m for m in reported["test"] if m != "loss"]
    console.print()
    say(
        f"{record['cell']} on {record['task']}, seed {record['seed']}: {record['status']}"
        + (f" ({record['reason']})" if record["reason"] else "")
    )
    table = Table("metric", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in ("test", "valid", "without memory"):
        table.add_column(column, justify="right")
    for metric in sorted(metrics, key=lambda m: m != primary):
        scores = (
            number(values.get(metric))
            for values in (reported["test"], reported["valid"], record["baseline"])
        )
        table.add_row(metric, *scores, style="bold" if metric == primary else "")
    console.print(table, soft_wrap=False)
    for metric in metrics:
        if found := span(record["task"], record["settings"]["task"], record["cell"], metric):
            fact("published", f"{metric} {ranged(*found[:2])}: {'; '.join(found[2])}")
    if record["best"]:
        solved = (
            f"; target {record['target']:g} reached at step {record['solved_at']}"
            if record["solved_at"] is not None
            else ""
        )
        fact(
            "selected",
            f"step {record['best']['step']} of {record['steps']}, the best in validation{solved}",
        )
    fact("size", f"{record['hidden']} units, {record['params']:,} parameters")
    seconds = record["seconds"]
    fact(
        "time",
        f"{clock(seconds['warmup'] + seconds['train'])} training, {clock(seconds['eval'])} "
        f"evaluation",
    )
    say(f"saved in   {folder}")


def fact(name: str, text: str) -> None:
    say(textwrap.fill(f"{name:<11}{text}", console.width, subsequent_indent=" " * 11))


def files(rows: Iterable[DataState]) -> None:
    """Data files, a line each, below what they are."""
    for what, members in groupby(rows, key=lambda row: f"{row.what} ({row.licence})"):
        console.print(what, soft_wrap=False, markup=False)
        for row in members:
            say(f"  {row.name:<36} {row.bytes / 1e6:>6.1f} MB   {row.state}")


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def ranged(low: float, high: float) -> str:
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def clock(seconds: float) -> str:
    """'4.2 s', '3 min 20 s', '2 h 05 min'."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
    )
