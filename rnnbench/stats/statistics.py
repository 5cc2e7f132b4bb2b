"""Scores of runs: what a diverged run counts as, their median, differences, Holm's correction.

Arrays go in, small frozen results come out.

The run (its seed) is the unit of replication. A score that is not finite belongs to a run that
diverged: it counts as the worst of all. Rank statistics (`ranks`) keep it, tied with others of its
kind; means cannot, leave it out and say how many they left out (`excluded`). `judged` puts NaN in
the place of diverged runs' scores.

Below FEWEST runs a side no significance is claimed: p is NaN and `why` says so. Differences are x -
y, in the units of the scores, whichever direction is better. SciPy and statsmodels do the
computing. Knows no records, no files, no figures.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.meta_analysis import effectsize_smd

FEWEST = 5  # runs a side, below which no significance is claimed
Floats = NDArray[np.float64]
Goal = Literal["min", "max"]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval. n: scores it rests on; excluded: those not finite; why: what is
    wrong with the interval, if anything.
    """

    value: float
    low: float
    high: float
    n: int
    excluded: int = 0
    why: str = ""


@dataclass(frozen=True)
class Test:
    """A p-value, or NaN and `why`. n: runs of x and y."""

    __test__ = False  # for pytest, which collects classes of this name

    statistic: float
    p: float
    n: tuple[int, ...]
    why: str = ""


@dataclass(frozen=True)
class Difference:
    """Mean of x minus mean of y with Welch's interval and p; Hedges' g with its interval; n and
    excluded of x and y.
    """

    difference: float
    n: tuple[int, int]
    excluded: tuple[int, int]
    low: float = math.nan
    high: float = math.nan
    g: float = math.nan
    g_low: float = math.nan
    g_high: float = math.nan
    p: float = math.nan
    why: str = ""


def judged(values: ArrayLike, diverged: ArrayLike) -> Floats:
    """Scores (n) with NaN for diverged runs (n, boolean), whose recorded score is that of some
    moment before.
    """
    return np.where(np.asarray(diverged, bool), np.nan, np.asarray(values, float))


def usable(values: ArrayLike) -> Floats:
    scores: Floats = np.asarray(values, float).ravel()
    return scores[np.isfinite(scores)]


def costs(values: ArrayLike, goal: Goal) -> Floats:
    """Scores turned so that less is better and whatever is not finite is worst (inf): what rank
    statistics compare.
    """
    scores = np.asarray(values, float)
    return np.where(np.isfinite(scores), scores if goal == "min" else -scores, np.inf)


def too_few(*sizes: int) -> str:
    """Why no significance is claimed, or an empty text."""
    return (
        f"n = {' and '.join(map(str, sizes))}; below {FEWEST} runs a side no significance is "
        f"claimed"
        if min(sizes) < FEWEST
        else ""
    )


def charged(values: ArrayLike, goal: Goal, worst: float) -> Floats:
    """Scores (n) turned so that less is better, with the cost `worst` for those not finite."""
    found = costs(values, goal)
    return np.where(np.isfinite(found), found, worst)


def beyond(limit: float, *samples: Floats) -> float:
    """What a diverged run costs: `limit`, or a little more than the worst finite cost of the
    samples where that is no less (-inf: no limit is known).
    """
    finite = np.concatenate([usable(sample) for sample in samples])
    if not finite.size:
        return limit if math.isfinite(limit) else 0.0
    worst = float(finite.max())
    return limit if limit > worst else worst + 1e-6 * (float(np.ptp(finite)) or 1.0)


def median(values: ArrayLike, goal: Goal, level: float = 0.95) -> Estimate:
    """The median score, runs without one being the worst, between two of the scores in order.

    The interval holds the median of what the runs are drawn from with probability `level` whatever
    that is (David & Nagaraja, 2003, section 7.1), 0.9375 of five runs. A bound, or the median, that
    falls on a run without a score is infinite.
    """
    ordered = np.sort(costs(values, goal).ravel())
    n, excluded = ordered.size, int((~np.isfinite(ordered)).sum())
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0, 0, "no run")
    middle = ordered[(n - 1) // 2 : n // 2 + 1].mean()
    sign = 1.0 if goal == "min" else -1.0
    if n < FEWEST:
        why = f"{n} {'run is' if n == 1 else 'runs are'} too few for an interval"
        return Estimate(sign * middle, math.nan, math.nan, n, excluded, why)
    cut = max(int(stats.binom.ppf((1 - level) / 2, n, 0.5)), 1)
    low, high = sorted((sign * ordered[cut - 1], sign * ordered[n - cut]))
    return Estimate(sign * middle, low, high, n, excluded)


def difference(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Difference:
    """Welch's t-test (1947), two-sided, and Hedges' g (1981, with the correction for small samples)
    with a normal interval.
    """
    (a, b), n, excluded = _pair(x, y)
    gap, why = float(a.mean() - b.mean()) if min(n) else math.nan, too_few(*n)
    if min(n) < 2:
        return Difference(gap, n, excluded, why=why)
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        why = why or "no spread on either side, nothing to measure the difference by"
        return Difference(gap, n, excluded, gap, gap, why=why)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # SciPy's, where one side has no spread
        result = stats.ttest_ind(a, b, equal_var=False)
        low, high = result.confidence_interval(level)
    g, variance = effectsize_smd(a.mean(), a.std(ddof=1), n[0], b.mean(), b.std(ddof=1), n[1])
    reach = float(stats.norm.ppf((1 + level) / 2) * math.sqrt(variance))
    p = math.nan if why else float(result.pvalue)
    return Difference(
        gap,
        n,
        excluded,
        float(low),
        float(high),
        float(g),
        float(g) - reach,
        float(g) + reach,
        p,
        why,
    )


def holm(p: ArrayLike) -> Floats:
    """p-values (n) of one family, corrected step-down (Holm, 1979).

    NaN stays NaN and is no member of the family.
    """
    values = np.asarray(p, float)
    corrected, claimed = np.full(values.shape, np.nan), np.isfinite(values)
    family = values[claimed]
    order = family.argsort()
    stepped = np.maximum.accumulate(family[order] * np.arange(family.size, 0, -1))
    family[order] = np.minimum(
        stepped, 1
    )  # as statsmodels' multipletests, which collects garbage (50 ms) in each call
    corrected[claimed] = family
    return corrected


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Sequence[Floats], tuple[int, int], tuple[int, int]]:
    """The finite scores of both, how many there are, how many others."""
    a, b = usable(x), usable(y)
    return (a, b), (a.size, b.size), (np.size(x) - a.size, np.size(y) - b.size)
