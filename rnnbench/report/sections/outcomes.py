"""What went wrong on a task, with reasons: diverged, failed, never solved."""

import math
import re
from collections.abc import Iterator

import pandas as pd

from rnnbench.formatting import listing, plural
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import (
    CODE,
    PLAIN,
    PROSE,
    SHARE,
    TEXT,
    Column,
    Part,
    Table,
    result_place,
    run_place,
)
from rnnbench.stats.selection import Sample, Selection, Variant, said
from rnnbench.stats.survival import share


def parts(results: Results, task: Variant) -> Iterator[Part]:
    study = results.study
    yield from never_solved(study, task)
    for table in (diverged(study, task), failed(study, task)):
        if table is not None:
            yield table


def diverged(study: Selection, task: Variant) -> Table | None:
    """How many runs of each cell diverged, under which settings, and what their records say."""
    rows = [sample for sample in study.of(task) if sample.runs["diverged"].any()]
    columns = [
        Column("cell", lambda s: s.cell, TEXT, link=lambda s: result_place(s.result)),
        Column("diverged", lambda s: share(s.runs["diverged"]), SHARE),
        Column("settings", lambda s: "; ".join(_ranges(s)), PROSE),
        Column("first", _first_id, CODE, key="run", link=lambda s: run_place(_first_id(s))),
        Column("reason", lambda s: _first(s)["reason"] or "no reason recorded", PROSE),
    ]
    notes = [
        "Share of all runs, with the 95 % interval of Clopper and Pearson. Settings: those that "
        "varied, as the diverged runs had them. Reason: of the run that diverged soonest."
    ]
    name, caption = f"diverged-{task.slug}", f"{task.label}: runs that diverged"
    return Table(name, caption, columns, rows, notes, cell=lambda s: s.cell) if rows else None


def _first_id(sample: Sample) -> str:
    return str(_first(sample)["id"])


def _first(sample: Sample) -> "pd.Series[object]":
    return sample.runs[sample.runs["diverged"]].sort_values(["steps", "id"]).iloc[0]


def _ranges(sample: Sample) -> Iterator[str]:
    """Where the diverged runs lie: `optim.lr 0.05`, or a range of numbers."""
    lost = sample.runs[sample.runs["diverged"]]
    for key in sample.setting:
        values = sorted(
            {said(value) for value in lost[key]},
            key=lambda text: (float(text) if _numeric(text) else math.inf, text),
        )
        if len(values) <= 4:
            yield f"{key} {listing(values, 'or')}"
        elif all(map(_numeric, values)):
            yield f"{key} {values[0]} to {values[-1]}"


def _numeric(text: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text))


def failed(study: Selection, task: Variant) -> Table | None:
    """The runs that did not end as results; None if all did."""
    lost = study.frame[(study.frame["status"] == "failed") & (study.frame["task"] == task)]
    columns = [
        Column("run", lambda run: run["id"], CODE, link=lambda run: run_place(run["id"])),
        Column("cell", lambda run: run["cell"], TEXT),
        Column("seed", lambda run: int(run["seed"]), PLAIN),
        Column("reason", lambda run: _last_line(run["reason"]), PROSE),
    ]
    notes = [
        "Failed runs are in no number of this report. Asking again with the command of a run "
        "repeats it."
    ]
    rows = [run for _, run in lost.iterrows()]
    name, caption = f"failed-{task.slug}", f"{task.label}: runs that failed"
    return (
        Table(name, caption, columns, rows, notes, cell=lambda run: run["cell"]) if rows else None
    )


def _last_line(reason: str) -> str:
    """What a traceback ends in."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason recorded"


def never_solved(study: Selection, task: Variant) -> Iterator[str]:
    """What no run solved, or which cells never did; nothing where the task has no target."""
    members = [s for s in study.of(task) if s.runs["solved"].notna().any()]
    without = [s.cell.label for s in members if not s.runs["solved"].fillna(False).any()]
    if without and len(without) == len(members):
        runs = plural(sum(len(s.runs) for s in members), "run")
        yield f"No run of any cell reached the target of {task.label} ({runs})."
    elif without:
        yield f"Never solved, whatever the setting: {listing(without)}."


SECTION = Section("What went wrong", "task", 50, parts)
