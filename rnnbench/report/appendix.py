"""Every run with the command that repeats it, the files that went in, and where cells and tasks
come from.
"""

import math

import pandas as pd

from rnnbench.formatting import anchor, count, number, plural
from rnnbench.report.document import Column, Entry, Group, Runs, Table
from rnnbench.report.leaderboard import ARROW
from rnnbench.report.sources import of_cell, of_task
from rnnbench.stats.selection import Study, said, varied

UNITS = {"value": "test", "valid": "valid"}


def runs(study: Study) -> list[Runs]:
    """The runs of each task and cell, folded away: id, seed, what varies, scores, status,
    command.
    """
    return [
        _runs(study, task, cell, members)
        for (task, cell), members in study.frame.groupby(["task", "cell"], sort=True)
    ]


def _runs(study: Study, task: str, cell: str, members: pd.DataFrame) -> Runs:
    keys = varied(members)
    sample = study.samples.get((task, cell))
    counts = dict.fromkeys(sample.best["id"], "yes") if sample else {}
    counts |= dict.fromkeys(sample.chose if sample else (), "chose")
    arrow = ARROW.get(str(members["goal"].iloc[0]), "")
    columns = [
        Column("run", "id", align="left"),
        Column("seed", "seed"),
        *(Column(key, key) for key in keys),
        Column("valid", "valid", arrow),
        Column("test", "test", arrow),
        Column("at step", "selected_at"),
        Column("status", "status", align="left"),
        Column("counts", "counts", align="left"),
        Column("command", "command", align="left"),
    ]
    rows = [
        [
            Entry(str(run["id"]), id=anchor("run", run["id"]), code=True),
            Entry(str(run["seed"]), int(run["seed"])),
            *(Entry(said(run[key]), _plain(run[key])) for key in keys),
            Entry(number(run["valid"]), float(run["valid"])),
            Entry(number(run["value"]), float(run["value"])),
            Entry(count(run["selected_at"]), float(run["selected_at"])),
            Entry(str(run["status"])),
            Entry(counts.get(run["id"], "–"), counts.get(run["id"], "no")),
            Entry(str(run["command"]), code=True),
        ]
        for _, run in members.sort_values(
            [*keys, "seed", "id"], key=lambda column: column.map(_ordering)
        ).iterrows()
    ]
    heading = f"{task}, {cell}: {plural(len(members), 'run')}"
    table = Table(anchor("runs", task, cell), heading, columns, [Group("", rows)])
    return Runs(anchor("runs", task, cell), heading, table)


def _plain(value: object) -> object:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else said(value)


def _ordering(value: object) -> tuple[bool, float, str]:
    """Numbers before words, whatever a column holds."""
    if isinstance(value, (int, float)) and not math.isnan(value):
        return False, float(value), ""
    return True, 0.0, str(value)


def digests(study: Study) -> Table | None:
    """SHA-256 of the files that runs read, where their records hold it; None if they hold none."""
    rows = []
    for kind in ("task", "cell"):
        column = f"{kind}.digest"
        if column in study.frame:
            found = study.frame[study.frame[column].notna()].drop_duplicates([kind, column])
            rows += [
                [Entry(kind), Entry(str(run[kind])), Entry(str(run[column]), code=True)]
                for _, run in found.iterrows()
            ]
    columns = [
        Column("kind", "kind", align="left"),
        Column("name", "name", align="left"),
        Column("SHA-256", "sha256", align="left"),
    ]
    return Table("digests", "Files that went in", columns, [Group("", rows)]) if rows else None


def bibliography(study: Study) -> Table:
    """What each cell and task is, where its equations come from, and which reading was chosen where
    sources disagree.
    """
    columns = [
        Column("name", "name", align="left"),
        Column("what it is", "summary", align="left", prose=True),
        Column("source", "source", align="left", prose=True),
        Column("reading", "reading", align="left", prose=True),
    ]
    cells = study.frame.drop_duplicates("cell.name").sort_values("cell.name")
    tasks = study.frame.drop_duplicates("task.name").sort_values("task.name")
    groups = []
    for heading, found in (
        (
            "Cells",
            [
                (run["cell.name"], of_cell(str(run["cell.name"]), str(run["cell.step"])))
                for _, run in cells.iterrows()
            ],
        ),
        (
            "Tasks",
            [(run["task.name"], of_task(str(run["task.type"]))) for _, run in tasks.iterrows()],
        ),
    ):
        rows = [
            [
                Entry(str(name)),
                *(
                    Entry(text.replace("`", "") or "–")
                    for text in (about.summary, about.source, about.reading)
                ),
            ]
            for name, about in found
        ]
        groups.append(Group(heading, rows))
    return Table(
        "bibliography",
        "Sources, as the docstrings of cells and tasks name them",
        columns,
        groups,
        sortable=False,
    )
