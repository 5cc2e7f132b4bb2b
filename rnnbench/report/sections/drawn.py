"""The charts of a task: every kind that has something to show, in order."""

from collections.abc import Iterator

from rnnbench import plugins
from rnnbench.charts.chart import ChartKind, draw
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import Part
from rnnbench.stats.selection import Variant


def parts(results: Results, task: Variant) -> Iterator[Part]:
    if not results.study.of(task):
        return
    picked = results.picked(task)
    for name, kind in _kinds():
        if (chart := draw(name, kind, picked)) is not None:
            yield chart


def _kinds() -> list[tuple[str, ChartKind]]:
    found = plugins.found("rnnbench.charts.kinds", "CHART").items()
    return sorted(found, key=lambda item: (item[1].order, item[0]))


SECTION = Section("Charts", "task", 20, parts)
