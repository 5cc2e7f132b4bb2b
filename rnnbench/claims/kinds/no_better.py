"""One side is not better than the other by the margin."""

import math

import pandas as pd

from rnnbench.claims.answer import BELOW, Answer, Words
from rnnbench.claims.contest import contest, margined, needs_goal
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind


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
    return margined(claim, made, test, -made.margin, math.inf, BELOW, power, words)


KIND = ClaimKind(no_better, ("x", "y", "margin"), ("metric", "goal", "log"), check=needs_goal)
