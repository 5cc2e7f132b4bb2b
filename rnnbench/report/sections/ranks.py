"""Average ranks over tasks, with how far two must be apart."""

from collections.abc import Iterator

from rnnbench.charts import across
from rnnbench.formatting import number
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import Part
from rnnbench.stats import twins


def parts(results: Results) -> Iterator[Part]:
    found = results.ranks
    if found.why:
        return
    verdict = (
        "agree about the order of the cells"
        if found.p < 0.05
        else "do not agree about the order of the cells beyond chance"
    )
    caption = (
        f"Average ranks over the {found.tasks} tasks that all cells have results on, 1 is best. In "
        f"blue: closer to the best than the critical difference of Nemenyi "
        f"({number(found.critical_difference, 3)}). These tasks {verdict} (Friedman, p = "
        f"{number(found.p, 2)}). Tasks are a choice and no random sample: this says nothing about "
        f"other tasks, and ranks forget how large differences are. {twins.said(results.study)}"
    ).rstrip()
    average = dict(zip(results.study.cells, found.average, strict=True))
    cells = results.dressed(sorted(average, key=lambda cell: (average[cell], cell)))
    yield across.ranks(average, found.critical_difference, caption, cells)


SECTION = Section("Average ranks", "overview", 50, parts)
