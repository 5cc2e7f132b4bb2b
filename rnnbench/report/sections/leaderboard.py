"""The leaderboard of a task: what each cell reached, how surely, how soon, how fast, beside what
the memoryless baseline scores.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from rnnbench.formatting import listing, number
from rnnbench.report.results import Results
from rnnbench.report.section import Section
from rnnbench.report.sections.scoreboard import ARROW
from rnnbench.report.table import (
    COUNT,
    COUNTED,
    ESTIMATE,
    NUMBER,
    SHARE,
    TEXT,
    TIME,
    Column,
    Part,
    Table,
    result_place,
    rounded,
    run_place,
)
from rnnbench.stats.compare import standing
from rnnbench.stats.selection import Sample, Variant
from rnnbench.stats.statistics import FEWEST, Estimate, median
from rnnbench.stats.survival import Share, Time, share, time_to_target

MEMORYLESS = "without memory"  # the last row


def parts(results: Results, task: Variant) -> Iterator[Part]:
    samples = results.ordered(task)
    if not samples:
        yield "No run of this task ended as a result."
        return
    if worst := not_better(samples):
        yield f"No better than a model without memory: {listing(worst)}."
    yield leaderboard(task, samples)


def leaderboard(task: Variant, samples: Sequence[Sample]) -> Table:
    """samples: the best first. The last row is what a model without memory scores."""
    first = samples[0]
    unit = f"{first.metric} {ARROW[first.goal]}"
    baseline, target = (_only(first.runs[key]) for key in ("baseline", "target"))

    def of(row: Sample | str) -> str:
        return result_place(row.result) if isinstance(row, Sample) else ""

    def chosen(row: Sample | str) -> str:
        return run_place(row.chosen) if isinstance(row, Sample) else ""

    columns = [
        Column("cell", lambda row: getattr(row, "cell", row), TEXT, link=of),
        Column("median", lambda row: _median(row, baseline), ESTIMATE, unit, link=of),
        Column("solved", _solved, SHARE, link=of),
        Column("n", _n, COUNTED, link=of),
        Column("diverged", _diverged, SHARE, "of all", link=of, wide=True),
        Column("time to target", _time, TIME, "steps", "steps_to_target", link=of, wide=True),
        Column("parameters", _params, COUNT, key="params", link=of),
        Column("best", _top, NUMBER, unit, link=chosen, wide=True),
        Column("throughput", _speed, rounded(3), "steps/s", "steps_per_s", link=of, wide=True),
    ]
    rows = [*samples, *([] if math.isnan(baseline) else [MEMORYLESS])]
    aim = (
        "This task has no target, so nothing counts as solved."
        if math.isnan(target)
        else f"Solved: validation reached {first.metric} {number(target)}."
    )
    better = "less" if first.goal == "min" else "more"
    caption = f"{task.label}: test {first.metric}, {better} is better. {aim}"
    return Table(
        f"leaderboard-{task.slug}",
        caption,
        columns,
        rows,
        legend(samples),
        cell=lambda row: row.cell if isinstance(row, Sample) else None,
    )


def _median(row: Sample | str, baseline: float) -> Estimate:
    if isinstance(row, Sample):
        return median(row.scores, row.goal)
    return Estimate(baseline, math.nan, math.nan, 0)


def _n(row: Sample | str) -> tuple[int, str] | None:
    if not isinstance(row, Sample):
        return None
    n, of = len(row.best), len(row.runs)
    return n, f"of {of:,}" if n < of else ""


def _solved(row: Sample | str) -> Share | None:
    if isinstance(row, Sample) and row.best["solved"].notna().all():
        return share(row.best["solved"].astype(bool))
    return None


def _diverged(row: Sample | str) -> Share | None:
    return share(row.runs["diverged"]) if isinstance(row, Sample) else None


def _time(row: Sample | str) -> Time | None:
    if isinstance(row, Sample) and row.best["solved"].notna().all():
        return time_to_target(row.best["solved_at"], row.best["train.steps"])
    return None


def _params(row: Sample | str) -> float | None:
    return float(row.best["params"].median()) if isinstance(row, Sample) else None


def _top(row: Sample | str) -> float | None:
    if not isinstance(row, Sample):
        return None
    chosen = row.best.loc[row.best["id"] == row.chosen].iloc[0]
    return None if chosen["diverged"] else float(chosen["value"])


def _speed(row: Sample | str) -> float | None:
    return float(row.best["steps_per_s"].median()) if isinstance(row, Sample) else None


def _only(values: "pd.Series[float]") -> float:
    """The number that all runs agree on, or NaN."""
    found = np.unique(values.dropna())
    return float(found[0]) if found.size == 1 else math.nan


def legend(samples: Sequence[Sample]) -> list[str]:
    """How to read the table."""
    notes = []
    if any(s.by == "seeds" for s in samples):
        searched = any(s.by == "seeds" and s.tried > 1 for s in samples)
        chosen = " of the setting with the best mean validation score" if searched else ""
        notes.append(f"n: seeds{chosen}. Each seed is one run.")
    if trials := [s for s in samples if s.by == "trials"]:
        sizes = sorted({len(s.best) for s in trials})
        notes.append(
            f"n: the best {listing([str(n) for n in sizes], 'or')} trials by validation where each "
            f"setting had one run. Selected trials are more alike than new runs would be: "
            f"intervals are too narrow, p-values too small."
        )
    notes.append(
        "Brackets: 95 % intervals; shares by Clopper and Pearson, medians between two scores in "
        "order, whatever the scores are drawn from. Diverged runs are in them, as the worst. Time "
        "to target: median, with runs that never got there counted as needing more than their "
        "budget. Best: test score of the run with the best validation score."
    )
    if any(len(s.best) < FEWEST for s in samples):
        notes.append(f"Below {FEWEST} runs a median has no interval.")
    return notes


def not_better(samples: Sequence[Sample]) -> list[str]:
    """The cells that scored no better than the memoryless baseline."""
    below = []
    for sample in samples:
        level, reached = float(sample.runs["baseline"].iloc[0]), standing(sample)
        sign = 1 if sample.goal == "min" else -1
        if math.isfinite(level) and math.isfinite(reached) and sign * reached >= sign * level:
            below.append(sample.cell.label)
    return below


SECTION = Section("Scores", "task", 10, parts)
