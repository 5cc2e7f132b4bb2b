"""Which runs a claim is about: filters on the columns of `load`, the cases they make, the runs that
then count.

A filter is column → a value, several (any of them), or {min: a, max: b}, both inclusive. Where a
filter leaves several settings, the one that validation chose counts, as everywhere in the report
(`choice.sample`); tasks and their lengths are never chosen among.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.formatting import listing
from rnnbench.runs.frame import limit
from rnnbench.stats.selection import Result, Variant, said, sample, varied
from rnnbench.stats.statistics import Floats, Goal, judged

Filter = Mapping[str, Any]


class Unanswerable(Exception):
    """Why the runs cannot speak about a case, in words that end a sentence."""


@dataclass(frozen=True)
class Side:
    """Runs on one side of a comparison.

    runs: those that count; by: what they are a sample of (see `choice.Sample`), or `all`.
    """

    name: str
    runs: pd.DataFrame
    goal: Goal
    by: str

    def scores(self, metric: str, log: bool = False, relative: str | None = None) -> Floats:
        """The metric of each run (n), NaN where it diverged; divided by the column
        `relative`; its log10 where asked.
        """
        found = judged(self.column(metric), self.runs["diverged"])
        if relative is not None:
            found = found / self.column(relative)
        if log and (found <= 0).any():
            raise Unanswerable(f"a {metric} of {self.name} is not positive and has no logarithm")
        return np.asarray(np.log10(found)) if log else found

    @property
    def limit(self) -> float:
        """What a diverged run costs in `value`, see `frame.limit`."""
        return limit(self.runs["baseline"], self.goal)

    def flags(self, metric: str) -> Floats:
        """Yes or no of each run (n), where the record says which."""
        known = self.runs[metric].dropna() if metric in self.runs else pd.Series(dtype=bool)
        if known.empty:
            raise Unanswerable(f"no run of {self.name} says whether it is {metric}")
        return np.asarray(known, float)

    def column(self, name: str) -> Floats:
        if name not in self.runs:
            raise Unanswerable(f"there is no column {name} in these runs")
        return np.asarray(pd.to_numeric(self.runs[name], errors="coerce"), float)


def cases(each: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Filters, one per combination of values; one that lets everything pass where there is nothing
    to combine.
    """
    return [dict(zip(each, values, strict=True)) for values in product(*each.values())]


def side(frame: pd.DataFrame, *filters: Filter, every: bool = False) -> Side:
    """The runs that the filters leave, named after their cell and the last filter; of each cell
    those of its chosen setting, or every one.
    """
    runs = matching(frame, *filters)
    cell = [{"cell": one["cell"]} for one in filters if "cell" in one][-1:]
    name = (
        named({key: value for one in (*cell, filters[-1]) for key, value in one.items()})
        or "the runs"
    )
    goal: Goal = "max" if (runs["goal"] == "max").any() else "min"
    if every:
        return Side(name, runs, goal, "all")
    several = [key for key in varied(runs) if key.startswith("task.")]
    if runs["task"].nunique() > 1 or several:
        values = [
            f"{key} {listing(sorted(map(said, runs[key].unique())), 'or')}"
            for key in (several or ["task"])
        ]
        raise Unanswerable(
            f"the filter leaves {listing(values)} open, and scores of different tasks are not "
            f"comparable"
        )
    chosen = [
        sample(Result(Variant(str(task)), Variant(str(cell))), members)
        for (task, cell), members in runs.groupby(["task", "cell"], sort=True)
    ]
    by = "trials" if any(one.by == "trials" for one in chosen) else "seeds"
    return Side(name, pd.concat([one.best for one in chosen]), goal, by)


def matching(frame: pd.DataFrame, *filters: Filter) -> pd.DataFrame:
    """The results that pass; of filters on the same column the last counts.

    Unanswerable if there is no such run, or no such column.
    """
    runs = frame[frame["status"] != "failed"]
    wanted = {key: value for one in filters for key, value in one.items()}
    for column, value in wanted.items():
        if column not in runs:
            raise Unanswerable(f"there is no column {column} in these runs")
        runs = runs[[passes(found, value) for found in runs[column]]]
    if runs.empty:
        raise Unanswerable(f"no run has {said_filter(wanted)}")
    return runs


def passes(value: Any, wanted: Any) -> bool:
    """Whether a setting is the one wanted.

    A missing number is null; a number is one of a range, if it is a number at all.
    """
    missing = value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))
    if isinstance(wanted, Mapping):
        number = (
            isinstance(value, (int, float, np.number))
            and not isinstance(value, bool)
            and not missing
        )
        return number and wanted.get("min", -math.inf) <= value <= wanted.get("max", math.inf)
    if isinstance(wanted, (list, tuple)) and not isinstance(value, tuple):
        return any(passes(value, one) for one in wanted)
    if wanted is None or missing:
        return wanted is None and missing
    return bool(value == (tuple(wanted) if isinstance(wanted, list) else wanted))


def named(filters: Filter) -> str:
    """A side in words: `lstm`, `lstm forget_bias=1`."""
    return " ".join(
        _value(wanted) if key in ("cell", "task") else f"{key.rpartition('.')[2]}={_value(wanted)}"
        for key, wanted in filters.items()
    )


def said_filter(filters: Filter) -> str:
    """A filter as it would be typed: `cell.forget_bias=1 and task=copy`."""
    return listing([f"{key}={_value(wanted)}" for key, wanted in filters.items()])


def _value(wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        low, high = (said(wanted[end]) if end in wanted else "" for end in ("min", "max"))
        return f"{low}…{high}"
    return "|".join(map(said, wanted)) if isinstance(wanted, (list, tuple)) else said(wanted)
