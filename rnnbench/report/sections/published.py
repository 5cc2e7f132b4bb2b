"""Ours beside what papers report for this cell on this very task."""

from collections.abc import Iterator
from dataclasses import dataclass

from rnnbench.published import Published, published
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import NUMBER, PROSE, SHIFT, TEXT, Column, Part, Table, result_place
from rnnbench.stats.selection import Sample, Variant
from rnnbench.stats.statistics import Estimate, judged, median, usable

REMEMBERED = "from memory, not seen in the paper"


@dataclass(frozen=True)
class _Row:
    sample: Sample
    metric: str
    found: Published


def parts(results: Results, task: Variant) -> Iterator[Part]:
    rows = [row for sample in results.ordered(task) for row in _rows(sample)]
    if rows:
        yield published_table(task, rows)


def published_table(task: Variant, rows: list[_Row]) -> Table:
    columns = [
        Column("cell", lambda r: r.sample.cell, TEXT, link=lambda r: result_place(r.sample.result)),
        Column("ours", ours, SHIFT),
        Column("published", lambda row: row.found.value, NUMBER),
        Column("seen", _seen, TEXT, key="verified"),
        Column("metric", lambda row: row.metric, TEXT),
        Column("paper", lambda row: row.found.paper, PROSE),
        Column(
            "conditions there", lambda r: r.found.conditions, PROSE, key="conditions", wide=True
        ),
    ]
    notes = [
        "Ours: median test score over the runs that this report rests on, with the lowest and the "
        "highest; sizes, budgets and searches differ from the papers' unless the conditions say "
        "otherwise, so a difference is no error on either side."
    ]
    if not all(row.found.verified for row in rows):
        notes.append(f"A number {REMEMBERED}, is not to be cited from here.")
    caption = f"{task.label}: ours and theirs, same task, same form"
    return Table(
        f"published-{task.slug}", caption, columns, rows, notes, cell=lambda r: r.sample.cell
    )


def _seen(row: _Row) -> str:
    return "in the paper" if row.found.verified else REMEMBERED


def ours(row: _Row) -> Estimate | None:
    """The median with the lowest and the highest score."""
    best = row.sample.best
    scores = usable(judged(best[f"test.{row.metric}"], best["diverged"]))
    if not scores.size:
        return None
    middle = median(scores, row.sample.goal).value
    return Estimate(middle, float(scores.min()), float(scores.max()), scores.size)


def _rows(sample: Sample) -> Iterator[_Row]:
    run = sample.best.iloc[0]
    keys = [str(key) for key in run.index if str(key).startswith("task.")]
    settings = {key.partition(".")[2]: run[key] for key in keys}
    for column in sample.best.columns:
        if str(column).startswith("test.") and sample.best[column].notna().any():
            metric = str(column).partition(".")[2]
            for found in published(str(run["task.name"]), settings, str(run["cell.name"]), metric):
                yield _Row(sample, metric, found)


SECTION = Section("Published numbers", "task", 60, parts)
