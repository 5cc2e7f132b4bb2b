"""One side gains more on the other here than there."""

import math

import pandas as pd
from scipy import stats

from rnnbench.claims.answer import ABOVE, Answer, Words, detectable, found, margin_of
from rnnbench.claims.contest import contest, needs_goal
from rnnbench.claims.design import Claim, Filter
from rnnbench.claims.kind import Case, Kind
from rnnbench.claims.selection import named
from rnnbench.formatting import number
from rnnbench.stats.power import Estimated
from rnnbench.stats.statistics import Difference, difference


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
        measure="difference in Hedges' g",
        test="normal",
        effect=estimated.value,
        low=low,
        high=high,
        n=tuple(scores.size for made in (first, second) for scores in (made.a, made.b)),
        p=math.nan if why else estimated.apart(),
        against=math.nan if why else estimated.inside(-margin, margin),
        agrees=estimated.value > 0,
        scaled=estimated.scaled(margin),
        region=ABOVE,
        power=lambda alpha: estimated.power_apart(margin, alpha),
        detectable=detectable(estimated.power_apart, estimated),
        facts=(
            f"g {number(g, 3)} against {number(h, 3)}, "
            f"{found('difference', estimated.value, low, high)}"
        ),
        words=words,
        ids=tuple(first.x.runs["id"]),
        why=why,
    )


def _hedges(found: Difference) -> tuple[float, float]:
    """g and its error."""
    return found.g, (found.g_high - found.g_low) / (2 * float(stats.norm.ppf(0.975)))


def sides(claim: Claim) -> list[tuple[Filter, ...]]:
    return [
        (context, side) for context in (claim.first, claim.second) for side in (claim.x, claim.y)
    ]


KIND = Kind(
    interaction,
    ("x", "y", "first", "second", "margin"),
    ("metric", "goal", "log"),
    sides=sides,
    check=needs_goal,
)
