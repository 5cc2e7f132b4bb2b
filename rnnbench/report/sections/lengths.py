"""Tasks that ran at several lengths: how often each cell solves them, and how soon."""

from collections.abc import Iterator

import numpy as np

from rnnbench.charts.across import Lines, solved_by_length, times_by_length
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.table import Part
from rnnbench.stats.selection import Sample, Selection, Variant


def by_length(study: Selection) -> dict[Variant, Lines]:
    """Task without its length → cells → lengths, of tasks that have a target; cells that ran at one
    length only are left out.
    """
    found: dict[Variant, dict[Variant, dict[float, Sample]]] = {}
    for result, sample in study.samples.items():
        length = sample.runs["task.length"].iloc[0] if "task.length" in sample.runs else None
        if not isinstance(length, (int, float, np.number)) or not np.isfinite(length):
            continue
        if sample.best["solved"].notna().all():
            others = tuple(pair for pair in result.task.settings if pair[0] != "length")
            task = Variant(result.task.name, others)
            found.setdefault(task, {}).setdefault(result.cell, {})[float(length)] = sample
    several = {
        task: {cell: of for cell, of in lines.items() if len(of) > 1}
        for task, lines in found.items()
    }
    return {task: lines for task, lines in several.items() if lines}


def parts(results: Results) -> Iterator[Part]:
    for task, lines in by_length(results.study).items():
        order = {cell: lines[cell] for cell in results.cells if cell in lines}
        cells = results.dressed(order)
        yield solved_by_length(task, order, cells)
        if (times := times_by_length(task, order, cells)) is not None:
            yield times


SECTION = Section("How long a task can be", "overview", 30, parts)
