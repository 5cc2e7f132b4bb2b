"""Two cells compared while seeds are still being added: a group-sequential test.

After 5, 8, 12, 18, 27 … seeds of each cell one looks whether the answer is there. Looking often
finds differences that are none, so every look spends a part of the error: up to n seeds `spent`
allows ALPHA n / (n + HALF), whatever the budget is, which may therefore be raised later (Lan and
DeMets, 1983, with a spending function that is never used up).

Better or worse: the statistic of `families`, by regrouping the runs of each step from look to look
between the cells; what the regroupings reach at all looks so far says how far the runs themselves
may go. So the error holds whatever the scores look like. Where equal cells differ in spread that is
not enough at few seeds: the boundary for normal scores (`boundary`) must be passed as well, with
Bonferroni's bound for the two statistics.

Equivalent: two one-sided tests by ranks (Schuirmann, 1987; Wellek, 2010), each by the same rule.
The interval is the repeated confidence interval of Jennison and Turnbull (1989), which holds at all
looks at once, so also at the one where one stopped.

Costs go in, less is better, seed by seed, inf for a run that diverged. No records, no files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from rnnbench.stats import ranks
from rnnbench.stats.families import ALPHA, REGROUPINGS, SAME, Moments, joint, pair
from rnnbench.stats.statistics import FEWEST, Estimate, Floats, beyond, charged

GROWTH = 1.5  # from look to look
HALF = 10  # seeds after which half of the error is spent
CARE = 0.75  # part of the error that the normal boundary is given: Welch's t is not quite normal
COPIES = 999  # pairs of copies of a cell, see `noise`
NODES, FAR = 200, 40.0  # of the integration; beyond any critical value
Places = NDArray[np.int64]
DECIDED = BETTER, WORSE, EQUIVALENT = "better", "worse", "equivalent"
UNDECIDED = "undecided"


@dataclass(frozen=True)
class Look:
    """What the first n seeds of each cell say of x against y.

    lead: of x, in standard normal units; needed: how far it must be from 0 to decide; shift: of the
    costs of x from those of y, with the interval that holds at every look; level: of that interval
    if one had looked here alone; within: whether the shift is shown to lie within the margin.
    """

    n: int
    verdict: str
    lead: float
    needed: float
    shift: Estimate
    level: float
    within: bool


def looks(most: int) -> list[int]:
    """Seeds of each cell at which one looks, up to `most`: 5, 8, 12, 18, 27, 40, 60, 90 …"""
    found, n = [], FEWEST
    while n <= most:
        found.append(n)
        n = round(n * GROWTH)
    return found


def spent(n: int, alpha: float = ALPHA) -> float:
    """The error that may be made up to n seeds of each cell."""
    return alpha * n / (n + HALF)


def boundary(sizes: Sequence[float], errors: Sequence[float]) -> Floats:
    """The critical values (looks) of a standardised sum of normal numbers that is looked at after
    so many of them and has, by chance, gone beyond one up to look k with probability errors[k]: by
    recursive integration (Armitage, McPherson and Rowe, 1969).
    """
    points, weights = np.polynomial.legendre.leggauss(NODES)
    found: list[float] = []
    at, mass = np.zeros(1), np.ones(1)  # where the sum may be while nothing is decided
    before = spent_before = 0.0
    for n, error in zip(sizes, errors, strict=True):
        step = math.sqrt(n - before)
        sum_ = _Sum(at, mass, math.sqrt(n), step, error - spent_before)
        found.append(float(optimize.brentq(sum_.excess, 0.0, FAR)))
        reach = found[-1] * math.sqrt(n)
        grid = reach * points
        density = stats.norm.pdf((grid[:, None] - at) / step) / step
        at, mass = grid, (density * mass).sum(1) * weights * reach
        before, spent_before = n, error
    return np.array(found)


class _Sum(NamedTuple):
    """A sum that is now at places `at` with probabilities `mass`, and moves on by `step`. scale: of
    the standardised sum afterwards; error: that may be made now.
    """

    at: Floats
    mass: Floats
    scale: float
    step: float
    error: float

    def excess(self, value: float) -> float:
        """What crossing this critical value has in probability beyond the error."""
        reach = value * self.scale
        beyond = special.ndtr((self.at - reach) / self.step)
        beyond += special.ndtr((-self.at - reach) / self.step)
        return float((self.mass * beyond).sum()) - self.error


def judged(
    x: Floats,
    y: Floats,
    margin: float,
    rng: np.random.Generator,
    limit: float = -math.inf,
    regroupings: int = REGROUPINGS,
) -> list[Look]:
    """Every look at these seeds, up to the one that decides.

    x, y: costs of the two cells by seed. margin: NaN where nothing counts as equivalent. limit:
    what a diverged run costs at least (see `statistics.beyond`).
    """
    sizes = looks(min(x.size, y.size))
    errors = [spent(n) for n in sizes]
    needed, levels = _boundaries(tuple(sizes))
    seats = _seats(sizes, rng, regroupings)
    apart, low, high = (_Spending(regroupings + 1) for _ in range(3))
    shown_low = shown_high = False
    made: list[Look] = []
    for n, error, least, level in zip(sizes, errors, needed, levels, strict=True):
        worst = beyond(limit, x[:n], y[:n])
        a, b = (charged(one[:n], "min", worst) for one in (x, y))
        order = np.concatenate([_within(seats[side], n) for side in (0, 1)], axis=1)
        lead = joint(np.concatenate([a, b]), order, np.array([n, n], float), _lead)[:, 0]
        differs, critical = apart.decides(np.abs(lead), error, float(least))
        if margin > 0:
            first = order[:, :n]
            low_sums = -stats.rankdata(np.concatenate([x[:n] - margin, y[:n]]))[first].sum(1)
            high_sums = stats.rankdata(np.concatenate([x[:n] + margin, y[:n]]))[first].sum(1)
            shown_low = shown_low or low.decides(low_sums, error)[0]
            shown_high = shown_high or high.decides(high_sums, error)[0]
        within = bool(shown_low and shown_high)
        verdict = UNDECIDED
        if differs:
            verdict = BETTER if lead[0] > 0 else WORSE
        elif within:
            verdict = EQUIVALENT
        shift = ranks.shift(a, b, float(level))
        made.append(Look(n, verdict, float(lead[0]), critical, shift, float(level), within))
        if verdict != UNDECIDED:
            break
    return made


def confirms(
    x: Floats, y: Floats, rng: np.random.Generator, regroupings: int = REGROUPINGS
) -> float:
    """One-sided p of fresh seeds, looked at once, that x is better. x, y: costs, all finite."""
    decided = pair(x, y, rng, regroupings)
    half = float(decided.p[0]) / 2
    return half if decided.lead[0] > 0 else 1 - half


def noise(y: Floats, n: int, rng: np.random.Generator, limit: float = -math.inf) -> float:
    """What the shift between two copies of a cell with n seeds each stays below in 95 % of studies:
    both are drawn from the costs of its runs, with replacement.
    """
    paid = charged(y, "min", beyond(limit, y))
    first, second = rng.choice(paid, (2, COPIES, n))
    gaps = np.median((first[:, :, None] - second[:, None, :]).reshape(COPIES, -1), axis=1)
    return float(np.quantile(np.abs(gaps), 0.95))


@lru_cache(maxsize=64)
def _boundaries(sizes: tuple[int, ...]) -> tuple[Floats, Floats]:
    """For each look: the boundary with half of CARE of the error, for either of two statistics; the
    level of an interval that with all the others holds with 1 - ALPHA.
    """
    errors = [spent(n) for n in sizes]
    whole = boundary(sizes, errors)
    return boundary(sizes, [CARE * error / 2 for error in errors]), 1 - 2 * special.ndtr(-whole)


def _seats(sizes: Sequence[int], rng: np.random.Generator, regroupings: int) -> Places:
    """(2, regroupings + 1, seeds): which run sits where in x and in y, first as they are, then
    regrouped among the runs that came with the same look. Run j of x is j, of y seeds + j.
    """
    most = sizes[-1] if sizes else 0
    plain = np.arange(2 * most).reshape(2, 1, most)
    made = np.repeat(plain, regroupings + 1, axis=1)
    start = 0
    for n in sizes:
        block = np.concatenate([made[0, 1:, start:n], made[1, 1:, start:n]], axis=1)
        drawn = rng.permuted(block, axis=1)
        made[0, 1:, start:n], made[1, 1:, start:n] = np.hsplit(drawn, 2)
        start = n
    return made


def _within(seats: Places, n: int) -> Places:
    """The seats of the first n seeds (regroupings, n), as places among n runs of x and n of y."""
    seeds = seats.shape[1]
    first = seats[:, :n]
    return np.where(first < seeds, first, first - seeds + n)


def _lead(of: Moments) -> Floats:
    return of.lead((slice(0, 1),), (slice(1, 2),))


class _Spending:
    """One test over several looks, of runs (the first) and their regroupings: of all alike, no more
    go beyond what is needed up to a look than the error spent until then allows.
    """

    def __init__(self, regroupings: int) -> None:
        self.open = np.ones(regroupings, bool)

    def decides(
        self, statistic: Floats, error: float, least: float = -math.inf
    ) -> tuple[bool, float]:
        """Whether the runs go beyond what is needed, and what that is, at least `least`."""
        gone = int((~self.open).sum())
        allowed = int(error * self.open.size + SAME) - gone
        ordered = np.sort(statistic[self.open])[::-1]
        needed = ordered[allowed] + SAME if allowed < ordered.size else -math.inf
        needed = max(float(needed), least)
        beyond = self.open & (statistic > needed)
        self.open &= ~beyond
        return bool(beyond[0]), needed
