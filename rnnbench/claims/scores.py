"""Claims about scores: better, equal, no better, more so here than there, within a range.

Returns answers, not verdicts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rnnbench.claims.answer import ABOVE, AMONG, BELOW, Answer, Words, detectable, found, margin_of
from rnnbench.claims.design import Claim
from rnnbench.claims.selection import Side, Unanswerable, named, side
from rnnbench.formatting import number, score
from rnnbench.stats.compare import generator
from rnnbench.stats.families import pair
from rnnbench.stats.power import Estimated, student, welch
from rnnbench.stats.ranks import inside, outside, shift
from rnnbench.stats.statistics import (
    Difference,
    Estimate,
    Floats,
    Goal,
    beyond,
    charged,
    costs,
    difference,
    median,
    too_few,
)

Case = Mapping[str, Any]


@dataclass(frozen=True)
class Contest:
    """Costs of the runs of x (a) against those of y (b): less is better, a diverged run the worst.

    gap: the shift of x from y in the units of the scores; advantage: of the mean of x, positive
    where it is better, for what these runs could have shown; margin: positive, NaN where it is a
    share of a score that y has not.
    """

    x: Side
    y: Side
    a: Floats
    b: Floats
    goal: Goal
    gap: Estimate
    advantage: Estimated
    margin: float
    amount: str  # the margin in words
    facts: str

    @property
    def scaled(self) -> tuple[float, float, float]:
        """The shift and its interval in margins, positive where x is better."""
        found = self.gap.value, self.gap.low, self.gap.high
        value, low, high = (number / self.margin for number in found)
        return (value, low, high) if self.goal == "max" else (-value, -high, -low)


def contest(frame: pd.DataFrame, claim: Claim, *filters: Case) -> Contest:
    """Both sides under these filters. Raises Unanswerable."""
    x, y = (side(frame, claim.where, *filters, one) for one in (claim.x, claim.y))
    scores = [one.scores(claim.metric, claim.log) for one in (x, y)]
    goal = goal_of(claim, x)
    a, b = charged_together(claim, goal, (x, y), scores)
    gap = shift(a, b)
    if goal == "max":
        gap = Estimate(-gap.value, -gap.high, -gap.low, gap.n, why=gap.why)
    middles = [median(one, goal).value for one in scores]
    facts = (
        f"{_measured(claim, x)} {score(middles[0], 3)} against {score(middles[1], 3)}, "
        f"{found('difference', gap.value, gap.low, gap.high)}"
    )
    reference = middles[1] if math.isfinite(middles[1]) else math.nan
    margin = margin_of(claim, reference) or math.nan
    amount = f"{number(margin, 3)}{' decades' if claim.log else ''}"
    return Contest(x, y, a, b, goal, gap, welch(b, a), margin, amount, facts + _aside(x, y))


def charged_together(
    claim: Claim, goal: Goal, sides: Sequence[Side], scores: Sequence[Floats]
) -> list[Floats]:
    """Costs of each side; those of diverged runs as in the report's tables, where the metric is
    the same.
    """
    plain = claim.metric == "value" and not claim.log and goal == sides[0].goal
    limit = max(one.limit for one in sides) if plain else -math.inf
    worst = beyond(limit, *(costs(one, goal) for one in scores))
    return [charged(one, goal, worst) for one in scores]


def goal_of(claim: Claim, one: Side) -> Goal:
    """Which way is better: as the claim says, else as the records do."""
    return one.goal if claim.goal is None else "max" if claim.goal == "max" else "min"


def _measured(claim: Claim, one: Side) -> str:
    """What is compared: the name of the test score rather than `value`."""
    name = str(one.runs["metric"].iloc[0]) if claim.metric == "value" else claim.metric
    name = f"{name} / {claim.relative}" if claim.relative else name
    return f"log10 {name}" if claim.log else name


def _aside(*sides: Side) -> str:
    lost = [(int(one.runs["diverged"].sum()), one.name) for one in sides]
    notes = [f"{n} of {name}" for n, name in lost if n]
    told = [f"diverged, counted as the worst: {' and '.join(notes)}"] if notes else []
    if any(one.by == "trials" for one in sides):
        told.append("best trials of a search, which selection makes alike")
    return f" ({'; '.join(told)})" if told else ""


def better(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """The permutation test of the report's tables (`families`), here of a single pair.

    Contradicted also by two one-sided rank tests: no difference as large as the margin.
    """
    made = contest(frame, claim, case)
    x, y, margin = made.x.name, made.y.name, made.margin
    words = Words(
        f"{x} is better than {y}",
        f"{x} is worse than {y}",
        f"{x} and {y} differ by less than {made.amount}",
        f"{x} and {y} are not told apart",
    )
    decided = pair(made.a, made.b, generator("claim", claim.id, x, y, named(case)))
    against = inside(made.a, made.b, -margin, margin) if margin > 0 else math.nan
    agrees = bool(decided.lead[0] > 0)
    power = made.advantage.power_apart
    p = float(decided.p[0])
    return _answer(claim, made, "permutation", p, against, ABOVE, power, words, agrees)


def equal(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """Two one-sided rank tests inside ±margin; contradicted where the shift is shown to lie
    outside.
    """
    made = contest(frame, claim, case)
    x, y, margin = made.x.name, made.y.name, made.margin
    more = f"{x} and {y} differ by more than {made.amount}"
    words = Words(
        f"{x} and {y} differ by less than {made.amount}",
        more,
        more,
        f"{x} and {y} are shown neither equal nor different",
    )
    return _margined(
        claim, made, "TOST", -margin, margin, AMONG, made.advantage.power_inside, words
    )


def no_better(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """One-sided rank tests of the advantage of x: below the margin, or above it."""
    made = contest(frame, claim, case)
    x, y = made.x.name, made.y.name
    more = f"{x} is better than {y} by more than {made.amount}"
    words = Words(
        f"{x} is not better than {y} by {made.amount}",
        more,
        more,
        f"Whether {x} is better than {y} by {made.amount} is not told",
    )
    test, power = "Mann-Whitney, one-sided", made.advantage.power_below
    return _margined(claim, made, test, -made.margin, math.inf, BELOW, power, words)


def _margined(
    claim: Claim,
    made: Contest,
    test: str,
    low: float,
    high: float,
    region: tuple[float, float],
    power: Callable[[float, float], float],
    words: Words,
) -> Answer:
    """The claim that the shift of costs lies between low and high."""
    p = against = math.nan
    if made.margin > 0:
        p, against = inside(made.a, made.b, low, high), outside(made.a, made.b, low, high)
    return _answer(claim, made, test, p, against, region, power, words, True)


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
) -> Answer:
    """power: of a size and α."""
    why = too_few(made.a.size, made.b.size)
    if not why and math.isnan(p):
        why = f"a margin of {claim.margin} is no number: half of {made.y.name} diverged"
    return Answer(
        f"difference in {_measured(claim, made.x)}",
        test,
        made.gap.value,
        made.gap.low,
        made.gap.high,
        (made.a.size, made.b.size),
        p,
        against,
        agrees,
        made.scaled,
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
    effects = [difference(made.b, made.a) for made in (first, second)]
    (g, error), (h, other) = (_hedges(one) for one in effects)
    estimated, margin = Estimated(g - h, math.hypot(error, other)), margin_of(claim)
    why = effects[0].why or effects[1].why
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


def _hedges(found: Difference) -> tuple[float, float]:
    """g and its error."""
    return found.g, (found.g_high - found.g_low) / (2 * float(stats.norm.ppf(0.975)))


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
    center, name = median(scores, goal), _measured(claim, x)
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
        f"median {name}",
        "sign",
        center.value,
        *bounds,
        (n,),
        math.nan if why else p,
        math.nan if why else against,
        True,
        ((center.value - middle) / half, (bounds[0] - middle) / half, (bounds[1] - middle) / half),
        AMONG,
        lambda alpha: planned.power_inside(half, alpha),
        detectable(planned.power_inside, planned),
        found("median", center.value, *bounds) + _aside(x),
        words,
        tuple(x.runs["id"]),
        why,
    )


def _signs(count: int, n: int) -> float:
    """How probable so many of n, or more, are where each is as likely as not."""
    return float(stats.binom.sf(count - 1, n, 0.5))
