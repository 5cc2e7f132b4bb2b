"""A search read as Greff et al. (2017) read theirs: Welch's test of the best tenth of the trials,
beside the test of new seeds.
"""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from rnnbench.formatting import plural
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import (
    COUNT,
    NUMBER,
    TEXT,
    Column,
    P,
    Part,
    Table,
    result_place,
)
from rnnbench.stats import trials
from rnnbench.stats.selection import Result, Variant

SAID = {True: "yes", False: "no"}


def parts(results: Results, task: Variant) -> Iterator[Part]:
    if not results.search_seeds:
        return
    found = trials.tests(results.searched(task), results.study.baseline, results.against_baseline)
    if not found.empty:
        yield tests_table(results, task, found)


def tests_table(results: Results, task: Variant, found: pd.DataFrame) -> Table:
    """A row for each cell beside the baseline."""
    baseline = results.study.baseline.label
    metric = results.study.of(task)[0].metric

    def place(row: dict[str, Any]) -> str:
        return result_place(Result(task, row["cell"]))

    def of(key: str) -> Any:
        return lambda row: row[key]

    columns = [
        Column("cell", of("cell"), TEXT, link=place),
        Column("theirs", of("theirs_difference"), NUMBER, metric, "theirs_difference"),
        Column("p", of("theirs_p"), P, "Bonferroni", "theirs_p"),
        Column("n", of("theirs_n"), COUNT, "best trials", "theirs_n"),
        Column("t", of("theirs_t"), NUMBER, key="theirs_t", wide=True),
        Column("ours", of("ours_difference"), NUMBER, metric, "ours_difference"),
        Column("p", of("ours_p"), P, "max-T", "ours_p"),
        Column("n", of("ours_n"), COUNT, "new seeds", "ours_n"),
        Column("agree", lambda row: SAID.get(row["agree"], "–"), TEXT),
    ]
    tried = sorted({len(search) for search in results.searched(task).values()})
    span = plural(tried[0], "trial") if len(tried) == 1 else f"{tried[0]} to {tried[-1]} trials"
    notes = [
        f"Theirs: the mean test score of the best tenth of {span} by validation, less that of "
        f"{baseline}, with Welch's test, corrected after Bonferroni. The best of a search are "
        f"alike because they were selected, so that this p comes out too small. Ours: the shift "
        f"between new seeds at settings that validation chose, with the test of the table above; "
        f"none where there are no new seeds yet."
    ]
    caption = f"{task.label}: against {baseline}, by the test of Greff et al. (2017) and by ours"
    return Table(
        f"searched-{task.slug}",
        caption,
        columns,
        found.to_dict("records"),
        notes,
        cell=lambda row: row["cell"],
    )


SECTION = Section("The search, as Greff et al. read theirs", "task", 35, parts)
