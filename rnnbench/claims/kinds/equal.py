"""Two sides differ by less than the margin."""

import pandas as pd

from rnnbench.claims.answer import AMONG, Answer, Words
from rnnbench.claims.contest import contest, margined
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind


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
    return margined(claim, made, "TOST", -margin, margin, AMONG, made.advantage.power_inside, words)


KIND = ClaimKind(equal, ("x", "y", "margin"), ("metric", "goal", "log"))
