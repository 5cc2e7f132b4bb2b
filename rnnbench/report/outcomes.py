"""What went wrong, with reasons, and what papers report for the same task: diverged, failed, never
solved, published.
"""

import math
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from rnnbench.formatting import anchor, by_first, interval, listing, number, plural
from rnnbench.published import Published, published
from rnnbench.report.document import Column, Entry, Group, Table
from rnnbench.stats.compare import standing
from rnnbench.stats.selection import Sample, Study, said
from rnnbench.stats.statistics import usable
from rnnbench.stats.survival import share


def diverged_table(study: Study) -> Table | None:
    """Per task and cell: how many runs diverged, under which settings, and what their records say;
    None if none did.
    """
    columns = [
        Column("cell", "cell", align="left"),
        Column("diverged", "diverged"),
        Column("settings", "settings", align="left", prose=True),
        Column("first", "run", align="left"),
        Column("reason", "reason", align="left", prose=True),
    ]
    groups = []
    for task in study.tasks:
        rows = []
        for sample in study.of(task):
            lost = sample.runs[sample.runs["diverged"]]
            if lost.empty:
                continue
            part, first = share(sample.runs["diverged"]), lost.sort_values(["steps", "id"]).iloc[0]
            rows.append(
                [
                    Entry(sample.cell, runs=anchor("runs", task, sample.cell)),
                    Entry(
                        f"{part.count}/{part.n}",
                        part.share,
                        f"[{part.low:.0%}, {part.high:.0%}]",
                        (part.low, part.high),
                        anchor("runs", task, sample.cell),
                    ),
                    Entry("; ".join(_ranges(lost, sample))),
                    Entry(first["id"], runs=anchor("run", first["id"]), code=True),
                    Entry(first["reason"] or "no reason recorded"),
                ]
            )
        if rows:
            groups.append(Group(task, rows))
    notes = [
        "Share of all runs, with the 95 % interval of Clopper and Pearson. Settings: those "
        "that varied, as the diverged runs had them. "
        "Reason: of the run that diverged soonest."
    ]
    return Table("diverged", "Runs that diverged", columns, groups, notes) if groups else None


def _ranges(lost: pd.DataFrame, sample: Sample) -> Iterator[str]:
    """Where the diverged runs lie: `optim.lr 0.05`, or a range of numbers."""
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


def failed_table(study: Study) -> Table | None:
    """The runs that did not end as results; None if all did."""
    failed = study.frame[study.frame["status"] == "failed"]
    columns = [
        Column("run", "run", align="left"),
        Column("task", "task", align="left"),
        Column("cell", "cell", align="left"),
        Column("seed", "seed"),
        Column("reason", "reason", align="left", prose=True),
    ]
    rows = [
        [
            Entry(run["id"], runs=anchor("run", run["id"]), code=True),
            Entry(run["task"]),
            Entry(run["cell"]),
            Entry(str(run["seed"]), int(run["seed"])),
            Entry(_last_line(run["reason"])),
        ]
        for _, run in failed.iterrows()
    ]
    notes = [
        "Failed runs are in no number of this report. Asking again with the command of a run "
        "repeats it."
    ]
    return Table("failed", "Runs that failed", columns, [Group("", rows)], notes) if rows else None


def _last_line(reason: str) -> str:
    """What a traceback ends in."""
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason recorded"


def never_solved(study: Study) -> list[str]:
    """Sentences: what no run solved, what only some cells did, which tasks have no target."""
    sentences = []
    for task in study.tasks:
        members = [s for s in study.of(task) if s.runs["solved"].notna().any()]
        if not members:
            continue
        without = [s.cell for s in members if not s.runs["solved"].fillna(False).any()]
        if len(without) == len(members):
            sentences.append(
                f"No run of any cell reached the target of {task} "
                f"({plural(sum(len(s.runs) for s in members), 'run')})."
            )
        elif without:
            sentences.append(
                f"{task} was never solved by {listing(without)}, whatever the setting."
            )
    return sentences


def published_table(study: Study) -> Table | None:
    """Ours beside what papers report for this cell on this very task; None if no paper in the data
    file does.
    """
    columns = [
        Column("cell", "cell", align="left"),
        Column("metric", "metric", align="left"),
        Column("ours", "ours"),
        Column("published", "published"),
        Column("verified", "verified", align="left"),
        Column("paper", "paper", align="left", prose=True),
        Column("conditions there", "conditions", align="left", prose=True),
    ]
    groups = []
    for task in study.tasks:
        rows = [
            row
            for sample in study.of(task)
            for metric, found in _numbers(sample)
            for row in [_beside(sample, metric, found)]
        ]
        if rows:
            groups.append(Group(task, rows))
    notes = [
        "Ours: median test score over the runs that this report rests on, with the lowest and the "
        "highest; sizes, budgets and searches differ "
        "from the papers' unless the conditions say otherwise, so a difference is no error on "
        "either side. "
        "Unverified: remembered, not seen in the paper; not to be cited from here."
    ]
    return (
        Table("published", "Ours and theirs, same task, same form", columns, groups, notes)
        if groups
        else None
    )


def _numbers(sample: Sample) -> Iterator[tuple[str, Published]]:
    row = sample.best.iloc[0]
    settings = {
        str(key).partition(".")[2]: value
        for key, value in row.items()
        if str(key).startswith("task.")
    }
    for column in sample.best.columns:
        if str(column).startswith("test.") and sample.best[column].notna().any():
            metric = str(column).partition(".")[2]
            for found in published(str(row["task.name"]), settings, str(row["cell.name"]), metric):
                yield metric, found


def _beside(sample: Sample, metric: str, found: Published) -> list[Entry]:
    scores = usable(sample.best.loc[~sample.best["diverged"], f"test.{metric}"])
    middle = float(np.median(scores)) if scores.size else math.nan
    bounds = (float(scores.min()), float(scores.max())) if scores.size > 1 else (math.nan, math.nan)
    return [
        Entry(sample.cell, runs=anchor("runs", sample.task, sample.cell)),
        Entry(metric),
        Entry(
            number(middle),
            middle,
            interval(*bounds),
            bounds,
            anchor("runs", sample.task, sample.cell),
        ),
        Entry(number(found.value), found.value),
        Entry("yes" if found.verified else "unverified"),
        Entry(found.paper),
        Entry(found.conditions or "–"),
    ]


def worst_said(study: Study) -> str:
    """Cells that scored no better than ignorance, in a sentence; empty if none."""
    below = []
    for task in study.tasks:
        for sample in study.of(task):
            ignorant, score = float(sample.runs["baseline"].iloc[0]), standing(sample)
            if (
                math.isfinite(ignorant)
                and math.isfinite(score)
                and (score >= ignorant if sample.goal == "min" else score <= ignorant)
            ):
                below.append((sample.cell, task))
    return f"No better than a model without memory: {by_first(below)}." if below else ""
