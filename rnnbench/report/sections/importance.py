"""Which settings mattered in the searches of a task."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from rnnbench.charts import searches
from rnnbench.formatting import listing
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import (
    COUNT,
    TEXT,
    Column,
    Entry,
    Format,
    Part,
    Table,
    result_place,
    rounded,
)
from rnnbench.stats.importance import Importance
from rnnbench.stats.selection import Result, Variant

TIME = "Training time: the updates until early stopping ended a run, times its parameters, in 10⁹."
_Row = tuple[Variant, Importance]


def parts(results: Results, task: Variant) -> Iterator[Part]:
    found = {
        sample.cell: results.importances.get(sample.result) for sample in results.ordered(task)
    }
    rows = [(cell, one) for cell, one in found.items() if one is not None]
    used = [(cell, one) for cell, one in rows if not one.reason]
    if used:
        cells = [cell for cell, _ in used]
        table = pd.concat([one.table.assign(cell=cell.label) for cell, one in used])
        marginals = pd.concat([one.marginals.assign(cell=cell.label) for cell, one in used])
        score = results.study.samples[Result(task, cells[0])].metric
        looks = results.dressed(cells)
        yield searches.importance(task, table, looks)
        yield searches.marginals("marginals", task, marginals, f"test {score}", looks)
        yield importance_table(task, used)
        yield from _times(results, task, cells)
    refused = [f"{cell.label} ({one.reason})" for cell, one in rows if one.reason]
    if refused:
        yield f"No shares of variance for {listing(refused)}."


def _times(results: Results, task: Variant, cells: Sequence[Variant]) -> Iterator[Part]:
    """What the settings did to training time."""
    found = {cell: results.times.get(Result(task, cell)) for cell in cells}
    used = [(cell, one) for cell, one in found.items() if one is not None and not one.reason]
    if used:
        marginals = pd.concat([one.marginals.assign(cell=cell.label) for cell, one in used])
        shown = results.dressed(cell for cell, _ in used)
        yield TIME
        yield searches.marginals("times", task, marginals, "training time", shown)


def importance_table(task: Variant, rows: Sequence[_Row]) -> Table:
    """The share that each setting explains by itself, and the largest pair beyond its two."""
    settings = dict.fromkeys(name for _, one in rows for name in one.table["parameter"])
    columns = [
        Column(
            "cell", lambda row: row[0], TEXT, link=lambda row: result_place(Result(task, row[0]))
        ),
        *(Column(name, partial(_share, name), SPREAD, "share") for name in settings),
        Column("largest pair", _pair, PAIR, "beyond its two", "pair", wide=True),
        Column("runs", lambda row: row[1].n, COUNT),
        Column("R²", lambda row: row[1].r2, rounded(2), "out of bag", "r2"),
    ]
    notes = [
        "Brackets: standard deviation over refits of the forest, which says nothing of what other "
        "trials would give."
    ]
    caption = f"{task.label}: share of the variance of test scores, by setting"
    return Table(f"importance-{task.slug}", caption, columns, rows, notes, cell=lambda row: row[0])


def _share(name: str, row: _Row) -> tuple[float, float] | None:
    table = row[1].table.set_index("parameter")
    return (table.at[name, "mean"], table.at[name, "std"]) if name in table.index else None


def _pair(row: _Row) -> Any:
    pairs = row[1].pairs
    return pairs.sort_values("mean", kind="stable").iloc[-1] if len(pairs) else None


SPREAD = Format(lambda of: Entry(f"{of[0]:.2f}", float(of[0]), f"(± {of[1]:.2f})"))
PAIR = Format(
    lambda of: Entry(f"{of['mean']:.2f}", float(of["mean"]), f"{of['first']} × {of['second']}")
)
SECTION = Section("Which settings mattered", "task", 40, parts)
