"""Claims about a pattern over many runs: a trend over ordered groups, the share of variance that a
setting explains.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from rnnbench.claims.answer import ABOVE, AMONG, Answer, Words, detectable, found, margin_of
from rnnbench.claims.design import Claim
from rnnbench.claims.scores import goal_of
from rnnbench.claims.selection import Unanswerable, matching, named, side
from rnnbench.formatting import listing, number, score
from rnnbench.stats import ranks
from rnnbench.stats.compare import generator
from rnnbench.stats.importance import Importance, importances
from rnnbench.stats.power import Estimated, student
from rnnbench.stats.statistics import Goal, costs, median

Case = Mapping[str, Any]
FOLDS, TREES = 5, 24  # parts of a search, each left out of one forest


def trend(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """The test of Jonckheere and Terpstra, corrected for ties; effect: Kendall's tau-b of group and
    score; margin: one too small to matter.
    """
    sides = [side(frame, claim.where, case, group) for group in claim.groups]
    scores = [one.scores(claim.metric, claim.log) for one in sides]
    goal = goal_of(claim, sides[0])
    test, estimated, margin = (
        ranks.trend(scores, goal),
        kendall(scores, goal),
        math.atanh(min(margin_of(claim), 0.999)),
    )
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
        "Kendall's tau",
        "Jonckheere",
        tau,
        low,
        high,
        tuple(s.size for s in scores),
        test.p,
        math.nan if test.why else estimated.inside(-margin, margin),
        tau > 0,
        estimated.scaled(margin),
        ABOVE,
        lambda alpha: estimated.power_apart(margin, alpha),
        detectable(estimated.power_apart, estimated, math.tanh),
        f"medians {', '.join(medians)}; {found('tau', tau, low, high)}",
        words,
        tuple(sides[0].runs["id"]),
        test.why,
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
    tau = float(
        stats.kendalltau(places, -stats.rankdata(values)).statistic
    )  # ranks, as infinities tie
    sizes, repeated = [group.size for group in turned], np.unique(values, return_counts=True)[1]
    untied = [
        math.comb(values.size, 2) - sum(math.comb(int(n), 2) for n in ties)
        for ties in (sizes, repeated)
    ]
    error = 2 * math.sqrt(ranks.null_variance(sizes, repeated) / math.prod(untied))
    return Estimated(math.atanh(max(min(tau, 0.999), -0.999)), error)


def importance(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """The share of variance that a setting explains (functional ANOVA), or `interactions`: all
    pairs over the sum of the single shares.

    Its error is that of a jackknife over FOLDS parts of the search, each left out of one fit: it
    holds the luck of the trials as well as that of the forest. Over several cells or tasks, the
    mean of their shares.
    """
    runs = matching(frame, claim.where, case, claim.x)
    low, high = claim.range or (0.0, 1.0)
    key, name = str(claim.key), named({**claim.where, **case, **claim.x})
    rng = generator("claim", claim.id, name)
    folds = rng.permutation(len(runs)) % FOLDS
    fits = [importances(runs[folds != fold], rng, repeats=1, trees=TREES) for fold in range(FOLDS)]
    shares = [float(np.mean([_share(one, key) for one in fit])) for fit in fits]
    spread = student(shares)
    estimated = Estimated(spread.value, spread.error * (FOLDS - 1), FOLDS - 1)
    bounds, middle, half = estimated.interval(), (low + high) / 2, (high - low) / 2 or math.nan
    possible = (
        low if low > 0 else -math.inf,
        high if high < 1 else math.inf,
    )  # no share is beyond, so nothing need be shown there
    what = "interactions, over that of single settings," if key == "interactions" else key
    span = f"{low:.2g} to {high:.2g}"
    outside = f"The share of {what} lies outside {span}"
    words = Words(
        f"The share of {what} lies within {span}",
        outside,
        outside,
        f"Whether the share of {what} lies within {span} is not told",
    )
    fit = float(np.mean([one.r2 for analyses in fits for one in analyses]))
    return Answer(
        f"share of variance of {key}",
        "TOST",
        estimated.value,
        *bounds,
        (len(runs),),
        estimated.inside(*possible),
        estimated.outside(*possible),
        True,
        estimated.scaled(half, middle),
        AMONG,
        lambda alpha: estimated.power_inside(half, alpha),
        detectable(estimated.power_inside, estimated),
        f"{found('share', estimated.value, *bounds)}, R² of the forest on unseen runs "
        f"{number(fit, 2)}",
        words,
        tuple(runs["id"]),
    )


def _share(one: Importance, key: str) -> float:
    if one.reason:
        raise Unanswerable(f"{one.cell} on {one.task} without a fifth of its runs: {one.reason}")
    table = one.table.set_index("parameter")["mean"]
    if key == "interactions":
        return float(one.pairs["mean"].sum() / table.sum())
    if key not in table:
        raise Unanswerable(
            f"{key} does not vary among the runs of {one.cell} on {one.task}; "
            f"{listing(list(table.index))} do"
        )
    return float(table[key])
