"""All scores at a glance: a row a task, then cells by tasks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnbench.formatting import score, some
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.sources import family
from rnnbench.report.table import (
    COUNT,
    PROSE,
    TEXT,
    Column,
    Entry,
    Format,
    Part,
    Table,
    result_place,
    run_place,
    task_place,
)
from rnnbench.stats import twins
from rnnbench.stats.compare import EQUAL, SAME, UNDECIDED, family_said, standing
from rnnbench.stats.selection import Result, Sample, Variant, said
from rnnbench.stats.statistics import costs

ARROW = {"min": "↓", "max": "↑"}
MARKS = {SAME: "≈", UNDECIDED: "?"}
NAMED = 4  # cells of a verdict that the table of tasks names


@dataclass(frozen=True)
class _Row:
    """A cell in the table of cells by tasks."""

    cell: Variant
    family: str
    step: str
    bias: str


def parts(results: Results) -> Iterator[Part]:
    study = results.study
    if not study.samples:
        return
    if len(study.tasks) > 1:
        yield by_task(results)
    if len(study.cells) > 1 or len(study.tasks) > 1:
        yield by_cell(results)


def by_task(results: Results) -> Table:
    """Which cell is best on each task, and which cannot be told from it."""
    study = results.study

    def best(task: Variant) -> Sample:
        return results.winners[task]

    def place(task: Variant) -> str:
        return result_place(best(task).result)

    def same(task: Variant, verdict: str) -> str:
        found = [f.x.cell for f in results.against_best.values() if f.x.task == task]
        marked = [c.label for c in found if _verdict(results, task, c) == verdict]
        return some(marked, NAMED) or "–"

    columns = [
        Column("task", lambda task: task, TEXT, link=task_place),
        Column("score", lambda task: best(task), SCORE, "median", "score", bold=lambda _: True),
        Column("best", lambda task: best(task).cell, TEXT, link=place),
        Column("equal to it", lambda task: same(task, SAME), PROSE, key="equal", wide=True),
        Column("not told from it", lambda t: same(t, UNDECIDED), PROSE, key="undecided", wide=True),
        Column("metric", lambda t: f"{best(t).metric} {ARROW[best(t).goal]}", TEXT, wide=True),
        Column("cells", lambda task: len(study.of(task)), COUNT),
        Column("runs", lambda task: len(study.runs(task)), COUNT),
    ]
    rows = [task for task in study.tasks if task in results.winners]
    return Table("tasks", "Tasks, and the best cell on each", columns, rows, task=lambda t: t)


def _verdict(results: Results, task: Variant, cell: Variant) -> str:
    found = results.against_best.get(Result(task, cell))
    return found.verdict if found else ""


def by_cell(results: Results) -> Table:
    """Cells by tasks: test score of what validation chose; families of equations grouped, a cell's
    forget-bias rows beside it.
    """
    study = results.study
    rows = _ordered(results)
    columns = [Column("cell", lambda row: row.cell, TEXT)]
    columns += [_of_task(results, task) for task in study.tasks]
    if any(row.bias for row in rows):
        columns.append(
            Column("forget bias", lambda row: row.bias, TEXT, key="forget_bias", wide=True)
        )
    pairs = list(results.against_best.values())
    notes = []
    if any(math.isfinite(found.p) for found in pairs):
        notes.append(
            f"Bold: the best. ≈: shown to be within {EQUAL:.0%} of the best (two one-sided rank "
            f"tests, corrected by Holm within the task). ?: undecided, neither that nor shown to "
            f"be worse. No mark: worse than the best. {family_said(pairs, 'the best cell')} That "
            f"the best was found by looking is counted."
        )
    elif pairs:
        notes.append(f"Bold: the best number. {family_said(pairs, '')}")
    notes.append(
        "Each number is the median over the seeds of the setting with the best validation score "
        "(in brackets: quartiles, n), or, where a search gave each setting one run, the test score "
        "of its best trial by validation."
    )
    if told := twins.said(study):
        notes.append(told)
    caption = "Test score of what validation chose, cell by task"
    return Table(
        "scores", caption, columns, rows, notes, lambda row: row.family, cell=lambda row: row.cell
    )


def _of_task(results: Results, task: Variant) -> Column:
    members = results.study.of(task)

    def of(row: _Row) -> Sample | None:
        return results.study.samples.get(Result(task, row.cell))

    def best(row: _Row) -> bool:
        return results.winners.get(task) is of(row)

    def mark(row: _Row) -> str:
        return MARKS.get(_verdict(results, task, row.cell), "")

    unit = f"{members[0].metric} {ARROW[members[0].goal]}" if members else ""

    def place(row: _Row) -> str:
        return _place(of(row))

    return Column(task.label, of, SCORE, unit, str(task), link=place, bold=best, mark=mark)


def _place(sample: Sample | None) -> str:
    if sample is None:
        return ""
    return run_place(sample.chosen) if sample.by == "trials" else result_place(sample.result)


def _ordered(results: Results) -> list[_Row]:
    """Families as files are named, the equations of a family together, no bias first."""
    rows = []
    for cell, members in results.study.frame.groupby("cell", sort=True):
        if cell not in results.study.cells:
            continue
        step, bias = str(members["cell.step"].iloc[0]), members["cell.forget_bias"].iloc[0]
        rows.append(_Row(cell, family(step), step, "" if said(bias) == "null" else said(bias)))
    own = {row.step for row in rows if row.step.rpartition(".")[2] == str(row.cell)}

    def key(row: _Row) -> tuple[Any, ...]:
        first = row.step in own and row.step.rpartition(".")[2] == str(row.cell)
        return row.step.rpartition(".")[0], row.step, not first, row.bias != "", row.cell

    return sorted(rows, key=key)


def _score(sample: Sample) -> Entry:
    """The standing of a cell with quartiles and n."""
    value, scores = standing(sample), costs(sample.scores, sample.goal)
    if sample.by == "trials":
        return Entry(score(value), value, f"(1 of {sample.tried})")
    if scores.size < 2:
        return Entry(score(value), value, f"({scores.size})")
    low, high = np.quantile(scores, (0.25, 0.75), method="inverted_cdf")
    bounds = (low, high) if sample.goal == "min" else (-high, -low)
    aside = f"({' to '.join(score(bound, 3) for bound in bounds)}, {scores.size})"
    return Entry(score(value), value, aside)


SCORE = Format(_score)
SECTION = Section("Scores", "overview", 20, parts)
