"""Which runs a number rests on: what counts as one cell and one task, which setting validation
chose, which trials are the best.

Selection looks at validation only; what is reported is the test score. The seed is the unit of
replication wherever a setting has several; a search without repeated seeds has trials instead,
which selection makes look more alike than they are.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, total_ordering
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.errors import unknown
from rnnbench.formatting import label, slug
from rnnbench.stats.statistics import Floats, Goal, judged

# the settings that decide a run's numbers
DESIGN = ("cell.", "task.", "model.", "optim.", "train.")
BESIDES = (
    "cell.name",
    "cell.step",
    "cell.digest",
    "task.name",
    "task.digest",
    "task.type",
    "train.checkpoint_every",
    "train.probe_every",
)
SOURCES = ("cell.digest", "cell.step")  # where one name stands for several cells, what tells them
# what may stand around a cell makes variants of it; they say what differs from the bare cell
AROUND: dict[str, Any] = {
    "model.block": "plain",
    "model.layers": 1,
    "model.bidirectional": False,
}
# of cells that were given different ones, none can be called better
BUDGETS = ("train.epochs", "train.steps", "model.match")
# values of a cell's or a task's own setting, up to which each is a variant with a row of its own
VARIANTS = 12
ENDS = "train.stop_at_target"
TENTH, ENOUGH = 0.1, 5  # share of trials that are the best, if so many make it


@total_ordering
@dataclass(frozen=True)
class Variant:
    """A cell or a task, with the settings that tell it from others of its name.

    settings: (key, value) as typed, the kind left out: `(("length", 50),)`. As text it is what one
    would type, `adding length=50`; `label` is what people read.
    """

    name: str
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        return label(self.name, self.settings)

    @property
    def slug(self) -> str:
        """The part of a file's name."""
        return slug(self.name, [(key, said(value)) for key, value in self.settings])

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{key}={said(value)}" for key, value in self.settings)])

    def __lt__(self, other: "Variant") -> bool:
        return self._place < other._place

    @property
    def _place(self) -> tuple[str, tuple[tuple[str, tuple[bool, float, str]], ...]]:
        return self.name, tuple((key, ordering(value)) for key, value in self.settings)


@dataclass(frozen=True, order=True)
class Result:
    """What a number is about: a cell on a task."""

    task: Variant
    cell: Variant


ANY = Result(Variant(""), Variant(""))  # of runs that are chosen among, whatever they are of


@dataclass(frozen=True)
class Sample:
    """The runs of one cell on one task.

    runs: all that ended as results; best: those that the reported numbers rest on.

    tried: settings; by: what `best` is a sample of, seeds of the setting that validation chose, or
        the best trials of a search;
    setting: the chosen one, of the best run where there are trials; chosen: id of the run with the
        best validation score in `best`; chose: ids of runs of the chosen setting that took part in
        choosing it and are therefore not in `best`.
    """

    result: Result
    goal: Goal
    runs: pd.DataFrame
    best: pd.DataFrame
    tried: int
    by: str
    setting: dict[str, Any]
    chosen: str
    chose: tuple[str, ...] = ()

    @property
    def task(self) -> Variant:
        return self.result.task

    @property
    def cell(self) -> Variant:
        return self.result.cell

    @property
    def metric(self) -> str:
        return str(self.best["metric"].iloc[0])

    @cached_property
    def scores(self) -> Floats:
        """Test scores of the best runs, NaN for those that diverged."""
        return judged(self.best["value"], self.best["diverged"])

    @property
    def score(self) -> float:
        """Test score of the run with the best validation score."""
        return float(self.best.loc[self.best["id"] == self.chosen, "value"].iloc[0])


@dataclass(frozen=True)
class Selection:
    """All runs, failed ones too, and what was selected from them. This is made once and handed on.

    frame: `task` and `cell` are the Variants of each run. cells: the baseline first.
    """

    frame: pd.DataFrame
    samples: dict[Result, Sample]
    tasks: tuple[Variant, ...]
    cells: tuple[Variant, ...]
    baseline: Variant

    def of(self, task: Variant) -> list[Sample]:
        """The cells that have results on a task."""
        found = (self.samples.get(Result(task, cell)) for cell in self.cells)
        return [sample for sample in found if sample is not None]

    def runs(self, task: Variant) -> pd.DataFrame:
        """The runs of a task that ended as results."""
        ended = self.frame["status"] != "failed"
        return self.frame[ended & (self.frame["task"] == task)]


def study(
    frame: pd.DataFrame,
    baseline: str | None,
    searched: Collection[str] = (),
    trials: Collection[int] = (),
) -> Selection:
    """frame: from `load`. searched: settings that were searched over, see `identified`. trials: the
    seeds of the search, see `sample`.

    Raises UserError if there is no such baseline.
    """
    texts = frame.select_dtypes("str")  # a block each, which makes every choice of rows slow
    frame = identified(frame.astype(dict.fromkeys(texts, object)).copy(), searched)
    cells = sorted(frame["cell"].unique())
    first = baseline_cell(cells, baseline)
    ordered = (first, *(cell for cell in cells if cell != first))
    tasks = tuple(sorted(frame["task"].unique()))
    return Selection(frame, samples(frame, trials), tasks, ordered, first)


def identified(frame: pd.DataFrame, searched: Collection[str] = ()) -> pd.DataFrame:
    """The table with the Variant of each run as its `task` and `cell`: `adding length=50` where
    lengths vary. A task with another budget is another task: `charlm steps=4000`, `charlm
    match=params:16000`.

    What a search draws from a range (more than VARIANTS values), or is known to have been searched,
    is a hyperparameter and makes no variant; nor do steps that follow from passes over the data.
    """
    made = {}
    for kind in ("task", "cell"):
        names = frame[kind].astype(str)
        found = pd.Series([Variant(name) for name in names], frame.index, dtype=object)
        for name, members in frame.groupby(names, sort=True):
            if keys := _telling(kind, members, searched):
                rows = zip(members.index, members[keys].itertuples(index=False), strict=True)
                for index, values in rows:
                    found[index] = _variant(str(name), keys, values)
        made[kind] = found
    return frame.assign(**made)


def _telling(kind: str, members: pd.DataFrame, searched: Collection[str]) -> list[str]:
    """The settings that make variants of these runs, which are of one name."""
    own = ("cell.", *AROUND) if kind == "cell" else ("task.", *BUDGETS)
    keys = [key for key in varied(members) if key.startswith(own) and key not in searched]
    keys = [key for key in keys if members[key].map(repr).nunique() <= VARIANTS]
    if kind == "task":
        passes = "train.epochs" in members and members["train.epochs"].notna().all()
        return [key for key in keys if not (passes and key == "train.steps")]  # follow from passes
    tasks = members["task"]
    keys = [key for key in keys if (_distinct(members[key], tasks) > 1).any()]
    return keys + [key for key in SOURCES if key in members and members[key].nunique() > 1][:1]


def _distinct(values: "pd.Series[Any]", tasks: "pd.Series[Any]") -> "pd.Series[int]":
    return values.map(repr).groupby(tasks).nunique()


def _variant(name: str, keys: Sequence[str], values: Sequence[Any]) -> Variant:
    settings = [
        (key.partition(".")[2], value[:8] if key == SOURCES[0] else value)
        for key, value in zip(keys, values, strict=True)
        if said(value) != "null" and AROUND.get(key) != value
    ]
    return Variant(name, tuple(settings))


def varied(frame: pd.DataFrame) -> list[str]:
    """The settings that differ between these runs, labels and the interval of checkpoints aside."""
    columns = [c for c in frame if str(c).startswith(DESIGN) and c not in BESIDES]
    return [c for c in columns if _varies(frame[c])]


def _varies(values: "pd.Series[Any]") -> bool:
    """Whether there are two values whose text differs; quick where all are numbers."""
    found = values.to_numpy()
    if found.dtype.kind in "biuf":
        return bool((found != found[:1]).any() and not np.isnan(found.astype(float)).all())
    first = repr(found[0]) if len(found) else ""
    return any(value is not found[0] and repr(value) != first for value in found)


def said(value: Any) -> str:
    """A setting as text: 0.001, true, null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def ordering(value: Any) -> tuple[bool, float, str]:
    """What a setting is sorted by: numbers before words."""
    if isinstance(value, (int, float, np.number)) and not math.isnan(value):
        return False, float(value), ""
    return True, 0.0, said(value)


def samples(frame: pd.DataFrame, trials: Collection[int] = ()) -> dict[Result, Sample]:
    """The runs of each result and which of them count. frame: identified. trials: see `sample`.

    Results without a run that ended are left out.
    """
    ended = frame[frame["status"] != "failed"]
    return {
        result: sample(result, members, trials)
        for (task, cell), members in ended.groupby(["task", "cell"], sort=True)
        for result in [Result(task, cell)]
    }


def sample(result: Result, runs: pd.DataFrame, trials: Collection[int] = ()) -> Sample:
    """Choose by validation: a setting over its seeds if any has several, else the best trials.

    Candidates are the settings with at least half as many seeds as any has, so that a lucky single
    run does not win; a run that diverged, or was never validated, counts as the memoryless
    baseline or as the worst run, whichever is worse.

    A seed of the search (trials) took part in choosing, and so did one that was run with other
    settings, too: its score with the chosen one is better than that of a new seed would be. It does
    not count where new seeds are at least as many.
    """
    goal = goal_of(runs)
    keys = varied(runs)
    runs = runs.sort_values(["seed", "id"])
    settings = (
        runs[keys].map(repr).agg(" ".join, axis=1) if keys else pd.Series("", index=runs.index)
    )
    sizes = settings.groupby(settings).size()
    cost = choosing(runs)
    chose: list[str] = []
    if len(sizes) == 1 or sizes.max() > 1:
        means = cost.groupby(settings).mean()[sizes * 2 >= sizes.max()]
        one_each = runs[~settings.duplicated()]
        setting = best_first(means, one_each[keys].set_axis(settings[one_each.index]))[0]
        best, by = runs[settings == setting], "seeds"
        for seeds in (trials, runs.loc[settings != setting, "seed"]):
            took_part = best["seed"].isin(seeds)
            if 0 < took_part.sum() <= (~took_part).sum():
                chose += map(str, best.loc[took_part, "id"])
                best = best[~took_part]
        first = costs(runs, goal)[best.index].idxmin()
    else:
        kept = best_trials(len(runs))
        best, by = runs.loc[best_first(cost, runs[keys])[:kept]], "trials"
        first = best.index[0]
    return Sample(
        result,
        goal,
        runs,
        best,
        len(sizes),
        by,
        {key: runs.at[first, key] for key in keys},
        str(runs.at[first, "id"]),
        tuple(chose),
    )


def costs(runs: pd.DataFrame, goal: Goal) -> "pd.Series[float]":
    """Validation scores turned so that less is better, and every one a number."""
    sign = 1.0 if goal == "min" else -1.0
    found = sign * runs["valid"].where(~runs["diverged"]).astype(float)
    worst = found[np.isfinite(found)].max()
    memoryless = (sign * runs["baseline"].astype(float)).fillna(worst)
    return found.where(np.isfinite(found), memoryless.clip(lower=worst)).fillna(0.0)


def choosing(runs: pd.DataFrame) -> "pd.Series[float]":
    """The costs by which a setting is chosen. Runs that end at their target did equally well: by
    how much the last step went beyond it is chance.
    """
    goal = goal_of(runs)
    cost = costs(runs, goal)
    if ENDS not in runs:
        return cost
    target = runs["target"].astype(float).where(runs[ENDS].eq(True))
    return cost.clip(lower=(target if goal == "min" else -target).fillna(-math.inf))


def goal_of(runs: pd.DataFrame) -> Goal:
    """Which scores of these runs are better, those of one task."""
    return "max" if runs["goal"].iloc[0] == "max" else "min"


def ranked(runs: pd.DataFrame) -> "pd.Series[float]":
    """The runs of one cell on one task by the costs by which settings are chosen, the best
    first.
    """
    cost = choosing(runs)
    return cost[best_first(cost, runs[varied(runs)])]


def best_first(cost: "pd.Series[float]", settings: pd.DataFrame) -> list[Any]:
    """The index of `cost`, ascending; of equals, the middle one by its settings, then its
    neighbours: what lies at the end of a range in which all did as well is the likeliest to fail
    with another seed. Of two in the middle, first the one nearer the middle of all.

    settings: a row for each.
    """
    rows = settings.loc[cost.index].to_numpy(dtype=object).tolist()
    place = dict(zip(cost.index, (tuple(map(ordering, row)) for row in rows), strict=True))
    every = {one: i for i, one in enumerate(sorted(place, key=place.__getitem__))}
    found = list[Any]()
    for _, equal in cost.groupby(cost, sort=True):
        members = sorted(equal.index, key=every.__getitem__)
        marks = [
            (abs(2 * i - len(members) + 1), abs(2 * every[one] - len(every) + 1), i)
            for i, one in enumerate(members)
        ]
        found += [members[i] for _, _, i in sorted(marks)]
    return found


def best_trials(trials: int) -> int:
    """How many trials are the best: a tenth, as in Greff et al., or a quarter where a tenth would
    be too few to compare.
    """
    share = TENTH if trials * TENTH >= ENOUGH else 0.25
    return max(math.ceil(trials * share), 1)


def baseline_cell(cells: Sequence[Variant], wanted: str | None) -> Variant:
    """The cell that the others are compared with: the one asked for, else lstm, else the first.

    Of a cell with variants, its first.
    """
    name = wanted or "lstm"
    found = [cell for cell in cells if str(cell) == name]
    found = found or [cell for cell in cells if cell.name == name]
    if wanted is not None and not found:
        raise unknown("cell in these runs:", wanted, list(map(str, cells)))
    return (found or list(cells))[0]
