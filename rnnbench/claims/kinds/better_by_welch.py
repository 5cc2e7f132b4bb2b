"""One side scores better than the other by Welch's t-test, where that is the paper's own.

It compares means, which a few wild runs decide; the permutation test of `better` is told beside it.
"""

import math
from dataclasses import replace

import pandas as pd

from rnnbench.claims.answer import Answer
from rnnbench.claims.contest import contest, needs_goal
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.kinds.better import better
from rnnbench.formatting import p_value


def better_by_welch(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """Two-sided; diverged runs count as the worst. What contradicts is as in `better`."""
    ours = better(frame, claim, case)
    advantage = contest(frame, claim, case).advantage
    p = math.nan if ours.why else advantage.apart()
    return replace(
        ours,
        test="Welch, as in the paper",
        p=p,
        agrees=advantage.value > 0,
        facts=f"{ours.facts}; by the permutation test {p_value(ours.p)}",
    )


KIND = ClaimKind(better_by_welch, ("x", "y", "margin"), ("metric", "goal", "log"), check=needs_goal)
