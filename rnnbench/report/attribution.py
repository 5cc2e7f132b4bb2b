"""Which settings mattered, as tables: shares of the variance by cell, how well the surrogate fits,
the largest interaction.
"""

from collections.abc import Sequence

from rnnbench.formatting import anchor, count, listing, number
from rnnbench.report.document import Column, Entry, Group, Table
from rnnbench.stats.compare import generator
from rnnbench.stats.importance import Importance, importance, searched
from rnnbench.stats.selection import Study


def attributed(study: Study) -> dict[str, list[Importance]]:
    """task → the analyses of the cells in which two settings or more differ, refused ones too."""
    found = {}
    for task in study.tasks:
        samples = [sample for sample in study.of(task) if len(searched(sample.runs)) > 1]
        if samples:
            found[task] = [
                importance(sample.runs, generator("importance", task, sample.cell))
                for sample in samples
            ]
    return found


def importance_table(task: str, found: Sequence[Importance]) -> Table:
    """Cells × settings: the share that a setting explains by itself. found: those not refused."""
    settings = list(dict.fromkeys(name for one in found for name in one.table["parameter"]))
    columns = [
        Column("cell", "cell", align="left"),
        Column("runs", "runs"),
        Column("R²", "r2", "unseen runs"),
        *(Column(name, name, "share") for name in settings),
        Column("largest pair", "pair", "beyond its two"),
    ]
    rows = [_row(task, one, settings) for one in found]
    notes = [
        "Brackets: standard deviation over refits of the forest, which says nothing of what other "
        "trials would give."
    ]
    return Table(
        f"importance-{anchor(task)}",
        f"{task}. Share of the variance of test scores, by setting",
        columns,
        [Group("", rows)],
        notes,
    )


def _row(task: str, one: Importance, settings: Sequence[str]) -> list[Entry]:
    key, table = anchor("runs", task, one.cell), one.table.set_index("parameter")
    shares = [
        Entry(
            f"{table.at[name, 'mean']:.2f}",
            float(table.at[name, "mean"]),
            f"(± {table.at[name, 'std']:.2f})",
            runs=key,
        )
        if name in table.index
        else Entry("–", "")
        for name in settings
    ]
    pair = Entry("–", "")
    if len(one.pairs):
        top = one.pairs.sort_values("mean", kind="stable").iloc[-1]
        pair = Entry(
            f"{top['mean']:.2f}", float(top["mean"]), f"{top['first']} × {top['second']}", runs=key
        )
    return [
        Entry(one.cell, runs=key),
        Entry(count(one.n), one.n, runs=key),
        Entry(number(one.r2, 2), one.r2),
        *shares,
        pair,
    ]


def refused_said(task: str, found: Sequence[Importance]) -> str:
    """Which cells have no analysis and why; empty if all have."""
    refused = [f"{one.cell} ({one.reason})" for one in found if one.reason]
    return f"Not attributed on {task}: {listing(refused)}." if refused else ""
