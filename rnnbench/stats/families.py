"""Families of comparisons between the cells of one task: with the baseline, with the best.

A step-down max-T permutation test (Westfall & Young, 1993; Romano & Wolf, 2005). The statistic of a
pair is the larger of two: Welch's t of the costs (of their logarithms where all are positive, as
losses are, which span decades), and Welch's t of their ranks among all runs of the family, both
brought to the normal scale. The first sees how far apart cells are, and a share of runs that failed
where the order of the others is luck; the second sees a difference where a few wild runs drown the
first.

Runs are regrouped among the cells at random, so that a family of equal cells is wrong in 5 % of
studies whatever the scores look like: skewed, bimodal, tied, diverged. Where equal cells differ in
spread, regrouping alone is not enough at few runs, even with each pair's own spread as the unit
(Janssen, 1997; Chung & Romano, 2016): Bonferroni's bound on the same statistics has to agree. The
ranks of a few runs that happen to lie on one side of all others have hardly any spread, so that
their t gets no more freedom than the smaller group has, which is enough for normal scores whatever
their spreads (Mickey & Brown, 1966).

Costs go in: numbers of which less is better, one array a cell (see `statistics.charged`). No
records, no files.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from rnnbench.stats.power import WANTED
from rnnbench.stats.statistics import FEWEST, Floats

ALPHA = 0.05
REGROUPINGS = 1999
# least variance of a mean, in variances of the family: runs of a cell may be all alike
FLOOR = 1e-6
DRAWS, FAR = 4000, 40.0  # of `detectable`: simulated pairs, and the largest size looked at
SAME = 1e-9  # statistics closer than that are ties which rounding broke


@dataclass(frozen=True)
class Decided:
    """One entry per cell of the family.

    p: corrected; NaN where nothing is claimed.
    lead: over the baseline; or over the cell that it is furthest behind, then negative if there is
        one before it. In standard normal units, positive where the cell is better.
    alpha: what the strictest step of the correction asks of a single two-sided p.
    """

    p: Floats
    lead: Floats
    alpha: float


@dataclass(frozen=True)
class Moments:
    """Mean of each group and the variance of that mean (…, groups); sizes (groups). ranked: of
    ranks.
    """

    mean: Floats
    variance: Floats
    sizes: Floats
    ranked: bool

    def lead(self, one: Any, other: Any) -> Floats:
        """Welch's t by which groups `one` have lower means than `other`, on the normal scale.

        one, other: indices along the last axis that broadcast against each other.
        """
        u, v = self.variance[(..., *one)], self.variance[(..., *other)]
        t = (self.mean[(..., *other)] - self.mean[(..., *one)]) / np.sqrt(u + v)
        m, n = self.sizes[one] - 1, self.sizes[other] - 1
        freedom = np.minimum(m, n) if self.ranked else (u + v) ** 2 / (u**2 / m + v**2 / n)
        return normal(t, freedom)


def with_baseline(
    costs: Sequence[Floats], rng: np.random.Generator, regroupings: int = REGROUPINGS
) -> Decided:
    """Two-sided comparisons of each cell with the first; the baseline itself has p NaN, lead 0."""

    def leads(of: Moments) -> Floats:
        return of.lead((slice(None),), (slice(0, 1),))

    return _stepped(costs, leads, np.abs, 1, rng, regroupings)


def with_best(
    costs: Sequence[Floats], rng: np.random.Generator, regroupings: int = REGROUPINGS
) -> Decided:
    """For each cell, whether it is worse than some other, and so not the best.

    The reference distribution is that of the largest lead of any cell over any other: it counts
    that the best was found by looking, as multiple comparisons with the best do (Hsu, 1984).
    """

    def leads(of: Moments) -> Floats:
        every = of.lead((slice(None), None), (None, slice(None)))
        return np.asarray(every.min(-1))

    return _stepped(costs, leads, np.negative, 0, rng, regroupings)


def pair(x: Floats, y: Floats, rng: np.random.Generator, regroupings: int = 9999) -> Decided:
    """Two-sided comparison of x with y, a family of one: p and lead are of x alone."""
    found = with_baseline([y, x], rng, regroupings)
    return Decided(found.p[1:], found.lead[1:], found.alpha)


def detectable(m: int, n: int, others: int, alpha: float) -> float:
    """The smallest true difference, in standard deviations of normal scores, that a comparison of m
    runs with n finds four times in five at this corrected alpha; NaN if there is none.

    others: runs of the family beside these, which are like those of the baseline. By simulation:
    the noncentral t distribution, right for spreads that are known to be equal, promises too much
    at five runs, and knows nothing of ranks.
    """
    if min(m, n) < 2 or not alpha > 0:
        return math.nan
    return _detectable(m, n, others, float(f"{alpha:.2g}"))


@lru_cache(maxsize=256)
def _detectable(m: int, n: int, others: int, alpha: float) -> float:
    drawn = np.random.default_rng(0).normal(size=(DRAWS, m + n))
    sizes, first, second = np.array([m, n], float), (slice(0, 1),), (slice(1, 2),)
    needed = -special.ndtri(alpha / 2)

    def missed(size: float) -> float:
        runs = drawn - size * (np.arange(m + n) < m)
        ranks = stats.rankdata(runs, axis=1) + others * special.ndtr(runs)
        pairs = _moments(runs, sizes, False), _moments(ranks, sizes, True)
        kinds = [of.lead(first, second) for of in pairs]
        return WANTED - float((np.maximum(*kinds) >= needed).mean())

    return float(optimize.bisect(missed, 0.0, FAR, xtol=1e-2)) if missed(FAR) < 0 else math.nan


def _stepped(
    costs: Sequence[Floats],
    leads: Callable[[Moments], Floats],
    size: Callable[[Floats], Floats],
    fixed: int,
    rng: np.random.Generator,
    regroupings: int,
) -> Decided:
    """Reject what exceeds the reference distribution of the largest statistic of those left, until
    nothing more does.

    size: how far a lead is from what equal cells have; fixed: of the first cells, that stay in
    every step and are not decided about.
    """
    cells = len(costs)
    p, lead, alpha = np.full(cells, np.nan), np.full(cells, np.nan), np.nan
    left = [k for k in range(cells) if len(costs[k]) >= FEWEST]
    if fixed and 0 not in left:
        return Decided(p, lead, alpha)
    reached = 0.0
    while len(left) > 1:
        found, drawn = _regrouped([costs[k] for k in left], leads, rng, regroupings)
        sizes = size(found)
        largest = size(drawn)[:, fixed:].max(-1)
        tests = (len(left) - 1) * (2 if fixed else len(left))
        beyond = (largest[:, None] >= sizes - SAME).sum(0)
        chance = np.maximum(
            (beyond + 1) / (regroupings + 1),
            np.minimum(2 * tests * special.ndtr(-sizes), 1.0),  # two statistics a test
        )
        chance = np.maximum(chance, reached)
        if np.isnan(alpha):
            needed = max(np.quantile(largest, 1 - ALPHA), -special.ndtri(ALPHA / (2 * tests)))
            alpha = float(2 * special.ndtr(-needed))
        rejected = [k for k in range(fixed, len(left)) if chance[k] <= ALPHA]
        for k in range(fixed, len(left)):
            if k in rejected or not rejected:
                p[left[k]] = chance[k]
        for k in range(len(left)):
            if np.isnan(lead[left[k]]):
                lead[left[k]] = found[k]
        if not rejected:
            break
        reached = float(chance[rejected].max())
        left = [k for at, k in enumerate(left) if at not in rejected]
        if len(left) == 1 and not fixed:
            p[left[0]] = 1.0  # the best: everything else is worse
    return Decided(p, lead, alpha)


def _regrouped(
    costs: Sequence[Floats],
    leads: Callable[[Moments], Floats],
    rng: np.random.Generator,
    regroupings: int,
) -> tuple[Floats, Floats]:
    """The leads (groups) of the runs as they are, and (regroupings, groups) after regrouping."""
    sizes = np.array([len(group) for group in costs], float)
    values = np.concatenate(costs)
    order = np.broadcast_to(np.arange(values.size), (regroupings, values.size))
    order = np.vstack([np.arange(values.size), rng.permuted(order, axis=1)])
    joined = joint(values, order, sizes, leads)
    return joined[0], joined[1:]


def joint(
    values: Floats,
    order: "np.ndarray[tuple[int, int], np.dtype[np.int64]]",
    sizes: Floats,
    leads: Callable[[Moments], Floats],
) -> Floats:
    """The larger of the two statistics (regroupings, groups). order (regroupings, runs): which runs
    stand where, the groups one after the other.
    """
    scaled = np.log(values) if values.min() > 0 else values
    ranks = stats.rankdata(values)
    kinds = [
        leads(_moments(standard(one)[order], sizes, ranked))
        for one, ranked in ((scaled, False), (ranks, True))
    ]
    return np.asarray(np.where(np.abs(kinds[0]) >= np.abs(kinds[1]), *kinds))


def _moments(values: Floats, sizes: Floats, ranked: bool) -> Moments:
    """values: (…, runs), the groups one after the other."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(int)
    mean = np.add.reduceat(values, starts, axis=-1) / sizes
    square = np.add.reduceat(values**2, starts, axis=-1) / sizes
    variance = np.maximum(square - mean**2, 0.0) / (sizes - 1)
    return Moments(mean, variance + FLOOR / sizes, sizes, ranked)


def standard(values: Floats) -> Floats:
    """With mean 0 and variance 1; zeros where all are equal."""
    spread = values.std()
    centred = values - values.mean()
    return centred / spread if spread > 0 else np.zeros_like(values)


def normal(t: Floats, freedom: Floats) -> Floats:
    """Student's t as the standard normal number with nearly the same tail (Wallace, 1959)."""
    squeezed = np.sqrt(freedom * np.log1p(t * t / freedom))
    return np.copysign(squeezed * (8 * freedom + 1) / (8 * freedom + 3), t)
