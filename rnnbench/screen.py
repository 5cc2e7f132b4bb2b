"""What a person sees of a run: a progress bar (plain lines where the output is no terminal) and a summary."""

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rnnbench.published import span

console = Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for the person, as it is (no markup)."""
    console.print(text, markup=False)


class Screen(AbstractContextManager["Screen"]):
    """Watches one pack: a bar with loss, rate and time left. Ctrl-C (or SIGTERM) asks to stop after the step."""

    def __init__(self) -> None:
        self.stop = False
        self.handlers: dict[int, Any] = {}
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]} left"), TimeRemainingColumn()
        self.bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self.drawn = 0.0

    def __enter__(self) -> "Screen":
        self.handlers = {s: signal.signal(s, self._asked) for s in (signal.SIGINT, signal.SIGTERM)}
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.stop:
            raise KeyboardInterrupt
        self.stop = True
        say("stopping after this step; once more to stop at once, without saving")

    def start(self, pack: Any, step: int) -> None:
        run = pack.runs[0]
        counted = f"{len(pack.runs)} runs of " if len(pack.runs) > 1 else ""
        layers = f"{run.model.layers} layers of " if run.model.layers > 1 else ""
        say(
            f"{counted}{run.cell.name} on {run.task['name']}, seed {run.seed}: {layers}{pack.hidden} units, {pack.network.count:,} parameters, "
            f"engine {pack.engine} on {pack.device}" + (f", continued from step {step}" if step else "")
        )
        self.task = self.bar.add_task("training", total=run.train.steps, completed=step, rate="")
        self.first, self.began = step, time.perf_counter()

    def stepped(self, step: int, loss_K: Any) -> None:
        now = time.perf_counter()
        if not self.bar.disable and now - self.drawn > 0.2:
            self.drawn = now
            rate = (step - self.first) / (now - self.began)
            self.bar.update(self.task, completed=step, description=f"loss {loss_K.mean().item():.4f}", rate=f"{rate:.1f} steps/s,")

    def validated(self, rows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        for fresh in rows:
            if fresh:
                train, valid = fresh
                scores = ", ".join(f"{k} {v:.4g}" for k, v in valid.items() if k not in ("step", "split", "loss") and "." not in k)
                rate = (train["step"] - self.first) / (time.perf_counter() - self.began)
                say(f"step {train['step']:>6}   train loss {train['loss']:.4f}   valid {scores}   {rate:.1f} steps/s")

    def interrupted(self) -> bool:
        return self.stop


def summary(record: Mapping[str, Any], folder: str) -> None:
    """One screen: what came out, beside the baseline and what was published."""
    reported = record["best"] or record["final"]
    title = f"{record['cell']} on {record['task']}, seed {record['seed']}: {record['status']}" + (
        f" ({record['reason']})" if record["reason"] else ""
    )
    table = Table(title=title, title_justify="left", title_style="bold")
    published = {m: span(record["task"], record["settings"]["task"], record["cell"], m) for m in reported["test"]}
    columns = ["metric", "test", "valid", "without memory", *(["published"] if any(published.values()) else [])]
    for name in columns:
        table.add_column(name, justify="left" if name == "metric" else "right")
    primary = record["primary"]["name"]
    for metric in sorted((m for m in reported["test"] if m != "loss"), key=lambda m: m != primary):
        row = [metric, *(number(values.get(metric)) for values in (reported["test"], reported["valid"], record["baseline"]))]
        table.add_row(*row, *([described(published[metric])] if len(columns) > 4 else []), style="bold" if metric == primary else "")
    console.print(table)
    seconds = record["seconds"]
    solved = f"solved at step {record['solved_at']}, " if record["solved_at"] is not None else ""
    at = f"selected at step {record['best']['step']} of {record['steps']}, " if record["best"] else ""
    say(f"{solved}{at}{record['params']:,} parameters, {seconds['warmup'] + seconds['train']:.1f} s training + {seconds['eval']:.1f} s evaluation")
    say(f"saved in {folder}")


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def described(found: tuple[float, float, list[str]] | None) -> str:
    """'8.43 to 8.54 (Bai, Kolter & Koltun 2018; …)'"""
    if found is None:
        return ""
    low, high, papers = found
    values = number(low) if low == high else f"{number(low)} to {number(high)}"
    return f"{values} ({'; '.join(papers)})"
