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
from rnnbench.stats.axes import ARITHMETIC, BY_PARAMETERS, PARAMETERS, STEPS, Moved, moved

AXES = {
    PARAMETERS: "equal parameters",
    STEPS: "equal steps",
    ARITHMETIC: "equal arithmetic",
    BY_PARAMETERS: "equal arithmetic by parameters",
}
NAMED = 6


def parts(results: Results) -> Iterator[Part]:
    if len(results.study.cells) < 2:
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
            f"{listing(list(_shown(table).values()), 'or')}."
        )
        return
    names = [cell.label for cell in dict.fromkeys(one.cell for one in found)]
    many = plural(len(found), "result")
    yield (
        f"The rank of {some(names, NAMED)} depends on what is held equal ({many}). Ranks are of "
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

    shown = _shown(table)
    columns = [
        Column("cell", lambda row: row.cell, TEXT),
        *(
            Column(said, partial(rank, axis), PLAIN, "rank", f"rank_{axis.replace(' ', '_')}")
            for axis, said in shown.items()
        ),
        Column("places", lambda row: row.distance, NUMBER, "apart"),
        Column("task", lambda row: row.task, TEXT),
        *(
            Column(f"at {said}", partial(reached, axis), NUMBER, "score", wide=True)
            for axis, said in shown.items()
        ),
    ]
    steps = sorted(set(table.loc[table["axis"].isin((PARAMETERS, STEPS)), "budget"]))
    notes = [
        f"Equal parameters: cells matched by them, after equal steps. Equal steps: equal units, "
        f"after {listing([count(step) for step in steps], 'or')} steps. "
        f"Equal arithmetic: cells matched by the FLOPs of a step; where none are, equal units, "
        f"when each has done as many FLOPs as the one that did fewest. By parameters: so counted "
        f"where records hold no FLOPs, a parameter as one. Seconds are no axis: runs shared their "
        f"processors."
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


def _shown(table: pd.DataFrame) -> dict[str, str]:
    """The axes of this table → what they are called."""
    there = set(table["axis"])
    return {axis: said for axis, said in AXES.items() if axis in there}


SECTION = Section("Fair axes", "overview", 40, parts)
