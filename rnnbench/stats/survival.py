"""Solved or not, and how soon: shares of runs, and times to a target that some runs never reach.

Arrays in, frozen results out.

A diverged run is one that did not solve its task; if it had reached the target before, it did.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from statsmodels.stats.proportion import proportion_confint

from rnnbench.stats.statistics import Floats, Test, too_few


@dataclass(frozen=True)
class Share:
    """`count` of `n` runs, and the share's interval of Clopper and Pearson; NaN without a run."""

    count: int
    n: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Shares:
    """Two shares, their difference x - y with its interval; Fisher's exact p, or NaN and why."""

    x: Share
    y: Share
    difference: float
    low: float
    high: float
    p: float
    why: str = ""


@dataclass(frozen=True)
class Time:
    """The median step at which the target is reached, with its interval (high may be inf); NaN and
    why if half never reached it.
    """

    median: float
    low: float
    high: float
    solved: int
    n: int
    why: str = ""


def share(solved: ArrayLike, level: float = 0.95) -> Share:
    """The share of true values (n, boolean) with the interval of Clopper and Pearson (1934), which
    covers at least as often as it says, whatever the share.
    """
    flags = np.asarray(solved, bool)
    count, n = int(flags.sum()), flags.size
    if not n:
        return Share(0, 0, math.nan, math.nan, math.nan)
    low, high = proportion_confint(count, n, alpha=1 - level, method="beta")
    return Share(count, n, count / n, float(low), float(high))


def shares(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Shares:
    """Fisher's exact test (1922), two-sided, of equal shares.

    The interval of the difference is square-and-add (Zou and Donner, 2008) of the limits of Clopper
    and Pearson: it covers 0.939 at least with 5 runs a side, 0.947 with 10, whatever the shares
    are; with Wilson's limits, as Newcombe (1998) has it, it covers down to 0.88 and 0.90.
    """
    first, second = share(x, level), share(y, level)
    if not (first.n and second.n):
        return Shares(
            first, second, math.nan, math.nan, math.nan, math.nan, too_few(first.n, second.n)
        )
    gap = first.share - second.share
    low = gap - math.hypot(first.share - first.low, second.high - second.share)
    high = gap + math.hypot(first.high - first.share, second.share - second.low)
    why = too_few(first.n, second.n)
    table = [[first.count, first.n - first.count], [second.count, second.n - second.count]]
    p = math.nan if why else float(stats.fisher_exact(table).pvalue)
    return Shares(first, second, gap, low, high, p, why)


def censored(solved_at: ArrayLike, budget: ArrayLike) -> tuple[Floats, Floats]:
    """Times (n) and whether they were seen (n): a run that never solved (NaN) is known to need more
    than its budget of steps.

    Budgets are what a run was allowed, not what it made: one that diverged or lost patience would
    otherwise leave the comparison early, as if it might have solved the task a step later.
    """
    times = np.asarray(solved_at, float)
    seen = np.isfinite(times)
    return np.where(
        seen, times, np.broadcast_to(np.asarray(budget, float), times.shape)
    ), seen.astype(float)


def time_to_target(solved_at: ArrayLike, budget: ArrayLike, level: float = 0.95) -> Time:
    """The median of Kaplan and Meier (1958) with the interval of Brookmeyer and Crowley (1982).

    solved_at (n): steps, NaN where the target was not reached; budget (n, or one for all): steps
    allowed.
    """
    times, seen = censored(solved_at, budget)
    if not seen.any():
        return Time(
            math.nan,
            math.nan,
            math.nan,
            0,
            times.size,
            "no run reached the target" if times.size else "no run",
        )
    curve = SurvfuncRight(times, seen)
    with np.errstate(divide="ignore", invalid="ignore"):  # log(-log(0)) where every run reached it
        low, high = curve.quantile_ci(0.5, alpha=1 - level)
    # products of fractions; `curve.quantile` misses a half by rounding
    half = curve.surv_prob <= 0.5 + 1e-9
    if not half.any():
        return Time(
            math.nan,
            float(low),
            float(high),
            int(seen.sum()),
            times.size,
            "fewer than half of the runs reached the target",
        )
    median = float(curve.surv_times[half.argmax()])
    if np.ptp(times) == 0:
        low, high = median, median
    return Time(median, float(low), float(high), int(seen.sum()), times.size)


def log_rank(
    x_solved_at: ArrayLike, x_budget: ArrayLike, y_solved_at: ArrayLike, y_budget: ArrayLike
) -> Test:
    """Mantel's log-rank test (1966) of equal times to target; statistic: χ² with one degree of
    freedom. Arguments as in `time_to_target`.
    """
    (x, x_seen), (y, y_seen) = censored(x_solved_at, x_budget), censored(y_solved_at, y_budget)
    n = x.size, y.size
    if why := too_few(*n):
        return Test(math.nan, math.nan, n, why)
    if not (x_seen.any() or y_seen.any()):
        return Test(math.nan, math.nan, n, "no run on either side reached the target")
    group = np.repeat([0, 1], n)
    try:
        statistic, p = survdiff(np.concatenate([x, y]), np.concatenate([x_seen, y_seen]), group)
    except np.linalg.LinAlgError:  # all reached it at once: times that tell nothing
        return Test(0.0, 1.0, n)
    return Test(float(statistic), float(p), n)
