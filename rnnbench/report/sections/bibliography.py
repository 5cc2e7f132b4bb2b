"""What each cell and task is, where its equations come from, and which reading was chosen where
sources disagree.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from rnnbench.catalogue import About
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.sources import of_cell, of_task
from rnnbench.report.table import PROSE, TEXT, Column, Part, Table
from rnnbench.stats.selection import Selection


@dataclass(frozen=True)
class _Row:
    kind: str
    name: str
    about: About


def parts(results: Results) -> Iterator[Part]:
    if papers := dict.fromkeys(paper for one in results.known for paper in one.sources):
        yield f"Claims: {' '.join(papers)}"
    yield bibliography(results.study)


def rows(study: Selection) -> list[_Row]:
    cells = study.frame.drop_duplicates("cell.name").sort_values("cell.name")
    tasks = study.frame.drop_duplicates("task.name").sort_values("task.name")
    names = zip(cells["cell.name"].map(str), cells["cell.step"].map(str), strict=True)
    made = [_Row("Cells", name, of_cell(name, step)) for name, step in names]
    kinds = zip(tasks["task.name"].map(str), tasks["task.type"].map(str), strict=True)
    return made + [_Row("Tasks", name, of_task(kind)) for name, kind in kinds]


def bibliography(study: Selection) -> Table:
    columns = [
        Column("name", lambda row: row.name, TEXT),
        Column("what it is", lambda r: r.about.summary.replace("`", ""), PROSE, key="summary"),
        Column("source", lambda row: row.about.source.replace("`", ""), PROSE),
        Column("reading", lambda r: r.about.reading.replace("`", ""), PROSE, wide=True),
    ]
    caption = "Sources, as the docstrings of cells and tasks name them"
    return Table("bibliography", caption, columns, rows(study), group=lambda row: row.kind)


SECTION = Section("Sources", "runs", 30, parts)
