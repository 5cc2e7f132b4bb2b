"""Comparisons by order alone: two groups, cells over tasks, trends over ordered groups.

Arrays in, frozen results out.

Diverged runs (scores that are not finite) are worse than all others and equal to one another.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from rnnbench.stats.statistics import FEWEST, Estimate, Floats, Goal, Test, costs, too_few

# Of the error that an interval may make, the part that its formula is given: formulas by ranks
# suppose that both sides have the same spread, and cover 2 % less where one has four times that of
# the other.
ROOM = 0.6
EXACT = 50  # values, up to which a trend without ties is tested exactly


@dataclass(frozen=True)
class Ranks:
    """Average ranks (cells; 1 is best), Friedman's test over tasks, and how far two averages must
    be apart; or NaN and why.
    """

    average: tuple[float, ...]
    statistic: float
    p: float
    critical_difference: float
    tasks: int
    why: str = ""


def below(x: ArrayLike, y: ArrayLike) -> float:
    """One-sided p of Mann and Whitney (1947): small where costs x tend to be less than costs y.

    Exact without ties, else normal with the correction for ties; NaN below FEWEST runs a side.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    if too_few(a.size, b.size):
        return math.nan
    values = np.unique(np.concatenate([a, b])).size
    if values == 1:
        return 1.0
    if values == a.size + b.size and values <= 2 * EXACT:
        return float(_pairs(a.size, b.size)[int((a[:, None] < b).sum()) :].sum())
    return float(stats.mannwhitneyu(a, b, alternative="less", method="asymptotic").pvalue)


def inside(x: ArrayLike, y: ArrayLike, low: float, high: float) -> float:
    """p of two one-sided tests that the shift from costs y to costs x lies between low and high;
    either may be infinite.

    Schuirmann (1987) by ranks (Wellek, 2010, section 6.2): needs no normal scores, and says of the
    typical pair of runs, not of the mean, that its difference is inside.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    sides = [below(a, b + high)] if math.isfinite(high) else []
    sides += [below(b + low, a)] if math.isfinite(low) else []
    return max(sides)


def outside(x: ArrayLike, y: ArrayLike, low: float, high: float) -> float:
    """p of the shift from costs y to costs x lying between low and high, two-sided unless one end
    is infinite: small where it is shown to lie beyond them.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    sides = [below(b + high, a)] if math.isfinite(high) else []
    sides += [below(a, b + low)] if math.isfinite(low) else []
    return min(len(sides) * min(sides), 1.0) if sides else math.nan


def shift(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Estimate:
    """The median difference x - y over all pairs (Hodges & Lehmann, 1963), with the interval that
    inverts the exact test of Mann and Whitney, wider by ROOM; NaN bounds below FEWEST runs a side.

    x, y: finite; n: runs of the smaller side.
    """
    a, b = np.asarray(x, float), np.asarray(y, float)
    gaps = np.sort((a[:, None] - b).ravel())
    if not gaps.size:
        return Estimate(math.nan, math.nan, math.nan, 0, 0, "no run on one side")
    value, n = float(np.median(gaps)), min(a.size, b.size)
    if why := too_few(a.size, b.size):
        return Estimate(value, math.nan, math.nan, n, 0, why)
    tail = ROOM * (1 - level) / 2
    cut = max(int(np.searchsorted(np.cumsum(_pairs(a.size, b.size)), tail, "right")), 1)
    return Estimate(value, float(gaps[cut - 1]), float(gaps[gaps.size - cut]), n)


@lru_cache(maxsize=256)
def _pairs(m: int, n: int) -> Floats:
    return null_distribution((m, n))


def probability(x: ArrayLike, y: ArrayLike, goal: Goal) -> float:
    """The share of pairs in which x is better than y, ties half."""
    a, b = costs(x, goal)[:, None], costs(y, goal)
    return float((a < b).mean() + (a == b).mean() / 2)


def improvement(x: ArrayLike, y: ArrayLike, goal: Goal, level: float = 0.95) -> Estimate:
    """The probability that a run of x beats one of y (Agarwal et al., 2021); diverged runs lose.

    n: runs of the smaller side.

    The interval is a score interval, which unlike the bootstrap is right at 0 and 1 too: Newcombe
    (2006), Confidence intervals for an effect size measure based on the Mann-Whitney statistic,
    part 2, method 5; wider by ROOM.
    """
    m, n = np.size(x), np.size(y)
    if not (m and n):
        return Estimate(math.nan, math.nan, math.nan, 0, 0, "no run on one side")
    found, z = probability(x, y, goal), stats.norm.ppf(1 - ROOM * (1 - level) / 2)

    def excess(theta: float) -> float:
        spread = 1 + ((m + n) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return float((found - theta) ** 2 - z**2 * theta * (1 - theta) * spread / (m * n))

    inner = 1e-12  # at 0 and 1 the excess has a root that is no limit
    low = optimize.brentq(excess, 0, min(found, 1 - inner)) if found > 0 else 0.0
    high = optimize.brentq(excess, max(found, inner), 1) if found < 1 else 1.0
    excluded = int((~np.isfinite(np.concatenate([np.ravel(x), np.ravel(y)]).astype(float))).sum())
    return Estimate(
        found,
        float(low),
        float(high),
        min(m, n),
        0,
        f"{excluded} diverged, counted as the worst" if excluded else "",
    )


def gain(first: Estimate, second: Estimate) -> Estimate:
    """By how much the probability of winning is higher in the first than in the second, of two
    independent `improvement`s: the interval goes as far on each side as both do together (Zou &
    Donner, 2008, Construction of confidence limits about effect measures).
    """
    value = first.value - second.value
    low = math.hypot(first.value - first.low, second.high - second.value)
    high = math.hypot(first.high - first.value, second.value - second.low)
    why = first.why or second.why
    return Estimate(value, value - low, value + high, min(first.n, second.n), 0, why)


def ranks(scores: ArrayLike, goals: Sequence[Goal], alpha: float = 0.05) -> Ranks:
    """Friedman's test (1937) and Nemenyi's critical difference (1963), as in Demšar (2006),
    Statistical comparisons of classifiers.

    scores: (tasks, cells), one number each, such as a mean; what is not finite ranks last. goals:
        of each task. Tasks are a choice and
    no random sample: the test says whether these tasks agree about the cells, not what another task
        would say.
    """
    table = np.asarray(scores, float)
    tasks, cells = table.shape
    turned = np.array([costs(row, goal) for row, goal in zip(table, goals, strict=True)]).reshape(
        tasks, cells
    )
    average = (
        tuple(stats.rankdata(turned, axis=1).mean(0).tolist()) if tasks else (math.nan,) * cells
    )
    if tasks < FEWEST or cells < 3:
        why = (
            f"{tasks} tasks and {cells} cells; ranks are compared from {FEWEST} tasks and 3 "
            f"cells on"
        )
        return Ranks(average, math.nan, math.nan, math.nan, tasks, why)
    reach = (
        stats.studentized_range.ppf(1 - alpha, cells, np.inf)
        / math.sqrt(2)
        * math.sqrt(cells * (cells + 1) / (6 * tasks))
    )
    if (turned == turned[:, :1]).all():
        return Ranks(average, 0.0, 1.0, float(reach), tasks)
    result = stats.friedmanchisquare(*stats.rankdata(turned, axis=1).T)
    return Ranks(average, float(result.statistic), float(result.pvalue), float(reach), tasks)


def trend(
    groups: Sequence[ArrayLike],
    goal: Goal,
    alternative: Literal["two-sided", "better", "worse"] = "two-sided",
) -> Test:
    """The test of Jonckheere (1954) and Terpstra (1952) for a monotone trend from group to group.

    groups: scores in the order of the hypothesis, for instance of growing forget bias; diverged
        runs rank last. alternative: later groups are better, worse, or either. statistic: pairs of
        runs of which the one in the later group is better, ties half. Exact without ties up to 50
        values, else normal with Lehmann's (1975) correction for ties.
    """
    turned = [costs(group, goal).ravel() for group in groups]
    sizes = tuple(group.size for group in turned)
    if len(sizes) < 2:
        raise ValueError(f"a trend needs two groups or more, got {len(sizes)}")
    found = 0.0
    for later in range(1, len(turned)):
        for earlier in range(later):
            a, b = turned[later][:, None], turned[earlier]
            found += float((a < b).sum() + (a == b).sum() / 2)
    if why := too_few(*sizes):
        return Test(found, math.nan, sizes, why)
    repeated = np.unique(np.concatenate(turned), return_counts=True)[1]
    if repeated.max() == 1 and sum(sizes) <= EXACT:
        chances = null_distribution(sizes)
        fewer, more = float(chances[: int(found) + 1].sum()), float(chances[int(found) :].sum())
    else:
        variance = null_variance(sizes, repeated)
        z = (
            (found - (sum(sizes) ** 2 - sum(n * n for n in sizes)) / 4) / math.sqrt(variance)
            if variance > 0
            else 0.0
        )
        fewer, more = float(stats.norm.cdf(z)), float(stats.norm.sf(z))
    p = {"better": more, "worse": fewer, "two-sided": 2 * min(fewer, more)}[alternative]
    return Test(found, min(p, 1.0), sizes)


def null_distribution(sizes: Sequence[int]) -> Floats:
    """The probability of each value 0, 1, … of the statistic where there is no trend and no tie.

    Its generating function is the q-multinomial coefficient [N]! / ([n1]! [n2]! …), with [n]! = Π
    (1 - q^i) / (1 - q).
    """
    counts = np.array([1], dtype=object)  # whole numbers of any size
    for done, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        for i in range(1, size + 1):
            product = np.concatenate([counts, np.zeros(done + i, dtype=object)])
            product[done + i :] -= counts  # times 1 - q^(done + i)
            for start in range(i):  # divided by 1 - q^i
                product[start::i] = np.cumsum(product[start::i])
            counts = product[: len(product) - i]
    total = sum(counts)
    return np.array([float(count / total) for count in counts])


def null_variance(sizes: Sequence[int], repeated: ArrayLike) -> float:
    """Its variance where values occur `repeated` times each; Hollander, Wolfe & Chicken (2014),
    equation 6.19.
    """
    n, t, total = np.asarray(sizes, float), np.asarray(repeated, float), float(sum(sizes))

    def cubic(k: Floats | float) -> float:
        return float(np.sum(k * (k - 1) * (2 * k + 5)))

    def falling(k: Floats | float) -> float:
        return float(np.sum(k * (k - 1) * (k - 2)))

    def pairs(k: Floats | float) -> float:
        return float(np.sum(k * (k - 1)))

    main = (cubic(total) - cubic(n) - cubic(t)) / 72
    return (
        main
        + falling(n) * falling(t) / (36 * falling(total))
        + pairs(n) * pairs(t) / (8 * pairs(total))
    )
