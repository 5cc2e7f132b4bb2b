"""Two sides of a claim about scores: their costs, how far apart they are, and by which margin."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rnnbench.claims.answer import Answer, Words, detectable, found, margin_of
from rnnbench.claims.design import OWN_GOAL, Claim
from rnnbench.claims.selection import Side, Unanswerable, side
from rnnbench.formatting import number, score
from rnnbench.stats.power import Estimated, welch
from rnnbench.stats.ranks import inside, outside, shift
from rnnbench.stats.statistics import (
    Estimate,
    Floats,
    Goal,
    beyond,
    charged,
    costs,
    median,
    too_few,
)
from rnnbench.stats.twins import same

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
    if all(key.startswith("cell") for key in (*claim.x, *claim.y)) and same(x.runs, y.runs):
        raise Unanswerable(f"{x.name} and {y.name} are one function under two names")
    scores = [one.scores(claim.metric, claim.log) for one in (x, y)]
    goal = goal_of(claim, x)
    a, b = charged_together(claim, goal, (x, y), scores)
    gap = shift(a, b)
    if goal == "max":
        gap = Estimate(-gap.value, -gap.high, -gap.low, gap.n, why=gap.why)
    middles = [median(one, goal).value for one in scores]
    facts = (
        f"{measured(claim, x)} {score(middles[0], 3)} against {score(middles[1], 3)}, "
        f"{found('difference', gap.value, gap.low, gap.high)}"
    )
    reference = middles[1] if math.isfinite(middles[1]) else math.nan
    margin = margin_of(claim, reference) or math.nan
    amount = f"{number(margin, 3)}{' decades' if claim.log else ''}"
    return Contest(x, y, a, b, goal, gap, welch(b, a), margin, amount, facts + aside(x, y))


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


def measured(claim: Claim, one: Side) -> str:
    """What is compared: the name of the test score rather than `value`."""
    name = str(one.runs["metric"].iloc[0]) if claim.metric == "value" else claim.metric
    name = f"{name} / {claim.relative}" if claim.relative else name
    return f"log10 {name}" if claim.log else name


def aside(*sides: Side) -> str:
    lost = [(int(one.runs["diverged"].sum()), one.name) for one in sides]
    notes = [f"{n} of {name}" for n, name in lost if n]
    told = [f"diverged, counted as the worst: {' and '.join(notes)}"] if notes else []
    if any(one.by == "trials" for one in sides):
        told.append("best trials of a search, which selection makes alike")
    return f" ({'; '.join(told)})" if told else ""


def margined(
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
    return answer(claim, made, test, p, against, region, power, words, True)


def answer(
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
        measure=f"difference in {measured(claim, made.x)}",
        test=test,
        effect=made.gap.value,
        low=made.gap.low,
        high=made.gap.high,
        n=(made.a.size, made.b.size),
        p=p,
        against=against,
        agrees=agrees,
        scaled=made.scaled,
        region=region,
        power=lambda alpha: power(made.margin, alpha),
        detectable=detectable(power, made.advantage),
        facts=made.facts,
        words=words,
        ids=tuple(made.x.runs["id"]),
        why=why,
    )


def needs_goal(claim: Claim) -> str:
    """What is wrong with a claim whose metric has no direction."""
    if claim.metric in OWN_GOAL or claim.goal is not None:
        return ""
    return f"goal must be min or max: records do not know which is better of {claim.metric}"
