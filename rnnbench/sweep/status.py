"""`rnnbench status NAME`: what has become of every run of a study, how long the rest will take, and
why runs failed.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich import box
from rich.table import Table

from rnnbench.console import clock, console, say
from rnnbench.runs.records import own_seconds
from rnnbench.sweep.manifest import RunState, members
from rnnbench.sweep.progress import headline

ENDED = ("finished", "stopped")
STATES = ("done", "diverged", "failed", "running", "interrupted", "missing")
SHOWN = 10  # failures


def show(study: Path) -> None:
    """Print the table. UserError if the study has no runs."""
    found = list(members(study))
    console.print(table(found), soft_wrap=False)
    say(summary(found))
    failed = [member for member in found if member.state == "failed"]
    for member in failed[:SHOWN]:
        say(f"failed: {member.folder.path}: {headline(member.record or {})}")
    if len(failed) > SHOWN:
        say(f"and {len(failed) - SHOWN} more")


def told(study: Path) -> dict[str, Any]:
    """The same for programs: every run with its state, and the seconds that the rest will take."""
    found = list(members(study))
    runs = [
        {
            "task": member.folder.path.parts[-3],
            "cell": member.folder.path.parts[-2],
            "id": member.folder.path.name,
            "state": member.state,
            "reason": (member.record or {}).get("reason"),
        }
        for member in found
    ]
    return {"study": study.name, "runs": runs, "seconds_left": seconds_left(found)}


def table(found: Sequence[RunState]) -> Table:
    """A row per task and cell, a column per state."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("task", "cell", *STATES):
        shown.add_column(column, justify="left" if column in ("task", "cell") else "right")
    groups: dict[tuple[str, ...], list[str]] = {}
    for member in found:
        groups.setdefault(member.folder.path.parts[-3:-1], []).append(
            "done" if member.state in ENDED else member.state
        )
    for (task, cell), states in sorted(groups.items()):
        shown.add_row(task, cell, *(str(states.count(state) or "") for state in STATES))
    return shown


def summary(found: Sequence[RunState]) -> str:
    """How much is left, and for how long."""
    left = [member for member in found if member.state in ("running", "interrupted", "missing")]
    ended = f"{len(found) - len(left)} of {len(found)} runs have ended"
    seconds = seconds_left(found)
    workers = len({member.holder for member in found if member.holder})
    if not left:
        return ended
    by = (
        f" with the {workers} worker{'s' if workers > 1 else ''} at work"
        if workers
        else " of one worker; none is at work: ask the sweep again"
    )
    if seconds is None:
        return (
            f"{ended}; the rest takes an unknown time{by} (of a study: rnnbench study NAME --plan "
            f"estimates it)"
        )
    hours = seconds * max(workers, 1) / 3600
    return (
        f"{ended}; the rest takes about {clock(round(seconds))}{by}; {hours:.3g} core-hours, by "
        f"what ended runs took"
    )


def seconds_left(found: Sequence[RunState]) -> float | None:
    """Runs left times what a run took on average, shared by the workers at work.

    None: nothing has ended yet.
    """
    took = [own_seconds(m.record) for m in found if m.record and m.record.get("seconds")]
    left = sum(member.state in ("running", "interrupted", "missing") for member in found)
    return (
        left * fmean(took) / max(1, len({member.holder for member in found if member.holder}))
        if took
        else None
    )
