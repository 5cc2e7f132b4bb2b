"""One side gains more on the other here than there."""

import math

import pandas as pd
from scipy import stats

from rnnbench.claims.answer import ABOVE, Answer, Words, detectable, found, margin_of
from rnnbench.claims.contest import contest, needs_goal
from rnnbench.claims.design import Claim, Filter
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.selection import named
from rnnbench.formatting import number
from rnnbench.stats import ranks
from rnnbench.stats.power import Estimated
from rnnbench.stats.statistics import too_few


def interaction(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """The probability that a run of x beats one of y under `first` minus that under `second`.

    Tests are normal, with the errors that the two sides of its interval stand for: those towards
    zero, or towards the margin.
    """
    first, second = (contest(frame, claim, case, one) for one in (claim.first, claim.second))
    wins, others = (ranks.improvement(made.a, made.b, "min") for made in (first, second))
    gained, margin = ranks.gain(wins, others), margin_of(claim)
    below, above = (
        Estimated(gained.value, reach / float(stats.norm.ppf(0.975)))
        for reach in (gained.value - gained.low, gained.high - gained.value)
    )
    planned = Estimated(gained.value, math.hypot(below.error, above.error) / math.sqrt(2))
    sizes = tuple(scores.size for made in (first, second) for scores in (made.a, made.b))
    why = too_few(*sizes)
    p = (below if gained.value > 0 else above).apart()
    same = max(below.inside(-margin, math.inf), above.inside(-math.inf, margin))
    here, there, x, y = (named(claim.first), named(claim.second), first.x.name, first.y.name)
    words = Words(
        f"{x} gains more on {y} with {here} than with {there}",
        f"{x} gains less on {y} with {here} than with {there}",
        f"The advantage of {x} over {y} is the same with {here} and {there} to within "
        f"{number(margin, 3)} of pairs won",
        f"Whether the advantage of {x} over {y} is larger with {here} than with {there} is not "
        f"told",
    )
    return Answer(
        measure="difference in pairs won",
        test="normal, by ranks",
        effect=gained.value,
        low=gained.low,
        high=gained.high,
        n=sizes,
        p=math.nan if why else p,
        against=math.nan if why else same,
        agrees=gained.value > 0,
        scaled=(gained.value / margin, gained.low / margin, gained.high / margin),
        region=ABOVE,
        power=lambda alpha: planned.power_apart(margin, alpha),
        detectable=detectable(planned.power_apart, planned),
        facts=(
            f"pairs won {number(wins.value, 3)} against {number(others.value, 3)}, "
            f"{found('difference', gained.value, gained.low, gained.high)}"
        ),
        words=words,
        ids=tuple(first.x.runs["id"]),
        why=why,
    )


def sides(claim: Claim) -> list[tuple[Filter, ...]]:
    return [
        (context, side) for context in (claim.first, claim.second) for side in (claim.x, claim.y)
    ]


KIND = ClaimKind(
    interaction,
    ("x", "y", "first", "second", "margin"),
    ("metric", "goal", "log"),
    sides=sides,
    check=needs_goal,
)
