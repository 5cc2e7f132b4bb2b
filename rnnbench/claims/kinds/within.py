"""Scores lie within a range."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.claims.answer import AMONG, Answer, Words, detectable, found
from rnnbench.claims.contest import aside, goal_of, measured
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.selection import Unanswerable, side
from rnnbench.formatting import number
from rnnbench.stats.power import student
from rnnbench.stats.statistics import beyond, charged, costs, median, too_few


def within(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """Sign tests: the median lies in the range, by two one-sided tests; or it lies outside."""
    x = side(frame, claim.where, case, claim.x)
    scores = x.scores(claim.metric, claim.log, claim.relative)
    if claim.range is None:
        raise Unanswerable("the claim names no range")
    goal = goal_of(claim, x)
    low, high = claim.range
    turned, n = np.sort(costs(scores, goal)), scores.size
    ends = (low, high) if goal == "min" else (-high, -low)
    above, under = (turned > ends[0]).sum(), (turned < ends[1]).sum()
    over, short = (turned >= ends[1]).sum(), (turned <= ends[0]).sum()
    why = too_few(n)
    p = max(_signs(above, n), _signs(under, n))
    against = min(2 * min(_signs(over, n), _signs(short, n)), 1.0)
    middle, half = (low + high) / 2, (high - low) / 2 or math.nan
    center, name = median(scores, goal), measured(claim, x)
    planned = student(charged(scores, goal, beyond(-math.inf, turned)))
    span = f"{number(low, 3)} to {number(high, 3)}"
    outside = f"{name} of {x.name} lies outside {span}"
    words = Words(
        f"{name} of {x.name} lies within {span}",
        outside,
        outside,
        f"Whether {name} of {x.name} lies within {span} is not told",
    )
    bounds = center.low, center.high
    return Answer(
        measure=f"median {name}",
        test="sign",
        effect=center.value,
        low=bounds[0],
        high=bounds[1],
        n=(n,),
        p=math.nan if why else p,
        against=math.nan if why else against,
        agrees=True,
        scaled=(
            (center.value - middle) / half,
            (bounds[0] - middle) / half,
            (bounds[1] - middle) / half,
        ),
        region=AMONG,
        power=lambda alpha: planned.power_inside(half, alpha),
        detectable=detectable(planned.power_inside, planned),
        facts=found("median", center.value, *bounds) + aside(x),
        words=words,
        ids=tuple(x.runs["id"]),
        why=why,
    )


def _signs(count: int, n: int) -> float:
    """How probable so many of n, or more, are where each is as likely as not."""
    return float(stats.binom.sf(count - 1, n, 0.5))


KIND = ClaimKind(
    within, ("x", "range"), ("metric", "relative", "log"), sides=lambda claim: [(claim.x,)]
)
