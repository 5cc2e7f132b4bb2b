"""One side reaches the target sooner."""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rnnbench.claims.answer import ABOVE, Answer, Words, detectable, found, margin_of
from rnnbench.claims.design import Claim
from rnnbench.claims.kind import Case, ClaimKind
from rnnbench.claims.selection import side
from rnnbench.formatting import number
from rnnbench.stats.power import Estimated
from rnnbench.stats.ranks import ROOM
from rnnbench.stats.survival import Time, censored, log_rank, time_to_target


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
        measure="hazard ratio",
        test="log-rank",
        effect=ratio,
        low=low,
        high=high,
        n=(a.size, b.size),
        p=test.p,
        against=math.nan if test.why else estimated.inside(-margin, margin),
        agrees=estimated.value > 0,
        scaled=estimated.scaled(margin),
        region=ABOVE,
        power=lambda alpha: planned.power_apart(margin, alpha),
        detectable=detectable(planned.power_apart, planned, math.exp),
        facts=f"{times}; {found('hazard ratio', ratio, low, high)}",
        words=words,
        ids=tuple(x.runs["id"]),
        why=test.why,
    )


def _median(time: Time) -> str:
    steps = "no median" if math.isnan(time.median) else f"median {number(time.median)} steps"
    return f"{steps} ({time.solved} of {time.n} solved)"


def hazard_ratio(
    x_solved_at: ArrayLike, x_budget: ArrayLike, y_solved_at: ArrayLike, y_budget: ArrayLike
) -> Estimated:
    """The log of how much more often x solves than y in any one step: Peto's estimate (Yusuf et
    al., 1985), finite even where y never does.

    It is (observed - expected) / variance of the log-rank test, with error 1 / √variance; it falls
    short of large ratios, so that its interval is made wider by ROOM. Arguments as in
    `time_to_target`.
    """
    (a, a_seen), (b, b_seen) = censored(x_solved_at, x_budget), censored(y_solved_at, y_budget)
    times = np.concatenate([a, b])
    seen = np.concatenate([a_seen, b_seen]) > 0
    first = np.repeat([True, False], (a.size, b.size))
    excess = variance = 0.0
    for time in np.unique(times[seen]):
        at_risk, now = times >= time, seen & (times == time)
        n, own, d = int(at_risk.sum()), int((at_risk & first).sum()), int(now.sum())
        excess += int((now & first).sum()) - d * own / n
        variance += d * own / n * (1 - own / n) * (n - d) / (n - 1) if n > 1 else 0.0
    return (
        Estimated(excess / variance, 1 / math.sqrt(variance), room=ROOM)
        if variance > 0
        else Estimated(math.nan, math.nan)
    )


KIND = ClaimKind(sooner, ("x", "y", "margin"), ("all",), learns=False)
