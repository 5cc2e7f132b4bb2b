"""Claims about mean scores: better, equal, no better, more so here than there, within a range.

Returns answers, not verdicts.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from scipy import stats

from rnnbench.claims.answer import ABOVE, AMONG, BELOW, Answer, Words, detectable, found, margin_of
from rnnbench.claims.design import Claim
from rnnbench.claims.selection import Side, Unanswerable, named, side
from rnnbench.formatting import number, plural
from rnnbench.stats.power import Estimated, student, welch
from rnnbench.stats.ranks import mann_whitney
from rnnbench.stats.statistics import Difference, Floats, Goal, difference, too_few, usable

Case = Mapping[str, Any]


@dataclass(frozen=True)
class Contest:
    """Scores of x against scores of y.

    advantage: of x, in the units of the scores, positive where it is better.
    """

    x: Side
    y: Side
    a: Floats
    b: Floats
    goal: Goal
    gap: Difference
    advantage: Estimated
    margin: float
    amount: str  # the margin in words
    facts: str


def contest(frame: pd.DataFrame, claim: Claim, *filters: Case) -> Contest:
    """Both sides under these filters. Raises Unanswerable."""
    x, y = (side(frame, claim.where, *filters, one) for one in (claim.x, claim.y))
    a, b = (one.scores(claim.metric, claim.log) for one in (x, y))
    goal = goal_of(claim, x)
    gap, estimated = difference(a, b), welch(a, b)
    means = [float(usable(scores).mean()) if usable(scores).size else math.nan for scores in (a, b)]
    facts = (
        f"{_measured(claim, x)} {number(means[0], 3)} against {number(means[1], 3)}, "
        f"{found('difference', gap.difference, gap.low, gap.high)}"
    )
    margin = margin_of(claim, means[1]) or math.nan
    amount, advantage = (
        f"{number(margin, 3)}{' decades' if claim.log else ''}",
        estimated if goal == "max" else -estimated,
    )
    return Contest(x, y, a, b, goal, gap, advantage, margin, amount, facts + _left_out(gap, x, y))


def goal_of(claim: Claim, one: Side) -> Goal:
    """Which way is better: as the claim says, else as the records do."""
    return one.goal if claim.goal is None else "max" if claim.goal == "max" else "min"


def _measured(claim: Claim, one: Side) -> str:
    """What is compared: the name of the test score rather than `value`."""
    name = str(one.runs["metric"].iloc[0]) if claim.metric == "value" else claim.metric
    name = f"{name} / {claim.relative}" if claim.relative else name
    return f"log10 {name}" if claim.log else name


def _left_out(gap: Difference, *sides: Side) -> str:
    notes = [f"{n} of {one.name}" for n, one in zip(gap.excluded, sides, strict=True) if n]
    selected = (
        ["best trials of a search, which selection makes alike"]
        if any(one.by == "trials" for one in sides)
        else []
    )
    lost = [f"diverged and in no mean: {' and '.join(notes)}"] if notes else []
    return f" ({'; '.join(lost + selected)})" if lost or selected else ""


def better(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """Welch's test; that of Mann and Whitney where a run diverged, or where neither side has any
    spread.

    Contradicted also by TOST: no difference as large as the margin; not where ranks decide, since
        runs without a score have no mean.
    """
    made = contest(frame, claim, case)
    x, y, gap, advantage = made.x.name, made.y.name, made.gap, made.advantage
    words = Words(
        f"{x} is better than {y}",
        f"{x} is worse than {y}",
        f"{x} and {y} differ by less than {made.amount}",
        f"{x} and {y} are not told apart",
    )
    if any(gap.excluded) or (gap.why and gap.difference != 0):
        rank = mann_whitney(made.a, made.b, made.goal)
        agrees = rank.statistic * 2 > made.a.size * made.b.size
        return _answer(
            claim,
            made,
            "Mann-Whitney",
            rank.p,
            math.nan,
            ABOVE,
            advantage.power_apart,
            words,
            agrees,
            rank.why,
        )
    against = advantage.inside(-made.margin, made.margin)
    return _answer(
        claim,
        made,
        "Welch",
        gap.p,
        against,
        ABOVE,
        advantage.power_apart,
        words,
        advantage.value > 0,
        gap.why,
    )


def equal(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """TOST inside ±margin; contradicted where Welch's interval, at the corrected level, lies
    outside.
    """
    made = contest(frame, claim, case)
    x, y, advantage, margin = made.x.name, made.y.name, made.advantage, made.margin
    more = f"{x} and {y} differ by more than {made.amount}"
    words = Words(
        f"{x} and {y} differ by less than {made.amount}",
        more,
        more,
        f"{x} and {y} are shown neither equal nor different",
    )
    p, against = advantage.inside(-margin, margin), advantage.outside(-margin, margin)
    return _answer(
        claim, made, "TOST", p, against, AMONG, advantage.power_inside, words, True, made.gap.why
    )


def no_better(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """One-sided Welch tests of the advantage of x: below the margin, or above it."""
    made = contest(frame, claim, case)
    x, y, advantage, margin = made.x.name, made.y.name, made.advantage, made.margin
    more = f"{x} is better than {y} by more than {made.amount}"
    words = Words(
        f"{x} is not better than {y} by {made.amount}",
        more,
        more,
        f"Whether {x} is better than {y} by {made.amount} is not told",
    )
    p, against = advantage.inside(-math.inf, margin), advantage.outside(-math.inf, margin)
    return _answer(
        claim,
        made,
        "Welch, one-sided",
        p,
        against,
        BELOW,
        advantage.power_below,
        words,
        True,
        made.gap.why,
    )


def _answer(
    claim: Claim,
    made: Contest,
    test: str,
    p: float,
    against: float,
    region: tuple[float, float],
    power: Callable[[float, float], float],
    words: Words,
    agrees: bool,
    why: str,
) -> Answer:
    """power: of a size and α."""
    return Answer(
        f"difference in {_measured(claim, made.x)}",
        test,
        made.gap.difference,
        made.gap.low,
        made.gap.high,
        (made.a.size, made.b.size),
        math.nan if why else p,
        math.nan if why else against,
        agrees,
        made.advantage.scaled(made.margin),
        region,
        lambda alpha: power(made.margin, alpha),
        detectable(power, made.advantage),
        made.facts,
        words,
        tuple(made.x.runs["id"]),
        why,
    )


def interaction(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """Hedges' g of the advantage of x over y under `first` minus that under `second`, normal with
    the sum of their variances.
    """
    first, second = (contest(frame, claim, case, one) for one in (claim.first, claim.second))
    (g, error), (h, other) = (_hedges(made) for made in (first, second))
    estimated, margin = Estimated(g - h, math.hypot(error, other)), margin_of(claim)
    why = first.gap.why or second.gap.why
    low, high = estimated.interval()
    here, there, x, y = (named(claim.first), named(claim.second), first.x.name, first.y.name)
    words = Words(
        f"{x} gains more on {y} with {here} than with {there}",
        f"{x} gains less on {y} with {here} than with {there}",
        f"The advantage of {x} over {y} is the same with {here} and {there} to within g = "
        f"{number(margin, 3)}",
        f"Whether the advantage of {x} over {y} is larger with {here} than with {there} is not "
        f"told",
    )
    return Answer(
        "difference in Hedges' g",
        "normal",
        estimated.value,
        low,
        high,
        tuple(scores.size for made in (first, second) for scores in (made.a, made.b)),
        math.nan if why else estimated.apart(),
        math.nan if why else estimated.inside(-margin, margin),
        estimated.value > 0,
        estimated.scaled(margin),
        ABOVE,
        lambda alpha: estimated.power_apart(margin, alpha),
        detectable(estimated.power_apart, estimated),
        f"g {number(g, 3)} against {number(h, 3)}, "
        f"{found('difference', estimated.value, low, high)}",
        words,
        tuple(first.x.runs["id"]),
        why,
    )


def _hedges(made: Contest) -> tuple[float, float]:
    """g with the sign of the advantage, and its error."""
    sign = 1 if made.goal == "max" else -1
    return sign * made.gap.g, (made.gap.g_high - made.gap.g_low) / (
        2 * float(stats.norm.ppf(0.975))
    )


def within(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """Student's t: the mean lies in the range, by two one-sided tests; or its interval, at the
    corrected level, lies outside.
    """
    x = side(frame, claim.where, case, claim.x)
    scores = x.scores(claim.metric, claim.log, claim.relative)
    if claim.range is None:
        raise Unanswerable("the claim names no range")
    estimated, n = student(scores), int(usable(scores).size)
    low, high = claim.range
    why = too_few(n) or (
        "" if estimated.error > 0 else "no spread, nothing to measure the distance by"
    )
    middle, half = (low + high) / 2, (high - low) / 2 or math.nan
    bounds, name = estimated.interval(), _measured(claim, x)
    span = f"{number(low, 3)} to {number(high, 3)}"
    lost = f" ({plural(scores.size - n, 'run')} diverged and in no mean)" if scores.size > n else ""
    outside = f"{name} of {x.name} lies outside {span}"
    words = Words(
        f"{name} of {x.name} lies within {span}",
        outside,
        outside,
        f"Whether {name} of {x.name} lies within {span} is not told",
    )
    return Answer(
        f"mean {name}",
        "TOST",
        estimated.value,
        *bounds,
        (scores.size,),
        math.nan if why else estimated.inside(low, high),
        math.nan if why else estimated.outside(low, high),
        True,
        estimated.scaled(half, middle),
        AMONG,
        lambda alpha: estimated.power_inside(half, alpha),
        detectable(estimated.power_inside, estimated),
        found("mean", estimated.value, *bounds) + lost,
        words,
        tuple(x.runs["id"]),
        why,
    )
