"""More runs of one side solve the task, or diverge."""

import math
import warnings

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import tost_proportions_2indep

from rnnbench.claims.answer import ABOVE, Answer, Words, found, margin_of
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.selection import side
from rnnbench.stats.power import fisher_power, smallest
from rnnbench.stats.survival import shares


def share(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """Fisher's exact test of two shares.

    Contradicted also where TOST by score statistics shows no difference as large as the margin.
    """
    x, y = (side(frame, claim.where, case, one, every=claim.all) for one in (claim.x, claim.y))
    made = shares(x.flags(claim.metric), y.flags(claim.metric))
    n, margin = (made.x.n, made.y.n), margin_of(claim)
    words = Words(
        f"More runs of {x.name} than of {y.name} {claim.metric}",
        f"Fewer runs of {x.name} than of {y.name} {claim.metric}",
        f"The shares of runs of {x.name} and {y.name} that {claim.metric} differ by less than "
        f"{margin:.0%}",
        f"The shares of runs of {x.name} and {y.name} that {claim.metric} are not told apart",
    )
    facts = (
        f"{made.x.count} of {n[0]} against {made.y.count} of {n[1]}, "
        f"{found('difference', made.difference, made.low, made.high)}"
    )
    return Answer(
        measure=f"difference in the share {claim.metric}",
        test="Fisher",
        effect=made.difference,
        low=made.low,
        high=made.high,
        n=n,
        p=made.p,
        against=math.nan if made.why else _no_difference((made.x.count, made.y.count), n, margin),
        agrees=made.difference > 0,
        scaled=(made.difference / margin, made.low / margin, made.high / margin),
        region=ABOVE,
        power=lambda alpha: fisher_power(made.y.share, margin, n, alpha),
        detectable=lambda alpha: smallest(
            lambda gain: fisher_power(made.y.share, gain, n, alpha), 1 - made.y.share
        ),
        facts=facts,
        words=words,
        ids=tuple(x.runs["id"]),
        why=made.why,
    )


def _no_difference(counts: tuple[int, int], n: tuple[int, int], margin: float) -> float:
    """p of TOST that two shares differ by less than the margin, each side by Miettinen and
    Nurminen's score statistic (1985).
    """
    if not 0 < margin < 1:
        return math.nan
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # of ratios and odds, which are not asked for
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(
            tost_proportions_2indep(
                counts[0], n[0], counts[1], n[1], -margin, margin, method="score"
            ).pvalue
        )


def check(claim: Claim) -> str:
    if claim.metric in ("solved", "diverged"):
        return ""
    return f"metric must be solved or diverged, got {claim.metric!r}"


KIND = ClaimKind(share, ("x", "y", "metric", "margin"), ("all",), learns=False, check=check)
