"""What must hold of runs before they may speak for or against a paper.

Runs that were still improving say what is learned first, not what is learned; a setting at the edge
of its range may have a better one beyond it; another task or size may have another answer. Then a
case is not comparable, whatever its p says, and the gate that failed is named.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rnnbench.claims.design import Claim
from rnnbench.claims.kind import kinds
from rnnbench.claims.selection import Side, Unanswerable, side
from rnnbench.formatting import listing
from rnnbench.runs.frame import curves
from rnnbench.runs.improvement import last_fifth
from rnnbench.stats import selection
from rnnbench.stats.statistics import Floats, costs

UNDONE = 0.2  # the share of runs that may still improve at their end
GAIN = 0.01  # a run still improves that gains more than this in the last fifth of it
EDGE = 0.05  # of the range of a search over more values than MANY, on a log scale; of its trials
MANY = 8
LEARNT = 0.2  # of the way from the memoryless baseline to the target: below it nothing is learnt
WIDE = 100  # the highest rate over the lowest, from which on a range speaks for what lies beyond it
RATE = "optim.lr"
SAME = ("task.", "cell.", "model.match", "optim.name")
BUDGET = "train.steps"


def improving(frame: pd.DataFrame, points: pd.DataFrame | None = None) -> "pd.Series[bool]":
    """Of each run (a row of `load`), whether it was still improving when it ended: as its record
    says, or, of schema 1, by its curve.

    False for runs that diverged, reached their target, or have no curve. points: their curves, read
    where they are needed and not given.
    """
    known = frame["improved"].notna()
    found = {
        run: still_improving({"improved": improved, "gain": gain})
        for run, improved, gain in frame.loc[known, ["id", "improved", "gain"]].itertuples(False)
    }
    if not known.all():
        found |= _by_curve(frame[~known], points)
    done = frame["diverged"] | frame["solved"].fillna(False).astype(bool)
    return frame["id"].map(found).fillna(False).astype(bool) & ~done


def _by_curve(frame: pd.DataFrame, points: pd.DataFrame | None) -> dict[str, bool]:
    if points is None:
        points = curves(frame, tuple(sorted(set(frame["metric"].dropna()))), "valid")
    goals, metrics = frame.set_index("id")["goal"], frame.set_index("id")["metric"]
    points = points[points["column"] == points["id"].map(metrics)]
    return {
        str(run): still_improving(
            last_fifth(rows["step"], costs(rows["value"], goals[run]).tolist())
        )
        for run, rows in points.groupby("id")
    }


def still_improving(found: Mapping[str, float] | None) -> bool:
    """Whether a run's best validation is the last one, or better by more than GAIN than what it had
    reached when a fifth of its steps were left. found: see `runs.improvement`.
    """
    return found is not None and (found["improved"] >= 1 or found["gain"] > GAIN)


def failed(frame: pd.DataFrame, claim: Claim, case: Mapping[str, Any]) -> str:
    """Which gate these runs do not pass, in words; empty if they pass all.

    frame: of the whole study, with `improving` where the first gate is to be asked.
    """
    if other := differing(claim, case):
        return other
    members = sides(frame, claim, case)
    if not members:
        return ""
    learns = kinds()[claim.kind].learns
    if learns and not claim.budget and "improving" in frame:
        undone = pd.concat([one.runs["improving"] for one in members])
        if undone.mean() > UNDONE:
            return f"{int(undone.sum())} of {len(undone)} runs were still improving at their end"
    fixed = {key for part in (claim.where, case, claim.x, claim.y) for key in part}
    if learns and RATE not in fixed:
        for one in members:
            if edge := at_edge(frame, one):
                return edge
    return ""


def unlearnt(frame: pd.DataFrame, claim: Claim, case: Mapping[str, Any]) -> str:
    """Which side learnt nothing with any rate that was tried, in words; empty if none. It may lose
    in a claim that is reproduced, but that it did not learn in our budget does not contradict that
    it learns in theirs.
    """
    if claim.budget or not kinds()[claim.kind].learns:
        return ""
    for one in sides(frame, claim, case):
        for _, run in one.runs.drop_duplicates(RATE).iterrows():
            like = alike(frame, run)
            if _learnt_with_none(like, run):
                tried = listing([f"{rate:g}" for rate in tried_for(like, run)])
                return f"{one.name} learnt nothing in this budget, with a learning rate of {tried}"
    return ""


def differing(claim: Claim, case: Mapping[str, Any]) -> str:
    """What the claim says of how these runs differ from the paper's task or size."""
    if isinstance(claim.comparable, str):
        return claim.comparable
    task = {**claim.where, **case}.get("task")
    return claim.comparable.get(str(task), "")


def sides(frame: pd.DataFrame, claim: Claim, case: Mapping[str, Any]) -> list[Side]:
    """The runs that a claim compares; none for claims about a search, or if a side is missing."""
    try:
        return [
            side(frame, claim.where, case, *filters, every=claim.all)
            for filters in kinds()[claim.kind].sides(claim)
        ]
    except Unanswerable:
        return []


def at_edge(frame: pd.DataFrame, one: Side) -> str:
    """Whether a rate that validation chose is the lowest or highest that was tried for the same
    cell, task and budget; empty if it is not, if only one was tried, or if the choice was a toss:
    one between the edges did as well, or with none of a wide range anything was learnt.

    Of the best trials of a search that many may lie there as do without any preference, EDGE.
    """
    chosen = one.runs if one.by == "trials" else one.runs.drop_duplicates(RATE)
    found = [edge for _, run in chosen.iterrows() if (edge := _edge(frame, one, run))]
    if one.by == "trials" and len(found) <= EDGE * len(chosen):
        return ""
    return next(iter(found), "")


def _edge(frame: pd.DataFrame, one: Side, run: "pd.Series[Any]") -> str:
    """The same of the rate of one run."""
    like = alike(frame, run)
    tried = tried_for(like, run)
    if tried.size < 2:
        return ""
    place = float(run[RATE])
    low, high = tried[0], tried[-1]
    if tried.size > MANY:
        reach = (high / low) ** EDGE
        low, high = low * reach, high / reach
    wide = tried[-1] >= WIDE * tried[0]
    toss = _as_good_inside(like, run, low, high) or (wide and _learnt_with_none(like, run))
    if low < place < high or toss:
        return ""
    end = "lower" if place <= low else "upper"
    return (
        f"the learning rate {place:g} of {one.name} is at the {end} edge of those tried "
        f"({tried[0]:g} to {tried[-1]:g})"
    )


def alike(frame: pd.DataFrame, run: "pd.Series[Any]") -> pd.DataFrame:
    """The runs of the same cell on the same task, whatever their rate, seed and budget."""
    near = frame[(frame["task"] == run["task"]) & (frame["cell"] == run["cell"])]
    keys = [key for key in near if str(key).startswith(SAME)]
    return near[(near[keys].map(repr) == run[keys].map(repr)).all(axis=1)]


def _as_good_inside(like: pd.DataFrame, run: "pd.Series[Any]", low: float, high: float) -> bool:
    """Whether a rate between low and high was no worse in validation than that of `run`, over the
    seeds that ran both with its budget.
    """
    rows = like[like[BUDGET] == run[BUDGET]]
    rows = rows.assign(cost=selection.choosing(rows))
    scores = rows.pivot_table("cost", "seed", RATE)
    chosen, inside = float(run[RATE]), [rate for rate in scores if low < rate < high]
    both = [scores[[chosen, rate]].dropna().mean() for rate in inside if chosen in scores]
    return any(means.iloc[1] <= means.iloc[0] for means in both)


def _learnt_with_none(like: pd.DataFrame, run: "pd.Series[Any]") -> bool:
    """Whether with none of the rates tried with the budget of this run the best validation of any
    run came LEARNT of the way from the memoryless baseline to the target.

    False where the task has no target or the records no baseline.
    """
    rows = like[like[BUDGET] == run[BUDGET]]
    reached = (rows["valid"] - rows["baseline"]) / (rows["target"] - rows["baseline"])
    return bool(reached.notna().all() and (reached < LEARNT).all())


def tried_for(like: pd.DataFrame, run: "pd.Series[Any]") -> Floats:
    """The rates tried with the budget of this run, ascending. like: see `alike`.

    Where those are what a search of more than MANY rates with a smaller budget left (settings are
    halved), the rates of that search.
    """
    tried = np.unique(like.loc[like[BUDGET] == run[BUDGET], RATE].astype(float))
    for _, rung in like[like[BUDGET] < run[BUDGET]].groupby(BUDGET):
        wider = np.unique(rung[RATE].astype(float))
        if wider.size > max(MANY, tried.size) and np.isin(tried, wider).all():
            tried = wider
    return np.asarray(tried, float)


def margin_too_wide(claim: Claim) -> str:
    """Whether the margin is no smaller than what the paper found: then that there is no difference
    as large as the margin does not contradict it.
    """
    if claim.effect is None or claim.margin is None:
        return ""
    effect, margin = (float(str(text).rstrip("%")) for text in (claim.effect, claim.margin))
    if margin < effect:
        return ""
    return f"the margin of {claim.margin} is not below the published effect of {claim.effect}"
