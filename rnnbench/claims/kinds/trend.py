"""Scores get better from group to group."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from rnnbench.claims.answer import ABOVE, Answer, Words, detectable, found, margin_of
from rnnbench.claims.contest import goal_of, needs_goal
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.selection import side
from rnnbench.formatting import number, score
from rnnbench.stats import ranks
from rnnbench.stats.power import Estimated
from rnnbench.stats.statistics import Goal, costs, median


def trend(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """The test of Jonckheere and Terpstra, corrected for ties; effect: Kendall's tau-b of group and
    score; margin: one too small to matter.
    """
    sides = [side(frame, claim.where, case, group) for group in claim.groups]
    scores = [one.scores(claim.metric, claim.log) for one in sides]
    goal = goal_of(claim, sides[0])
    test = ranks.trend(scores, goal)
    estimated = kendall(scores, goal)
    margin = math.atanh(min(margin_of(claim), 0.999))
    bounds = estimated.interval()
    tau, low, high = (math.tanh(v) for v in (estimated.value, *bounds))
    name = str(sides[0].runs["metric"].iloc[0]) if claim.metric == "value" else claim.metric
    order = f"from {sides[0].name} to {sides[-1].name}"
    words = Words(
        f"{name} gets better {order}",
        f"{name} gets worse {order}",
        f"There is no trend in {name} {order} beyond a tau of {number(math.tanh(margin), 3)}",
        f"No trend in {name} {order} is shown, nor that there is none",
    )
    medians = [score(median(one, goal).value, 3) for one in scores]
    return Answer(
        measure="Kendall's tau",
        test="Jonckheere",
        effect=tau,
        low=low,
        high=high,
        n=tuple(s.size for s in scores),
        p=test.p,
        against=math.nan if test.why else estimated.inside(-margin, margin),
        agrees=tau > 0,
        scaled=estimated.scaled(margin),
        region=ABOVE,
        power=lambda alpha: estimated.power_apart(margin, alpha),
        detectable=detectable(estimated.power_apart, estimated, math.tanh),
        facts=f"medians {', '.join(medians)}; {found('tau', tau, low, high)}",
        words=words,
        ids=tuple(sides[0].runs["id"]),
        why=test.why,
    )


def kendall(groups: Sequence[ArrayLike], goal: Goal) -> Estimated:
    """Fisher's z of tau-b between the number of a group and how good its scores are.

    Its error is that of Jonckheere's statistic without a trend, ties accounted for, as a tau; that
    of Fieller, Hartley & Pearson (1957) is for scores without groups and too small.
    """
    turned = [costs(group, goal).ravel() for group in groups]
    places = np.repeat(np.arange(len(turned)), [group.size for group in turned])
    values = np.concatenate(turned)
    if values.size < 5 or np.unique(values).size == 1:
        return Estimated(math.nan, math.nan)
    # ranks, as infinities tie
    tau = float(stats.kendalltau(places, -stats.rankdata(values)).statistic)
    sizes, repeated = [group.size for group in turned], np.unique(values, return_counts=True)[1]
    untied = [
        math.comb(values.size, 2) - sum(math.comb(int(n), 2) for n in ties)
        for ties in (sizes, repeated)
    ]
    error = 2 * math.sqrt(ranks.null_variance(sizes, repeated) / math.prod(untied))
    return Estimated(math.atanh(max(min(tau, 0.999), -0.999)), error)


def check(claim: Claim) -> str:
    if len(claim.groups) < 2:
        n = len(claim.groups)
        return f"groups must have at least two filters, from worst to best, got {n}"
    return needs_goal(claim)


KIND = ClaimKind(
    trend,
    ("groups", "margin"),
    ("metric", "goal", "log"),
    sides=lambda claim: [(group,) for group in claim.groups],
    check=check,
)
