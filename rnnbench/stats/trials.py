"""A random search read as Greff et al. (2017) read theirs: how all trials of a cell spread, how its
best tenth does, Welch's test of that against the baseline, with the test of this package beside it.

Selection looks at validation, what is reported at test scores. The best tenth of a search is no
sample of anything: its members are alike because they were selected, so that p-values come out too
small. That is why ours, of new seeds at chosen settings, stands beside it.
"""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.stats.compare import Comparison
from rnnbench.stats.importance import bounded
from rnnbench.stats.selection import Result, Selection, Variant, goal_of, ranked, varied
from rnnbench.stats.statistics import Goal

TENTH = 0.1  # of the trials are the best ones; at least two, for a variance
ALL, BEST = "all trials", "the best tenth by validation"
BOX = ("low", "q25", "median", "mean", "q75", "high")


def trials(runs: pd.DataFrame, seeds: Collection[int]) -> pd.DataFrame:
    """The runs of one cell on one task that are its search, without those that repeat settings with
    new seeds or vary one setting alone; where settings were halved, those of the first budget.

    seeds: of the search (`claims.design.Study.search_seeds`).
    """
    found = runs[(runs["status"] != "failed") & runs["seed"].isin(list(seeds))]
    if found.empty:
        return found
    return found[found["train.steps"] == found["train.steps"].min()]


def best(runs: pd.DataFrame, share: float = TENTH) -> pd.DataFrame:
    """The trials with the best validation scores, the best first."""
    return runs.loc[ranked(runs).index[: max(round(len(runs) * share), 2)]]


def spreads(searched: Mapping[Result, pd.DataFrame]) -> pd.DataFrame:
    """What box plots show. A row per task, cell and `of` (ALL or BEST): n, how many of them
    diverged, low, q25, median, mean, q75, high of the test scores, and the mean number of
    parameters. searched: see `searches`.

    A diverged run scores as the memoryless baseline.
    """
    rows = []
    for result, search in searched.items():
        for name, members in ((ALL, search), (BEST, best(search))):
            scores = bounded(members)
            cuts = np.percentile(scores, (0, 25, 50, 75, 100))
            values = [*cuts[:3], scores.mean(), *cuts[3:]]
            rows.append(
                {"task": result.task, "cell": result.cell, "of": name, "n": len(members)}
                | {"diverged": int(members["diverged"].sum())}
                | dict(zip(BOX, map(float, values), strict=True))
                | {"params": float(members["params"].mean())}
            )
    return pd.DataFrame(rows, columns=["task", "cell", "of", "n", "diverged", *BOX, "params"])


def tests(
    searched: Mapping[Result, pd.DataFrame], baseline: Variant, ours: Sequence[Comparison]
) -> pd.DataFrame:
    """Welch's test of each cell's best tenth against the baseline's, corrected after Bonferroni
    over the cells of the task (as the paper has it), beside the test of new seeds.

    A row per task and cell: theirs_n, theirs_difference (of means, cell minus baseline), theirs_t,
    theirs_p (corrected); ours_n, ours_difference (shift), ours_p (corrected in its family), and
    agree: whether both say better, both worse or both nothing at 0.05; None where ours has no
    say. ours: from `compare.with_baseline`.
    """
    rows = []
    ours_by = {one.x.result: one for one in ours}
    for task in dict.fromkeys(one.task for one in searched):
        against = Result(task, baseline)
        if against not in searched:
            continue
        reference = bounded(best(searched[against]))
        others = [one for one in searched if one.task == task and one != against]
        for one in others:
            members = best(searched[one])
            scores = bounded(members)
            t, p = _welch(scores, reference)
            p = min(p * len(others), 1.0)
            difference = float(scores.mean() - reference.mean())
            row = {
                "task": task,
                "cell": one.cell,
                "theirs_n": len(members),
                "theirs_difference": difference,
                "theirs_t": t,
                "theirs_p": p,
            }
            rows.append(row | _ours(ours_by.get(one), difference, p, goal_of(members)))
    return pd.DataFrame(rows)


def _welch(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(t, p) of Welch's test; NaN and 1 where neither sample has any spread, as on a plateau."""
    spreads = [float(np.std(sample, ddof=1)) for sample in (x, y)]
    if not any(spreads):
        return math.nan, 1.0
    test = stats.ttest_ind_from_stats(
        x.mean(), spreads[0], len(x), y.mean(), spreads[1], len(y), equal_var=False
    )
    return float(test.statistic), float(test.pvalue)


def _ours(one: Comparison | None, difference: float, p: float, goal: Goal) -> dict[str, object]:
    if one is None or one.x.by != "seeds":
        return {"ours_n": 0, "ours_difference": math.nan, "ours_p": math.nan, "agree": None}
    said = "" if not one.significant else one.verdict
    theirs = ""
    if p < 0.05:
        theirs = "better" if (difference < 0) == (goal == "min") else "worse"
    return {
        "ours_n": int(one.x.scores.size),
        "ours_difference": one.shift.value,
        "ours_p": one.p,
        "agree": None if math.isnan(one.p) else said == theirs,
    }


def searches(study: Selection, seeds: Collection[int]) -> dict[Result, pd.DataFrame]:
    """A cell on a task → the trials of its search, where any setting differs among them. seeds: of
    the search; none: every run is a trial.
    """
    found = {}
    for result, sample in study.samples.items():
        search = trials(sample.runs, seeds) if seeds else sample.runs
        if len(search) > 1 and varied(search):
            found[result] = search
    return found
