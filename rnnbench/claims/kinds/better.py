"""One side scores better than the other."""

import math

import pandas as pd

from rnnbench.claims.answer import ABOVE, Answer, Words
from rnnbench.claims.contest import answer, contest, needs_goal
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.selection import named
from rnnbench.stats.compare import generator
from rnnbench.stats.families import pair
from rnnbench.stats.ranks import inside


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
    return answer(claim, made, "permutation", p, against, ABOVE, power, words, agrees)


KIND = ClaimKind(better, ("x", "y", "margin"), ("metric", "goal", "log"), check=needs_goal)
