"""Claims about runs that solve or diverge: how many, how soon. Returns answers, not verdicts."""

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from statsmodels.stats.proportion import tost_proportions_2indep

from rnnbench.claims.answer import ABOVE, Answer, Words, detectable, found, margin_of
from rnnbench.claims.design import Claim
from rnnbench.claims.selection import side
from rnnbench.formatting import number
from rnnbench.stats.power import Estimated, fisher_power, smallest
from rnnbench.stats.survival import Time, censored, log_rank, shares, time_to_target

Case = Mapping[str, Any]


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
        f"difference in the share {claim.metric}",
        "Fisher",
        made.difference,
        made.low,
        made.high,
        n,
        made.p,
        math.nan if made.why else _no_difference((made.x.count, made.y.count), n, margin),
        made.difference > 0,
        (made.difference / margin, made.low / margin, made.high / margin),
        ABOVE,
        lambda alpha: fisher_power(made.y.share, margin, n, alpha),
        lambda alpha: smallest(
            lambda gain: fisher_power(made.y.share, gain, n, alpha), 1 - made.y.share
        ),
        facts,
        words,
        tuple(x.runs["id"]),
        made.why,
    )


def _no_difference(counts: tuple[int, int], n: tuple[int, int], margin: float) -> float:
    """p of TOST that two shares differ by less than the margin, each side by Miettinen and
    Nurminen's score statistic (1985).
    """
    if not 0 < margin < 1:
        return math.nan
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter(
            "ignore", RuntimeWarning
        )  # of ratios and odds, which are not asked for
        return float(
            tost_proportions_2indep(
                counts[0], n[0], counts[1], n[1], -margin, margin, method="score"
            ).pvalue
        )


def sooner(frame: pd.DataFrame, claim: Claim, case: Case) -> Answer:
    """The log-rank test of times to target.

    Effect: the hazard ratio; margin: one that is too close to 1 to matter.

    Contradicted also by TOST of its logarithm. Power: Schoenfeld (1981), from the number of runs
    that solved.
    """
    x, y = (side(frame, claim.where, case, one, every=claim.all) for one in (claim.x, claim.y))
    (a, budget), (b, limit) = (
        (one.column("solved_at"), one.column("train.steps")) for one in (x, y)
    )
    test, estimated = log_rank(a, budget, b, limit), hazard_ratio(a, budget, b, limit)
    events = int(np.isfinite(a).sum() + np.isfinite(b).sum())
    planned = Estimated(
        0.0,
        1 / math.sqrt(events * a.size * b.size / (a.size + b.size) ** 2) if events else math.nan,
    )
    margin, bounds = abs(math.log(margin_of(claim))) or math.nan, estimated.interval()
    ratio, low, high = (math.exp(v) for v in (estimated.value, *bounds))
    words = Words(
        f"{x.name} solves sooner than {y.name}",
        f"{x.name} solves later than {y.name}",
        f"{x.name} and {y.name} solve equally soon to within a hazard ratio of "
        f"{number(math.exp(margin), 3)}",
        f"Which of {x.name} and {y.name} solves sooner is not told",
    )
    times = " against ".join(map(_median, (time_to_target(a, budget), time_to_target(b, limit))))
    return Answer(
        "hazard ratio",
        "log-rank",
        ratio,
        low,
        high,
        (a.size, b.size),
        test.p,
        math.nan if test.why else estimated.inside(-margin, margin),
        estimated.value > 0,
        estimated.scaled(margin),
        ABOVE,
        lambda alpha: planned.power_apart(margin, alpha),
        detectable(planned.power_apart, planned, math.exp),
        f"{times}; {found('hazard ratio', ratio, low, high)}",
        words,
        tuple(x.runs["id"]),
        test.why,
    )


def _median(time: Time) -> str:
    steps = "no median" if math.isnan(time.median) else f"median {number(time.median)} steps"
    return f"{steps} ({time.solved} of {time.n} solved)"


def hazard_ratio(
    x_solved_at: ArrayLike, x_budget: ArrayLike, y_solved_at: ArrayLike, y_budget: ArrayLike
) -> Estimated:
    """The log of how much more often x solves than y in any one step: Peto's estimate (Yusuf et
    al., 1985), finite even where y never does.

    It is (observed - expected) / variance of the log-rank test, with error 1 / √variance. Arguments
    as in `time_to_target`.
    """
    (a, a_seen), (b, b_seen) = censored(x_solved_at, x_budget), censored(y_solved_at, y_budget)
    times, seen, first = (
        np.concatenate([a, b]),
        np.concatenate([a_seen, b_seen]) > 0,
        np.repeat([True, False], (a.size, b.size)),
    )
    excess = variance = 0.0
    for time in np.unique(times[seen]):
        at_risk, now = times >= time, seen & (times == time)
        n, own, d = int(at_risk.sum()), int((at_risk & first).sum()), int(now.sum())
        excess += int((now & first).sum()) - d * own / n
        variance += d * own / n * (1 - own / n) * (n - d) / (n - 1) if n > 1 else 0.0
    return (
        Estimated(excess / variance, 1 / math.sqrt(variance))
        if variance > 0
        else Estimated(math.nan, math.nan)
    )
