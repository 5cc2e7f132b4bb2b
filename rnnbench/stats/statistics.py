"""Scores of runs: what a diverged run counts as, their median, Holm's correction.

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
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

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


def holm(p: ArrayLike) -> Floats:
    """p-values (n) of one family, corrected step-down (Holm, 1979).

    NaN stays NaN and is no member of the family.
    """
    values = np.asarray(p, float)
    corrected, claimed = np.full(values.shape, np.nan), np.isfinite(values)
    family = values[claimed]
    order = family.argsort()
    stepped = np.maximum.accumulate(family[order] * np.arange(family.size, 0, -1))
    # as statsmodels' multipletests, which collects garbage (50 ms) in each call
    family[order] = np.minimum(stepped, 1)
    corrected[claimed] = family
    return corrected
