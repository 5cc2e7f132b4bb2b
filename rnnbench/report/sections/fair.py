"""Fair axes: who is ahead with equal parameters, after equal steps, for equal arithmetic; cells
whose rank depends on it are named.
"""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from rnnbench.formatting import count, listing, plural, some
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import NUMBER, PLAIN, TEXT, Column, Part, Table
from rnnbench.stats.axes import ARITHMETIC, PARAMETERS, STEPS, Moved, moved

AXES = {
    PARAMETERS: "equal parameters",
    STEPS: "equal steps",
    ARITHMETIC: "equal arithmetic",
}
NAMED = 6


def parts(results: Results) -> Iterator[Part]:
    if not results.study.samples:
        return
    table = results.axes
    if table.empty or table.groupby("task")["axis"].nunique().max() < 2:
        return
    found = moved(table)
    several = table.groupby("task")["axis"].nunique() > 1
    tasks = list(several.index[several])
    if not found:
        yield (
            f"On {listing([task.label for task in tasks])} no cell changes its rank between "
            f"{listing(list(AXES.values()), 'or')}."
        )
        return
    names = [cell.label for cell in dict.fromkeys(one.cell for one in found)]
    results = plural(len(found), "result")
    yield (
        f"The rank of {some(names, NAMED)} depends on what is held equal ({results}). Ranks are of "
        f"the validation score that cells had reached, median over their runs."
    )
    yield moving(table, found)


def moving(table: pd.DataFrame, found: list[Moved]) -> Table:
    """A row for each cell that moves, its rank on each axis, the farthest first."""
    scores = table.set_index(["task", "cell", "axis"])["score"]

    def rank(axis: str, row: Moved) -> int | float | None:
        value = row.ranks.get(axis)
        return int(value) if value is not None and value.is_integer() else value

    def reached(axis: str, row: Moved) -> float | None:
        key = (row.task, row.cell, axis)
        return float(scores[key]) if key in scores.index else None

    shown = [axis for axis in AXES if axis in set(table["axis"])]
    columns = [
        Column("cell", lambda row: row.cell, TEXT),
        *(Column(AXES[axis], partial(rank, axis), PLAIN, "rank", f"rank_{axis}") for axis in shown),
        Column("places", lambda row: row.distance, NUMBER, "apart"),
        Column("task", lambda row: row.task, TEXT),
        *(
            Column(f"at {AXES[axis]}", partial(reached, axis), NUMBER, "score", wide=True)
            for axis in shown
        ),
    ]
    steps = sorted(set(table.loc[table["axis"] != ARITHMETIC, "budget"]))
    notes = [
        f"Equal parameters: cells matched by them, after equal steps. Equal steps: equal units, "
        f"after {listing([count(step) for step in steps], 'or')} steps. "
        f"Equal arithmetic: cells matched by the FLOPs of a step; where none are, equal units, "
        f"when each has done as many multiplications as the one that did fewest, counted by its "
        f"parameters. Seconds are no axis: runs shared their processors."
    ]
    return Table(
        "axes",
        "Cells whose rank depends on what is held equal",
        columns,
        found,
        notes,
        task=lambda row: row.task,
        cell=lambda row: row.cell,
    )


SECTION = Section("Fair axes", "overview", 40, parts)
