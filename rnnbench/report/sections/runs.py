"""Every run with the command that repeats it, and the files that went in."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from rnnbench.formatting import anchor, plural
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.sections.scoreboard import ARROW
from rnnbench.report.table import (
    CODE,
    COUNT,
    NUMBER,
    PLAIN,
    TEXT,
    Column,
    Entry,
    Fold,
    Format,
    Part,
    Table,
    result_id,
)
from rnnbench.stats.selection import Result, Selection, ordering, said, varied


def parts(results: Results) -> Iterator[Part]:
    study = results.study
    yield (
        f"{plural(len(study.frame), 'run')}. The column “counts” says whether a number rests on a "
        f"run (chose: it helped to choose the setting and is in no number); all that the records "
        f"hold of each is in tables/runs.csv."
    )
    for (task, cell), members in study.frame.groupby(["task", "cell"], sort=True):
        yield runs(study, Result(task, cell), members)
    if (files := digests(study)) is not None:
        yield files


def runs(study: Selection, result: Result, members: pd.DataFrame) -> Fold:
    """The runs of a result: id, seed, what varies, scores, status, command."""
    keys = varied(members)
    sample = study.samples.get(result)
    counts = dict.fromkeys(sample.best["id"], "yes") if sample else {}
    counts |= dict.fromkeys(sample.chose if sample else (), "chose")
    arrow = ARROW.get(str(members["goal"].iloc[0]), "")
    columns = [
        Column("run", lambda run: run["id"], CODE, key="id", id=_place),
        Column("test", lambda run: run["value"], NUMBER, arrow),
        Column("valid", lambda run: run["valid"], NUMBER, arrow),
        Column("seed", lambda run: int(run["seed"]), PLAIN),
        *(Column(key, partial(_setting, key), SETTING) for key in keys),
        Column("at step", lambda run: run["selected_at"], COUNT, key="selected_at"),
        Column("status", lambda run: run["status"], TEXT),
        Column("counts", lambda run: counts.get(run["id"], "no"), TEXT),
        Column("command", lambda run: run["command"], CODE),
    ]
    order = members.sort_values([*keys, "seed", "id"], key=lambda column: column.map(ordering))
    heading = f"{result.task.label}, {result.cell.label}: {plural(len(members), 'run')}"
    rows = order[["id", "value", "valid", "seed", *keys, "selected_at", "status", "command"]]
    name = result_id(result)
    return Fold(name, heading, Table(name, heading, columns, rows.to_dict("records")))


def _place(run: dict[str, object]) -> str:
    return anchor("run", run["id"])


def _setting(key: str, run: dict[str, object]) -> object:
    return run[key] if isinstance(run[key], (int, float)) else said(run[key])


def digests(study: Selection) -> Table | None:
    """SHA-256 of the files that runs read, where their records hold it; None if they hold none."""
    rows: list[tuple[str, str, str]] = []
    for kind in ("task", "cell"):
        column = f"{kind}.digest"
        if column in study.frame:
            found = study.frame[study.frame[column].notna()].drop_duplicates([kind, column])
            rows += [
                (kind, label.label, str(digest))
                for label, digest in zip(found[kind], found[column], strict=True)
            ]
    columns = [
        Column("name", lambda row: row[1], TEXT),
        Column("kind", lambda row: row[0], TEXT),
        Column("SHA-256", lambda row: row[2], CODE, key="sha256"),
    ]
    return Table("digests", "Files that went in", columns, rows) if rows else None


SETTING = Format(lambda value: Entry(said(value), value))
SECTION = Section("Runs and commands", "runs", 10, parts)
