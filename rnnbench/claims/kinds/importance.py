"""A setting explains a share of the variance of a search."""

import math

import numpy as np
import pandas as pd

from rnnbench.claims.answer import AMONG, Answer, Words, detectable, found
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.selection import Unanswerable, matching, named
from rnnbench.formatting import listing, number
from rnnbench.stats.compare import generator
from rnnbench.stats.importance import Importance, importances
from rnnbench.stats.power import Estimated, student

FOLDS, TREES = 5, 24  # parts of a search, each left out of one forest


def importance(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """The share of variance that a setting explains (functional ANOVA), or `interactions`: all
    pairs over the sum of the single shares.

    Its error is that of a jackknife over FOLDS parts of the search, each left out of one fit: it
    holds the luck of the trials as well as that of the forest. Over several cells or tasks, the
    mean of their shares.
    """
    runs = matching(frame, claim.where, case, claim.x)
    low, high = claim.range or (0.0, 1.0)
    key, name = str(claim.key), named({**claim.where, **case, **claim.x})
    rng = generator("claim", claim.id, name)
    folds = rng.permutation(len(runs)) % FOLDS
    fits = [importances(runs[folds != fold], rng, repeats=1, trees=TREES) for fold in range(FOLDS)]
    shares = [float(np.mean([_share(one, key) for one in fit])) for fit in fits]
    spread = student(shares)
    estimated = Estimated(spread.value, spread.error * (FOLDS - 1), FOLDS - 1)
    bounds, middle, half = estimated.interval(), (low + high) / 2, (high - low) / 2 or math.nan
    # no share is beyond, so nothing need be shown there
    possible = (low if low > 0 else -math.inf, high if high < 1 else math.inf)
    what = "interactions, over that of single settings," if key == "interactions" else key
    span = f"{low:.2g} to {high:.2g}"
    outside = f"The share of {what} lies outside {span}"
    words = Words(
        f"The share of {what} lies within {span}",
        outside,
        outside,
        f"Whether the share of {what} lies within {span} is not told",
    )
    fit = float(np.mean([one.r2 for analyses in fits for one in analyses]))
    return Answer(
        measure=f"share of variance of {key}",
        test="TOST",
        effect=estimated.value,
        low=bounds[0],
        high=bounds[1],
        n=(len(runs),),
        p=estimated.inside(*possible),
        against=estimated.outside(*possible),
        agrees=True,
        scaled=estimated.scaled(half, middle),
        region=AMONG,
        power=lambda alpha: estimated.power_inside(half, alpha),
        detectable=detectable(estimated.power_inside, estimated),
        facts=(
            f"{found('share', estimated.value, *bounds)}, R² of the forest on unseen runs "
            f"{number(fit, 2)}"
        ),
        words=words,
        ids=tuple(runs["id"]),
    )


def _share(one: Importance, key: str) -> float:
    if one.reason:
        raise Unanswerable(f"{one.cell} on {one.task} without a fifth of its runs: {one.reason}")
    table = one.table.set_index("parameter")["mean"]
    if key == "interactions":
        return float(one.pairs["mean"].sum() / table.sum())
    if key not in table:
        raise Unanswerable(
            f"{key} does not vary among the runs of {one.cell} on {one.task}; "
            f"{listing(list(table.index))} do"
        )
    return float(table[key])


KIND = ClaimKind(importance, ("key", "range"), ("x",), learns=False, sides=lambda _: [])
