"""How often the statistics err: families of equal cells called different, intervals that miss, by
simulation over score shapes and numbers of runs.

    python scripts/operating_characteristics.py [STUDIES [PART …]] > results/bench/statistics.md

2,000 studies an entry take half an hour (parts: families, coverage, power, judge);
`tests/test_error_rates.py` does the same with few. Costs are drawn, less is better; inf is a
diverged run.
"""

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special, stats

from rnnbench.claims.kinds.sooner import hazard_ratio
from rnnbench.claims.kinds.trend import kendall
from rnnbench.stats import families, ranks, sequential, survival
from rnnbench.stats.families import ALPHA
from rnnbench.stats.statistics import Floats, beyond, charged, costs, holm, median

RUNS = (5, 10, 20)
CELLS = 10
MOST = 40  # seeds of each cell that `rnnbench judge` may use


def bimodal(solved: float) -> Callable[[np.random.Generator, int, int], Floats]:
    def draw(rng: np.random.Generator, cells: int, n: int) -> Floats:
        height = np.where(rng.random((cells, n)) < solved, 0.0, 1.0)
        return height + 0.1 * rng.random((cells, n))

    return draw


def normal(rng: np.random.Generator, cells: int, n: int) -> Floats:
    return rng.normal(size=(cells, n))


def lognormal(rng: np.random.Generator, cells: int, n: int) -> Floats:
    return rng.lognormal(size=(cells, n))


def unequal(rng: np.random.Generator, cells: int, n: int) -> Floats:
    """The baseline, which is the first, has a quarter of the spread of the last."""
    return rng.normal(size=(cells, n)) * np.geomspace(1, 4, cells)[:, None]


def plateau(rng: np.random.Generator, cells: int, n: int) -> Floats:
    """Most runs on one value, the others rounded."""
    return np.maximum(np.round(rng.normal(size=(cells, n)), 1), 0.3)


def diverging(rng: np.random.Generator, cells: int, n: int) -> Floats:
    return np.where(rng.random((cells, n)) < 0.15, np.inf, rng.normal(size=(cells, n)))


def heavy(rng: np.random.Generator, cells: int, n: int) -> Floats:
    return rng.standard_t(2, size=(cells, n))


SHAPES = {  # name → how costs (cells, n) are drawn, and the median of a cell
    "normal": (normal, 0.0),
    "lognormal": (lognormal, 1.0),
    "bimodal, 50 % solved": (bimodal(0.5), 0.5),
    "bimodal, 15 % solved": (bimodal(0.15), 1 + 0.1 * 0.35 / 0.85),
    "unequal spread, 1 to 4": (unequal, 0.0),
    "plateau": (plateau, 0.3),
    "15 % diverged": (diverging, float(special.ndtri(0.5 / 0.85))),
    "t with 2 degrees": (heavy, 0.0),
}


def drawn(shape: str, rng: np.random.Generator, cells: int, n: int) -> list[Floats]:
    """Costs of equal cells, diverged runs charged as the report does."""
    values = SHAPES[shape][0](rng, cells, n)
    worst = beyond(-math.inf, values.ravel())
    return [charged(one, "min", worst) for one in values]


def erring(shape: str, n: int, studies: int, regroupings: int = 99, seed: int = 0) -> Floats:
    """Of families of equal cells, the share in which anything is decided: with the baseline, with
    the best, of a claim with one pair.
    """
    rng = np.random.default_rng([seed, n, len(shape)])
    wrong = np.zeros(3)
    for _ in range(studies):
        cells = drawn(shape, rng, CELLS, n)
        ends = cells[0], cells[-1]
        wrong += [
            (families.with_baseline(cells, rng, regroupings).p <= ALPHA).any(),
            (families.with_best(cells, rng, regroupings).p <= ALPHA).any(),
            families.pair(*ends, rng, regroupings).p[0] <= ALPHA,
        ]
    return wrong / studies


def equalled(shape: str, n: int, studies: int, seed: int = 0) -> Floats:
    """The share of families in which a cell that is worse than the best by the margin is called
    equal to it; and of pairs at the margin, in which they are said to differ by more.
    """
    rng = np.random.default_rng([seed, n, len(shape), 1])
    margin, wrong = 3.0, np.zeros(2)
    for _ in range(studies):
        first, *others = drawn(shape, rng, CELLS, n)
        others = [one + margin for one in others]
        found = holm([ranks.inside(one, first, -margin, margin) for one in others])
        wrong += [
            (found <= ALPHA).any(),
            ranks.outside(others[-1], first, -margin, margin) <= ALPHA,
        ]
    return wrong / studies


def covering(shape: str, n: int, studies: int, seed: int = 0) -> Floats:
    """The share of intervals that hold the truth, of two equal cells: median, share of pairs won,
    shift, share solved.
    """
    rng = np.random.default_rng([seed, n, len(shape), 2])
    truth, held = SHAPES[shape][1], np.zeros(4)
    solves = stats.norm.cdf(0) if "bimodal" not in shape else float(shape.split()[1]) / 100
    for _ in range(studies):
        values = SHAPES[shape][0](rng, 2, n)
        x, y = values
        worst = beyond(-math.inf, values.ravel())
        middle = median(costs(y, "min"), "min")
        won = ranks.improvement(x, y, "min")
        shift = ranks.shift(charged(x, "min", worst), charged(y, "min", worst))
        flags = rng.random((2, n)) < solves
        share = survival.share(flags[0])
        rng.integers(1, 100, (2, n))  # unused: the draws of the committed table
        held += [
            middle.low <= truth <= middle.high,
            won.low <= 0.5 <= won.high,
            shift.low <= 0 <= shift.high,
            share.low <= solves <= share.high,
        ]
    return held / studies


def covering_apart(case: str, n: int, studies: int, seed: int = 0) -> Floats:
    """The same of what compares runs that solve: difference of shares solved, hazard ratio, median
    time to target. case: shares of runs that solve, and how much faster the first does.
    """
    (p, q), ratio = APART[case]
    rng = np.random.default_rng([seed, n, len(case), 7])
    held = np.zeros(3)
    budget, truth = 60, math.ceil(30 * math.log(2))
    timed = 0  # studies in which half of the runs solve
    for _ in range(studies):
        gap = survival.shares(rng.random(n) < p, rng.random(n) < q)
        x, y = np.ceil(30 * rng.exponential(size=(2, n)) / np.array([[ratio], [1.0]]))
        x, y = (np.where(one > budget, np.nan, one) for one in (x, y))
        low, high = hazard_ratio(x, budget, y, budget).interval()
        time = survival.time_to_target(y, budget)
        known = not math.isnan(time.median)
        timed += known
        held += [
            gap.low - 1e-9 <= p - q <= gap.high + 1e-9,
            math.isnan(low) or low <= math.log(ratio) <= high,
            known and time.low <= truth <= time.high,
        ]
    return held / [studies, studies, timed]


def covering_effects(case: str, n: int, studies: int, seed: int = 0) -> Floats:
    """The same of effects in claims, of cells that are apart by EFFECTS of standard deviations of
    normal scores: by how much the probability to win is higher in the first pair than in the
    second, Kendall's tau of four groups in a row.
    """
    first, second, step = EFFECTS[case]
    rng = np.random.default_rng([seed, n, len(case), 8])
    held, groups = np.zeros(2), 4
    gained = special.ndtr(first / math.sqrt(2)) - special.ndtr(second / math.sqrt(2))
    ahead = [2 * special.ndtr(step * k / math.sqrt(2)) - 1 for k in range(1, groups)]
    pairs = math.comb(groups * n, 2)
    untied = math.sqrt(pairs * (pairs - groups * math.comb(n, 2)))
    tau = n * n * sum((groups - k) * one for k, one in enumerate(ahead, 1)) / untied
    for _ in range(studies):
        a, b, c, d = rng.normal(size=(4, n))
        won = ranks.improvement(a - first, b, "min"), ranks.improvement(c - second, d, "min")
        gain = ranks.gain(*won)
        low, high = kendall(
            [one - k * step for k, one in enumerate((a, b, c, d))], "min"
        ).interval()
        held += [gain.low <= gained <= gain.high, low <= math.atanh(tau) <= high]
    return held / studies


EFFECTS = {  # name → advantage of x here, and there; step from group to group
    "none": (0, 0, 0),
    "one here, half a step": (1, 0, 0.5),
    "two here, one there, a step": (2, 1, 1),
    "four here, two steps": (4, 0, 2),
}
APART = {  # name → shares of runs of both that solve, ratio of hazards
    "equal": ((0.5, 0.5), 1.0),
    "5 against 50 %, twice as fast": ((0.05, 0.5), 2.0),
    "5 against 95 %, three times": ((0.05, 0.95), 3.0),
    "15 against 90 %, six times": ((0.15, 0.9), 6.0),
}


def finding(n: int, cells: int, studies: int, regroupings: int = 499, seed: int = 0) -> float:
    """How often a cell that is worse than the baseline by what is `detectable` is found worse."""
    rng = np.random.default_rng([seed, n, cells, 3])
    alpha = families.with_baseline(drawn("normal", rng, cells, n), rng).alpha
    size = families.detectable(n, n, (cells - 2) * n, alpha)
    found = 0
    for _ in range(studies):
        members = drawn("normal", rng, cells, n)
        members[-1] = members[-1] + size
        found += families.with_baseline(members, rng, regroupings).p[-1] <= ALPHA
    return found / studies


def solving(studies: int, seed: int = 0) -> float:
    """How often 10 of 10 solved are told from 5 of 10 whose solved runs are as good."""
    rng = np.random.default_rng([seed, 4])
    found = 0
    for _ in range(studies):
        x = rng.lognormal(-7, 0.4, 10)
        y = np.concatenate([rng.lognormal(-7, 0.4, 5), rng.lognormal(-3, 0.3, 5)])
        found += families.pair(x, y, rng, 999).p[0] <= ALPHA
    return found / studies


def judging(shape: str, studies: int, gap: float = 0.0, seed: int = 0) -> Floats:
    """Of studies by `rnnbench judge`, two cells that are equal but for a gap in the first one's
    costs, MOST seeds, and a margin of 1: the shares called better, worse and equivalent, the share
    of last intervals that hold the gap, seeds of each cell used on average.
    """
    rng = np.random.default_rng([seed, len(shape), 5])
    held = np.zeros(5)
    for _ in range(studies):
        values = SHAPES[shape][0](rng, CELLS, MOST)
        last = sequential.judged(values[0] + gap, values[-1], 1.0, rng, regroupings=199)[-1]
        held += [
            *(last.verdict == verdict for verdict in sequential.DECIDED),
            last.shift.low <= gap <= last.shift.high,
            last.n,
        ]
    return held / studies


def always(rng: np.random.Generator, n: int) -> Floats:
    return rng.lognormal(-7, 0.4, n)


def every_other(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.5, always(rng, n), rng.lognormal(-3, 0.3, n))


def moved(by: float) -> Callable[[np.random.Generator, int], Floats]:
    return lambda rng, n: rng.normal(by, 1, n)


AHEAD = {  # name → how costs of the better cell and of the other are drawn
    "half a standard deviation": (moved(0), moved(0.5)),
    "one standard deviation": (moved(0), moved(1)),
    "two standard deviations": (moved(0), moved(2)),
    "solves always, the other every other time": (always, every_other),
}


def winning(pair: str, studies: int, most: int = MOST, seed: int = 0) -> Floats:
    """Of studies by `rnnbench judge` in which the first cell is better: the shares called better,
    and confirmed by as many fresh seeds; called worse; seeds used of each before confirming.
    """
    rng = np.random.default_rng([seed, len(pair), 6])
    x, y = AHEAD[pair]
    found = np.zeros(4)
    for _ in range(studies):
        last = sequential.judged(x(rng, most), y(rng, most), math.nan, rng, regroupings=199)[-1]
        better = last.verdict == sequential.BETTER
        fresh = (x(rng, last.n), y(rng, last.n))
        confirmed = better and sequential.confirms(*fresh, rng, regroupings=199) <= ALPHA
        found += [better, confirmed, last.verdict == sequential.WORSE, last.n]
    return found / studies


def table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    print(f"\n## {title}\n\n| {' | '.join(heads)} |")
    print(f"| --- | {' | '.join('---:' for _ in heads[1:])} |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def triple(rates: Callable[[str, int, int], Floats], shape: str, studies: int) -> list[str]:
    """Each rate for all numbers of runs."""
    found = np.array([rates(shape, n, studies) for n in RUNS])
    return [" / ".join(f"{value:.3f}" for value in column) for column in found.T]


def families_part(studies: int) -> None:
    rows = [
        [shape, *triple(erring, shape, studies), *triple(equalled, shape, studies)]
        for shape in SHAPES
    ]
    heads = ["scores", "with the baseline", "with the best", "a pair", "≈", "beyond the margin"]
    table(f"Errors of families of {CELLS} cells (at most 0.06)", heads, rows)


def coverage_part(studies: int) -> None:
    rows = [[shape, *triple(covering, shape, studies)] for shape in SHAPES]
    heads = ["scores", "median", "wins", "shift", "share"]
    table("Coverage of intervals, equal cells (at least 0.93)", heads, rows)
    print(
        "\nA median of 5 runs lies between the least and the greatest in 15 of 16 studies, 0.9375, "
        "whatever the scores."
    )
    rows = [[case, *triple(covering_apart, case, studies)] for case in APART]
    heads = ["solved, and how soon", "difference of shares", "hazard ratio", "median time"]
    table("Coverage of intervals about solving (at least 0.93)", heads, rows)
    rows = [[case, *triple(covering_effects, case, studies)] for case in EFFECTS]
    heads = ["advantage, in standard deviations", "difference of wins", "Kendall's tau"]
    table("Coverage of intervals of effects in claims (at least 0.93)", heads, rows)


def power_part(studies: int) -> None:
    rows = [
        [f"{cells} cells", " / ".join(f"{finding(n, cells, studies):.3f}" for n in RUNS)]
        for cells in (2, 6, 10)
    ]
    table("Detectable differences that were detected (0.78 to 0.82)", ["family", "share"], rows)
    print(f"\n10 of 10 solved against 5 of 10 as good: decided in {solving(studies):.1%}.")


def judge_part(studies: int) -> None:
    rows = []
    for shape in SHAPES:
        better, worse, equal, held, seeds = judging(shape, studies)
        apart = judging(shape, studies, gap=1.0)
        numbers = [better + worse, equal, held, apart[2], apart[1], apart[3]]
        rows.append([shape, *(f"{value:.3f}" for value in numbers), f"{seeds:.0f}, {apart[4]:.0f}"])
    heads = ["scores", "equal: decided", "equivalent", "interval"]
    heads += ["1 worse: equivalent", "worse", "interval", "seeds"]
    table(
        f"`rnnbench judge`, up to {MOST} seeds of each, margin 1: errors (decided where equal, "
        f"equivalent at the margin: at most 0.05) and coverage",
        heads,
        rows,
    )
    rows = []
    for pair in AHEAD:
        *shares, seeds = winning(pair, studies)
        rows.append([pair, *(f"{value:.3f}" for value in shares), f"{seeds:.0f}"])
    heads = ["ahead by", "better", "confirmed", "worse", "seeds"]
    table("`rnnbench judge`: what it finds", heads, rows)


PARTS = {
    "families": families_part,
    "coverage": coverage_part,
    "power": power_part,
    "judge": judge_part,
}


def main(studies: int, parts: Sequence[str]) -> None:
    if tuple(parts) == tuple(PARTS):
        print("# Operating characteristics")
        print(
            f"\nBy `scripts/operating_characteristics.py`, {studies:,} simulated studies an entry; "
            f"three numbers are for {', '.join(map(str, RUNS))} runs a cell."
        )
    for part in parts:
        PARTS[part](studies)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2:] or tuple(PARTS))
