"""The leaderboard of a task: what each cell reached, how surely, how soon, how fast; and what
ignorance scores.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from rnnbench.formatting import anchor, count, listing, number, score
from rnnbench.report.document import Column, Entry, Group, Table
from rnnbench.stats.compare import standing
from rnnbench.stats.selection import Sample, Study
from rnnbench.stats.statistics import FEWEST, Estimate, median
from rnnbench.stats.survival import Share, Time, share, time_to_target

ARROW = {"min": "↓", "max": "↑"}


def leaderboards(study: Study) -> list[Table]:
    return [leaderboard(task, study.of(task)) for task in study.tasks if study.of(task)]


def leaderboard(task: str, samples: Sequence[Sample]) -> Table:
    """Cells by what they reached, best first; the last row is what a model without memory
    scores.
    """
    first = samples[0]
    metric, goal = first.runs["metric"].iloc[0], first.goal
    sign = 1 if goal == "min" else -1
    ordered = sorted(
        samples, key=lambda s: (not math.isfinite(standing(s)), sign * standing(s), s.cell)
    )
    unit = f"{metric} {ARROW[goal]}"
    columns = [
        Column("cell", "cell", align="left"),
        Column("parameters", "params"),
        Column("n", "n"),
        Column("solved", "solved"),
        Column("diverged", "diverged", "of all"),
        Column("median", "median", unit),
        Column("best", "best", unit),
        Column("time to target", "steps_to_target", "steps"),
        Column("throughput", "steps_per_s", "steps/s"),
    ]
    rows = [_row(sample) for sample in ordered]
    ignorant, blank = _only(first.runs["baseline"]), Entry("–", "")
    if not math.isnan(ignorant):
        rows.append(
            [Entry("without memory"), *[blank] * 4, Entry(number(ignorant), ignorant), *[blank] * 3]
        )
    target = _only(first.runs["target"])
    aim = (
        f"Solved: validation reached {metric} {number(target)}."
        if not math.isnan(target)
        else "This task has no target, so nothing counts as solved."
    )
    caption = f"{task}. Test {metric}, {'less' if goal == 'min' else 'more'} is better. {aim}"
    return Table(f"leaderboard-{anchor(task)}", caption, columns, [Group("", rows)])


def _row(sample: Sample) -> list[Entry]:
    best, key = sample.best, anchor("runs", sample.task, sample.cell)
    solved = share(best["solved"].astype(bool)) if best["solved"].notna().all() else None
    diverged = share(sample.runs["diverged"])
    time = time_to_target(best["solved_at"], best["train.steps"]) if solved else None
    chosen = best.loc[best["id"] == sample.chosen].iloc[0]
    top = math.nan if chosen["diverged"] else float(chosen["value"])
    return [
        Entry(sample.cell, runs=key),
        _params(best["params"], key),
        Entry(
            count(len(best)),
            len(best),
            f"of {count(len(sample.runs))}" if len(best) < len(sample.runs) else "",
            runs=key,
        ),
        _share(solved, key),
        _share(diverged, key),
        score_entry(median(sample.scores, sample.goal), key),
        Entry(number(top), top, runs=anchor("run", sample.chosen)),
        _time(time, key),
        Entry(number(_median(best["steps_per_s"]), 3), _median(best["steps_per_s"]), runs=key),
    ]


def _params(params: "pd.Series[float]", key: str) -> Entry:
    low, high = params.min(), params.max()
    return Entry(
        count(params.median()),
        float(params.median()),
        f"{count(low)} to {count(high)}" if low != high else "",
        runs=key,
    )


def _share(found: Share | None, key: str) -> Entry:
    if found is None:
        return Entry("–", "")
    aside = f"[{found.low:.0%}, {found.high:.0%}]"
    return Entry(f"{found.count}/{found.n}", found.share, aside, (found.low, found.high), key)


def score_entry(found: Estimate, key: str) -> Entry:
    """A median score with its interval."""
    aside = ""
    if not math.isnan(found.low):
        aside = f"[{score(found.low, 3)}, {score(found.high, 3)}]"
    return Entry(score(found.value), found.value, aside, (found.low, found.high), key)


def _time(found: Time | None, key: str) -> Entry:
    if found is None:
        return Entry("–", "")
    if math.isnan(found.median):
        return Entry(
            "not reached", math.inf, f"{found.solved}/{found.n}", (math.nan, math.nan), key
        )
    aside = (
        f"[{count(found.low)}, {'∞' if math.isinf(found.high) else count(found.high)}]"
        if found.n > 1
        else ""
    )
    return Entry(count(found.median), found.median, aside, (found.low, found.high), key)


def legend(samples: Sequence[Sample]) -> list[str]:
    """How to read these tables, said once for all of them."""
    notes = []
    if any(s.by == "seeds" for s in samples):
        searched = [s for s in samples if s.by == "seeds" and s.tried > 1]
        chosen = " of the setting with the best mean validation score" if searched else ""
        notes.append(f"n: seeds{chosen}. Each seed is one run.")
    if trials := [s for s in samples if s.by == "trials"]:
        sizes = sorted({len(s.best) for s in trials})
        notes.append(
            f"n: the best {listing([str(n) for n in sizes], 'or')} trials by validation where "
            f"each setting had one run. "
            "Selected trials are more alike than new runs would be: intervals are too narrow, "
            "p-values too small."
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


def _only(values: "pd.Series[float]") -> float:
    """The number that all runs agree on, or NaN."""
    found = np.unique(values.dropna())
    return float(found[0]) if found.size == 1 else math.nan


def _median(values: "pd.Series[float]") -> float:
    return float(values.median()) if values.notna().any() else math.nan
