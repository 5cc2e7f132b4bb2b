"""What an estimate with a known error can show: tests against zero and against margins, and the
power that they have.

An `Estimated` is on a scale where it is normal (freedom inf) or Student's t: a difference of means,
a log hazard ratio, Fisher's z of a tau. Fisher's exact test of two shares has no such scale; its
power is summed over what could have come out. Numbers in, numbers out; α is always that after
correction.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from rnnbench.stats.statistics import usable

WANTED = 0.8  # of a test, for what it could have detected
FAR = 40.0  # errors, beyond which nothing is missed


@dataclass(frozen=True)
class Estimated:
    """value, its standard error and degrees of freedom; NaN where there is none, and then every
    test of it is NaN too. room: of the error that its interval may make, the part that this formula
    is given, less than 1 where it is known to make more.
    """

    value: float
    error: float
    freedom: float = math.inf
    room: float = 1.0

    def __neg__(self) -> "Estimated":
        return replace(self, value=-self.value)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        reach = self._critical(self.room * (1 - level) / 2) * self.error
        return self.value - reach, self.value + reach

    def scaled(self, unit: float, origin: float = 0.0) -> tuple[float, float, float]:
        """The value and its interval, as distances from an origin in some unit."""
        low, high = ((bound - origin) / unit for bound in self.interval())
        return (self.value - origin) / unit, low, high

    def apart(self) -> float:
        """Two-sided p of the value being zero."""
        return 2 * self._beyond(abs(self.value))

    def inside(self, low: float, high: float) -> float:
        """p of TOST (Schuirmann, 1987): small where the value is shown to lie between low and high;
        either may be infinite.
        """
        return max(self._beyond(self.value - low), self._beyond(high - self.value))

    def outside(self, low: float, high: float) -> float:
        """p of the value lying between low and high: small where an interval around it (two-sided,
        unless one end is infinite) is clear of them.
        """
        tails = 1 if math.isinf(low) or math.isinf(high) else 2
        return min(tails * self._beyond(max(low - self.value, self.value - high)), 1.0)

    def power_apart(self, size: float, alpha: float) -> float:
        """How probably a true value of this size is told from zero."""
        return self._above(self._critical(alpha / 2), size) + self._above(
            self._critical(alpha / 2), -size
        )

    def power_inside(self, half: float, alpha: float) -> float:
        """How probably a true value in the middle of a region of this half-width is shown to lie
        inside (Phillips, 1990).
        """
        return max(2 * self._above(self._critical(alpha), half) - 1, 0.0)

    def power_below(self, margin: float, alpha: float) -> float:
        """How probably a true value of zero is shown to lie below a margin."""
        return self._above(self._critical(alpha), margin)

    def _beyond(self, distance: float) -> float:
        """How probably an estimate is off by more than this to one side."""
        t = -distance / self.error if self.error > 0 else math.nan
        return float(
            special.ndtr(t) if math.isinf(self.freedom) else special.stdtr(self.freedom, t)
        )

    def _critical(self, tail: float) -> float:
        return -float(
            special.ndtri(tail) if math.isinf(self.freedom) else special.stdtrit(self.freedom, tail)
        )

    def _above(self, critical: float, size: float) -> float:
        """How probably the statistic exceeds its critical value when the truth is `size`: the
        noncentral t distribution.
        """
        if not self.error > 0:
            return math.nan
        shift = max(min(size / self.error, FAR), -FAR)
        return float(
            special.ndtr(shift - critical)
            if math.isinf(self.freedom)
            else stats.nct.sf(critical, self.freedom, shift)
        )


def welch(x: ArrayLike, y: ArrayLike) -> Estimated:
    """Mean of x minus mean of y with the error and the degrees of freedom of Welch (1947); finite
    scores only.
    """
    a, b = usable(x), usable(y)
    gap = float(a.mean() - b.mean()) if min(a.size, b.size) else math.nan
    if min(a.size, b.size) < 2 or np.ptp(a) == np.ptp(b) == 0:
        return Estimated(gap, math.nan, math.nan)
    u, v = a.var(ddof=1) / a.size, b.var(ddof=1) / b.size
    return Estimated(
        gap, math.sqrt(u + v), float((u + v) ** 2 / (u**2 / (a.size - 1) + v**2 / (b.size - 1)))
    )


def student(x: ArrayLike) -> Estimated:
    """The mean of the finite scores with Student's error."""
    a = usable(x)
    value = float(a.mean()) if a.size else math.nan
    if a.size < 2 or np.ptp(a) == 0:
        return Estimated(value, math.nan, math.nan)
    return Estimated(value, float(a.std(ddof=1)) / math.sqrt(a.size), a.size - 1)


def smallest(power: Callable[[float], float], most: float) -> float:
    """The size that is found with probability WANTED; NaN if not even `most` is, or nothing
    can be.
    """
    if not power(most) >= WANTED:
        return math.nan
    return float(optimize.brentq(lambda size: power(size) - WANTED, 0.0, most))


def fisher_power(share: float, gain: float, n: tuple[int, int], alpha: float) -> float:
    """How probably Fisher's two-sided test tells shares `share + gain` of n[0] runs and `share` of
    n[1] apart.
    """
    first, second = (
        stats.binom.pmf(np.arange(size + 1), size, p)
        for size, p in zip(n, (min(share + gain, 1.0), share), strict=True)
    )
    return float(first @ _rejected(*n, alpha) @ second)


@lru_cache(maxsize=64)
def _rejected(n: int, m: int, alpha: float) -> NDArray[np.float64]:
    """(n + 1, m + 1): 1 where so many of n against so many of m are significant."""
    table = np.zeros((n + 1, m + 1))
    for total in range(n + m + 1):
        count = np.arange(max(0, total - m), min(n, total) + 1)
        chance = stats.hypergeom.pmf(count, n + m, n, total)
        order = np.sort(chance)
        p = np.cumsum(order)[np.searchsorted(order, chance * (1 + 1e-7), "right") - 1]
        table[count, total - count] = p <= alpha
    return table
