"""Scores of runs against scores of runs: estimates, differences, tests, power.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import ttost_ind

FEWEST = 5  # runs a side, below which no significance is claimed
RESAMPLES = 4999
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


@dataclass(frozen=True)
class Equivalence:
    """Whether |mean x - mean y| is below a margin: p of TOST; low, high: the interval (of level 1 -
    2α) that must lie inside ±margin.
    """

    difference: float
    low: float
    high: float
    margin: float
    p: float
    n: tuple[int, int]
    excluded: tuple[int, int]
    why: str = ""


@dataclass(frozen=True)
class Detectable:
    """The smallest true difference that a t-test of this size would probably find: in standard
    deviations, and in the scores' units.
    """

    effect: float
    difference: float
    alpha: float
    power: float
    n: tuple[int, int]


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


def mean(values: ArrayLike, rng: np.random.Generator, level: float = 0.95) -> Estimate:
    """The mean of the finite scores, with a bootstrap interval."""
    return _bootstrapped(values, np.mean, rng, level)


def iqm(values: ArrayLike, rng: np.random.Generator, level: float = 0.95) -> Estimate:
    """The interquartile mean (a quarter of the scores cut off at each end; Agarwal et al., 2021)
    with a bootstrap interval.
    """
    return _bootstrapped(
        values, lambda scores, axis: stats.trim_mean(scores, 0.25, axis=axis), rng, level
    )


def _bootstrapped(
    values: ArrayLike, statistic: Callable[..., Any], rng: np.random.Generator, level: float
) -> Estimate:
    """A BCa interval (Efron, 1987), its level raised so that small samples get the width that
    Student's t would give them.

    Without that, intervals of ten scores cover 90 % instead of 95 %: Hesterberg (2015), What
    teachers should know about the bootstrap, section 3.2 (there for percentile intervals). Where
    BCa is undefined (its jackknife has no spread), percentiles.
    """
    scores = usable(values)
    n, excluded = scores.size, np.size(values) - scores.size
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, excluded, "no finite score")
    value = float(statistic(scores, axis=0))
    if n == 1:
        return Estimate(value, math.nan, math.nan, 1, excluded, "one score has no spread")
    if np.ptp(scores) == 0:
        return Estimate(value, value, value, n, excluded, "all scores are equal")
    raised = 1 - 2 * stats.norm.cdf(math.sqrt(n / (n - 1)) * stats.t.ppf((1 - level) / 2, n - 1))
    state, why = rng.bit_generator.state, ""
    options = {
        "statistic": statistic,
        "n_resamples": RESAMPLES,
        "vectorized": True,
        "confidence_level": raised,
        "batch": 1000,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of degenerate samples, which the result below tells
        low, high = stats.bootstrap((scores,), method="BCa", rng=rng, **options).confidence_interval
        if not (np.isfinite(low) and np.isfinite(high)):
            rng.bit_generator.state = state
            low, high = stats.bootstrap(
                (scores,), method="percentile", rng=rng, **options
            ).confidence_interval
            why = "percentile interval: the scores are too much alike for BCa"
    return Estimate(value, float(low), float(high), n, excluded, why)


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


def permutation(
    x: ArrayLike, y: ArrayLike, rng: np.random.Generator, resamples: int = 9999
) -> Test:
    """Permutation test of equal means, two-sided; exact where there are no more than `resamples`
    ways to regroup.

    The statistic is the size of Welch's t, so that unequal variances do little harm (Janssen, 1997,
    Studentized permutation tests): 8 runs with ten times the spread of 24 others are called
    different in 7 % of draws without a difference, by plain means in 25 %.
    """
    (a, b), n, _ = _pair(x, y)
    if why := too_few(*n):
        return Test(math.nan, math.nan, n, why)
    floor = 1e-9 * np.concatenate([a, b]).std()  # regroupings without spread
    if floor == 0:
        return Test(0.0, 1.0, n)

    def welch(a: Floats, b: Floats, axis: int) -> Floats:
        error = np.sqrt(a.var(axis, ddof=1) / n[0] + b.var(axis, ddof=1) / n[1])
        return (a.mean(axis) - b.mean(axis)) / (error + floor)  # type: ignore[no-any-return]

    def size(a: Floats, b: Floats, axis: int) -> Floats:
        return np.abs(welch(a, b, axis))

    result = stats.permutation_test(
        (a, b),
        size,
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        alternative="greater",
        rng=rng,
    )
    return Test(float(welch(a, b, 0)), float(result.pvalue), n)


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


def equivalence(x: ArrayLike, y: ArrayLike, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided Welch tests (Schuirmann, 1987) of |mean x - mean y| < margin, in the scores'
    units; margin > 0, stated beforehand.
    """
    if not margin > 0:
        raise ValueError(f"a margin of equivalence is positive, got {margin}")
    found = difference(x, y, 1 - 2 * alpha)
    p = math.nan
    if not found.why:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            p = float(ttost_ind(usable(x), usable(y), -margin, margin, usevar="unequal")[0])
    return Equivalence(
        found.difference, found.low, found.high, margin, p, found.n, found.excluded, found.why
    )


def detectable(x: ArrayLike, y: ArrayLike, alpha: float, power: float = 0.8) -> Detectable:
    """What a two-sided t-test between samples of these sizes and this pooled spread finds with
    probability `power`.

    alpha: after correction, 0.05 / size of the family for the strictest step of Holm's. NaN with
        fewer than two scores on a side; no difference, in the scores' units, where there is no
        spread.
    """
    (a, b), n, _ = _pair(x, y)
    if min(n) < 2:
        return Detectable(math.nan, math.nan, alpha, power, n)
    effect = float(
        TTestIndPower().solve_power(nobs1=n[0], ratio=n[1] / n[0], alpha=alpha, power=power)
    )
    pooled = math.sqrt(((n[0] - 1) * a.var(ddof=1) + (n[1] - 1) * b.var(ddof=1)) / (sum(n) - 2))
    return Detectable(effect, effect * pooled if pooled else math.nan, alpha, power, n)


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Sequence[Floats], tuple[int, int], tuple[int, int]]:
    """The finite scores of both, how many there are, how many others."""
    a, b = usable(x), usable(y)
    return (a, b), (a.size, b.size), (np.size(x) - a.size, np.size(y) - b.size)
