"""Which runs a number rests on: what counts as one cell and one task, which setting validation
chose, which trials are the best.

Selection looks at validation only; what is reported is the test score. The seed is the unit of
replication wherever a setting has several; a search without repeated seeds has trials instead,
which selection makes look more alike than they are.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.errors import unknown
from rnnbench.stats.statistics import Floats, Goal, judged

DESIGN = (
    "cell.",
    "task.",
    "model.",
    "optim.",
    "train.",
)  # the settings that decide a run's numbers
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
BUDGETS = (
    "train.steps",
    "model.match",
)  # of cells that were given different ones, none can be called better
# values of a cell's or a task's own setting, up to which each is a variant with a row of its own
VARIANTS = 12
TENTH, ENOUGH = 0.1, 5  # share of trials that are the best, if so many make it


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

    task: str
    cell: str
    goal: Goal
    runs: pd.DataFrame
    best: pd.DataFrame
    tried: int
    by: str
    setting: dict[str, Any]
    chosen: str
    chose: tuple[str, ...] = ()

    @property
    def scores(self) -> Floats:
        """Test scores of the best runs, NaN for those that diverged."""
        return judged(self.best["value"], self.best["diverged"])

    @property
    def score(self) -> float:
        """Test score of the run with the best validation score."""
        return float(self.best.loc[self.best["id"] == self.chosen, "value"].iloc[0])


@dataclass(frozen=True)
class Study:
    """All runs under names of their own (see `labelled`), failed ones too; cells with the baseline
    first.
    """

    frame: pd.DataFrame
    samples: dict[tuple[str, str], Sample]
    tasks: tuple[str, ...]
    cells: tuple[str, ...]
    baseline: str

    def of(self, task: str) -> list[Sample]:
        """The cells that have results on a task."""
        return [self.samples[task, cell] for cell in self.cells if (task, cell) in self.samples]


def study(frame: pd.DataFrame, baseline: str | None, searched: Collection[str] = ()) -> Study:
    """frame: from `load`. searched: settings that were searched over, see `labelled`.

    Raises UserError if there is no such baseline.
    """
    frame = labelled(frame, searched)
    found = samples(frame)
    cells = sorted(map(str, frame["cell"].unique()))
    first = baseline_cell(cells, baseline)
    ordered = (first, *(cell for cell in cells if cell != first))
    return Study(frame, found, tuple(sorted(map(str, frame["task"].unique()))), ordered, first)


def labelled(frame: pd.DataFrame, searched: Collection[str] = ()) -> pd.DataFrame:
    """The table with a name of its own for each variant of a cell or a task: `adding length=50`
    where lengths vary. A task with another budget is another task: `charlm steps=4000`, `charlm
    match=params:16000`.

    What a search draws from a range (more than VARIANTS values), or is known to have been searched,
    is a hyperparameter and makes no variant.
    """
    frame = frame.copy()
    for kind in ("task", "cell"):
        names = frame[kind].astype(str).copy()
        for name, members in frame.groupby(kind, sort=True):
            own = f"{kind}." if kind == "cell" else (f"{kind}.", *BUDGETS)
            keys = [key for key in varied(members) if key.startswith(own) and key not in searched]
            keys = [key for key in keys if members[key].map(repr).nunique() <= VARIANTS]
            if kind == "cell":
                keys = [
                    key
                    for key in keys
                    if members.groupby("task")[key]
                    .apply(lambda values: values.map(repr).nunique())
                    .max()
                    > 1
                ]
            if kind == "cell":
                keys += [key for key in SOURCES if key in members and members[key].nunique() > 1][
                    :1
                ]
            for index, row in members[keys].iterrows() if keys else ():
                names[index] = " ".join(
                    [
                        str(name),
                        *(
                            f"{key.partition('.')[2]}={value[:8] if key == SOURCES[0] else value}"
                            for key in keys
                            if (value := said(row[key])) != "null"
                        ),
                    ]
                )
        frame[kind] = names
    return frame


def varied(frame: pd.DataFrame) -> list[str]:
    """The settings that differ between these runs, labels and the interval of checkpoints aside."""
    columns = [c for c in frame if str(c).startswith(DESIGN) and c not in BESIDES]
    return [c for c in columns if frame[c].map(repr).nunique() > 1]


def said(value: Any) -> str:
    """A setting as text: 0.001, true, null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "null"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def samples(frame: pd.DataFrame) -> dict[tuple[str, str], Sample]:
    """(task, cell) → its runs and which of them count. frame: labelled.

    Pairs without a result are left out.
    """
    results = frame[frame["status"] != "failed"]
    return {
        (str(task), str(cell)): sample(str(task), str(cell), members)
        for (task, cell), members in results.groupby(["task", "cell"], sort=True)
    }


def sample(task: str, cell: str, runs: pd.DataFrame) -> Sample:
    """Choose by validation: a setting over its seeds if any has several, else the best trials.

    Candidates are the settings with at least half as many seeds as any has, so that a lucky single
    run does not win; a run that diverged, or was never validated, counts as the memoryless
    baseline or as the worst run, whichever is worse.

    A seed that was run with other settings, too, took part in choosing, so that its score with the
    chosen one is better than that of a new seed would be: it does not count where new seeds are at
    least as many.
    """
    goal: Goal = "min" if runs["goal"].iloc[0] != "max" else "max"
    keys = varied(runs)
    runs = runs.sort_values(["seed", "id"])
    settings = (
        runs[keys].map(repr).agg(" ".join, axis=1) if keys else pd.Series("", index=runs.index)
    )
    sizes = settings.groupby(settings).size()
    cost = costs(runs, goal)
    chose: tuple[str, ...] = ()
    if len(sizes) == 1 or sizes.max() > 1:
        means = cost.groupby(settings).mean()[sizes * 2 >= sizes.max()]
        best, by = runs[settings == means.idxmin()], "seeds"
        took_part = best["seed"].isin(runs.loc[settings != means.idxmin(), "seed"])
        if 0 < took_part.sum() <= (~took_part).sum():
            chose = tuple(map(str, best.loc[took_part, "id"]))
            best = best[~took_part]
    else:
        kept = best_trials(len(runs))
        best, by = runs.loc[cost.sort_values(kind="stable").index[:kept]], "trials"
    first = cost[best.index].idxmin()
    return Sample(
        task,
        cell,
        goal,
        runs,
        best,
        len(sizes),
        by,
        {key: runs.at[first, key] for key in keys},
        str(runs.at[first, "id"]),
        chose,
    )


def costs(runs: pd.DataFrame, goal: Goal) -> "pd.Series[float]":
    """Validation scores turned so that less is better, and every one a number."""
    sign = 1.0 if goal == "min" else -1.0
    found = sign * runs["valid"].where(~runs["diverged"]).astype(float)
    worst = found[np.isfinite(found)].max()
    memoryless = (sign * runs["baseline"].astype(float)).fillna(worst)
    return found.where(np.isfinite(found), memoryless.clip(lower=worst)).fillna(0.0)


def ranked(runs: pd.DataFrame) -> "pd.Series[float]":
    """Validation scores of the runs of one cell on one task as costs, the best first."""
    goal: Goal = "min" if runs["goal"].iloc[0] != "max" else "max"
    return costs(runs, goal).sort_values(kind="stable")


def best_trials(trials: int) -> int:
    """How many trials are the best: a tenth, as in Greff et al., or a quarter where a tenth would
    be too few to compare.
    """
    share = TENTH if trials * TENTH >= ENOUGH else 0.25
    return max(math.ceil(trials * share), 1)


def baseline_cell(cells: Sequence[str], wanted: str | None) -> str:
    """The cell that the others are compared with: the one asked for, else lstm, else the first.

    Of a cell with variants, its first.
    """
    name = wanted or "lstm"
    found = [cell for cell in cells if cell == name] or [
        cell for cell in cells if cell.partition(" ")[0] == name
    ]
    if wanted is not None and not found:
        raise unknown("cell in these runs:", wanted, cells)
    return (found or cells)[0]
