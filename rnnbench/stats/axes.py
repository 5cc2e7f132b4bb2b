"""Three fair axes: what cells reach with equal parameters, after equal steps, for equal arithmetic.

A cell that is ahead on one may be behind on another, and a comparison that shows one axis only has
chosen its winner. Seconds are no axis here: runs that shared a pack, or a machine, shared its time.
"""

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.stats.selection import Sample, Selection, Variant
from rnnbench.stats.statistics import costs

PARAMETERS, STEPS, ARITHMETIC = "parameters", "steps", "arithmetic"
BY_PARAMETERS = "arithmetic by parameters"
MATCHED = {"params": PARAMETERS, "flops": ARITHMETIC}  # what cells are matched by → the axis
COLUMNS = ("task", "axis", "budget", "cell", "score", "rank")


@dataclass(frozen=True)
class Moved:
    """A cell whose rank depends on the axis. ranks: axis → rank, 1 is best, of the same cells."""

    task: Variant
    cell: Variant
    ranks: dict[str, float]

    @property
    def distance(self) -> float:
        return max(self.ranks.values()) - min(self.ranks.values())


def ranked(study: Selection, points: pd.DataFrame) -> pd.DataFrame:
    """What each cell reached in validation at equal budgets, best first, with its rank among the
    cells that have results on every axis of the task: a table with COLUMNS.

    points: validation curves of the runs that count, see `frame.curves`.

    Axes: `parameters`: cells matched by them, after equal steps. `steps`: equal units instead.
    `arithmetic`: cells matched by the FLOPs of a step, after equal steps; where there are none,
    equal units, when each has done as many FLOPs as the one that did fewest, as records say
    (of a batch, at one position of its sequences, forward). `arithmetic by parameters` where some
    records do not, of schema 1: a parameter counts as one. Scores are medians over the runs that
    count, diverged ones the worst.
    """
    rows = [row for members in _alike(study).values() for row in _of_task(members, points)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def moved(table: pd.DataFrame) -> list[Moved]:
    """The cells of `ranked` whose rank changes from axis to axis, the farthest first."""
    found = [
        Moved(task, cell, dict(zip(rows["axis"], rows["rank"], strict=True)))
        for (task, cell), rows in table.groupby(["task", "cell"])
    ]
    return sorted((one for one in found if one.distance > 0), key=lambda one: -one.distance)


def _alike(study: Selection) -> dict[Hashable, dict[str, list[Sample]]]:
    """The samples of each task with equal data and steps, by the axis on which they are equal."""
    found: dict[Hashable, dict[str, list[Sample]]] = {}
    for sample in study.samples.values():
        run = sample.best.iloc[0]
        settings = [key for key in sample.best if str(key).startswith("task.")]
        key = (*(repr(run[one]) for one in settings), repr(run["train.steps"]))
        kind, _, _ = str(run.get("model.match") or "").partition(":")
        found.setdefault(key, {}).setdefault(MATCHED.get(kind, STEPS), []).append(sample)
    return found


def _of_task(members: dict[str, list[Sample]], every: pd.DataFrame) -> Iterator[tuple[object, ...]]:
    axes: list[tuple[str, float, dict[Variant, float]]] = []
    for axis, samples in members.items():
        steps = min(float(sample.best["train.steps"].min()) for sample in samples)
        axes.append((axis, steps, _reached(samples, [steps] * len(samples), every)))
        if axis == STEPS and ARITHMETIC not in members:
            known = all(sample.best["flops"].notna().all() for sample in samples)
            count, name = ("flops", ARITHMETIC) if known else ("params", BY_PARAMETERS)
            price = [float((s.best[count] * s.best["train.batch"]).median()) for s in samples]
            budget = steps * min(price)
            afford = [budget / one for one in price]
            axes.append((name, budget, _reached(samples, afford, every)))
    common = set.intersection(*(set(scores) for _, _, scores in axes))
    first = next(iter(members.values()))[0]
    rest = (setting for setting in first.task.settings if setting[0] != "match")
    task = Variant(first.task.name, tuple(rest))
    for axis, budget, scores in axes:
        cells = sorted(common)
        cost = costs([scores[cell] for cell in cells], first.goal)
        places = stats.rankdata(cost)
        for k in np.argsort(places, kind="stable"):
            yield task, axis, budget, cells[k], scores[cells[k]], float(places[k])


def _reached(
    samples: list[Sample], steps: list[float], every: pd.DataFrame
) -> dict[Variant, float]:
    """Cell → the median of what its runs had reached in validation after so many steps; cells that
    had not been validated by then are left out.
    """
    found = {}
    for sample, limit in zip(samples, steps, strict=True):
        metric = sample.metric
        points = every[every["id"].isin(sample.best["id"]) & (every["column"] == metric)]
        points = points[points["step"] <= limit]
        lost = set(sample.best.loc[sample.best["diverged"], "id"])
        sign = 1.0 if sample.goal == "min" else -1.0
        best = (sign * points["value"]).groupby(points["id"]).min()
        values = [
            math.inf if run in lost else float(best[run])
            for run in sample.best["id"]
            if run in lost or run in best.index
        ]
        if values:
            found[sample.cell] = sign * float(np.median(values))
    return found
