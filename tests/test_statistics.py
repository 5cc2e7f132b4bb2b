"""The report's statistics: cases worked by hand, agreement with other formulas, error rates and
coverage by simulation.
"""

import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats
from scipy.special import comb, ndtr
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from rnnbench.stats import families, survival
from rnnbench.stats import ranks as by_rank
from rnnbench.stats.families import pair
from rnnbench.stats.power import welch
from rnnbench.stats.statistics import beyond, charged, costs, holm, judged, median

X = np.array(
    [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
)
Y = np.array(
    [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.9, 25.5]
)
NAN = math.nan
ENDS = ("low", "high")


def generator(seed=0):
    return np.random.default_rng(seed)


# Estimates


def test_medians_by_hand():
    """Between the second and the ninth of ten: 1 - 2 · 11 / 1024 of the time."""
    found = median(np.arange(10.0), "min")
    assert (found.value, found.low, found.high, found.n) == (4.5, 1, 8, 10)
    five = median([3.0, 1.0, 2.0, 5.0, 4.0], "max")
    assert (five.value, five.low, five.high) == (3, 1, 5)
    assert stats.binom.cdf(1, 10, 0.5) == 11 / 1024


@pytest.mark.parametrize("goal", ["min", "max"])
def test_medians_hold_diverged_runs_as_the_worst(goal):
    sign = 1 if goal == "min" else -1
    some = median([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, NAN], goal)
    assert some.value == (4 if goal == "min" else 3) and some.excluded == 1
    assert (some.high if goal == "min" else some.low) == sign * math.inf
    assert median([1.0, 2.0, NAN, NAN, NAN], goal).value == sign * math.inf


@pytest.mark.parametrize(("scores", "value"), [([], NAN), ([0.5], 0.5), ([1.0, 2, 3, 4], 2.5)])
def test_few_scores_have_no_interval(scores, value):
    found = median(scores, "min")
    assert found.why and math.isnan(found.low) and math.isnan(found.high)
    assert found.value == value or (math.isnan(value) and math.isnan(found.value))


def test_what_diverged_costs_more_than_anything_else():
    for goal, limit in (("min", 4.0), ("min", -math.inf), ("max", -0.1), ("max", -math.inf)):
        scores = np.array([0.3, NAN, 0.01, math.inf, 0.9])
        worst = beyond(limit, costs(scores, goal))
        paid = charged(scores, goal, worst)
        assert paid[1] == paid[3] == worst > np.delete(paid, [1, 3]).max()
        assert worst == limit or limit < 0
    assert beyond(-math.inf, np.array([])) == 0


# Differences


def test_welch_by_its_formula():
    found = welch(X, Y)
    assert found.value == pytest.approx(X.mean() - Y.mean())
    a, b = X.var(ddof=1) / 15, Y.var(ddof=1) / 15
    assert found.error == pytest.approx(math.sqrt(a + b))
    assert found.freedom == pytest.approx((a + b) ** 2 / (a**2 / 14 + b**2 / 14))
    assert found.apart() == pytest.approx(stats.ttest_ind(X, Y, equal_var=False).pvalue)


def test_swapping_flips_signs_only():
    there, back = by_rank.improvement(X, Y, "min"), by_rank.improvement(Y, X, "min")
    assert (there.value, there.low, there.high) == pytest.approx(
        (1 - back.value, 1 - back.high, 1 - back.low)
    )
    there, back = by_rank.shift(X, Y[:9]), by_rank.shift(Y[:9], X)
    assert (there.value, there.low, there.high) == pytest.approx(
        (-back.value, -back.high, -back.low)
    )
    assert by_rank.inside(X, Y, -3, 4) == pytest.approx(by_rank.inside(Y, X, -4, 3))
    assert by_rank.outside(X, Y, -3, 4) == pytest.approx(by_rank.outside(Y, X, -4, 3))
    one, two = pair(X, Y, generator()), pair(Y, X, generator())
    assert one.lead == pytest.approx(-two.lead) and one.p == pytest.approx(two.p, abs=0.01)
    one, two = survival.shares(X > 20, Y > 20), survival.shares(Y > 20, X > 20)
    assert (one.difference, one.low, one.high, one.p) == pytest.approx(
        (-two.difference, -two.high, -two.low, two.p)
    )


def test_below_five_runs_nothing_is_claimed():
    few, many = X[:4], Y
    assert np.isnan(pair(few, many, generator()).p).all() and math.isnan(by_rank.below(few, many))
    assert math.isnan(by_rank.inside(few, many, -1, 1)) and by_rank.shift(few, many).why
    results = [
        survival.shares(few > 20, many > 20),
        survival.log_rank(few, 50, many, 50),
        by_rank.trend([many, few, many], "min"),
    ]
    for result in results:
        assert (
            math.isnan(result.p) and "below 5 runs a side no significance is claimed" in result.why
        ), result
    assert "n = 4 and 15" in results[0].why and results[0].low < results[0].high
    assert 0 < by_rank.below(X[:5], Y[:5]) < 1
    assert 0 < pair(X[:5], Y[:5], generator()).p[0] < 1


def test_diverged_runs_rank_last():
    scores = judged(X, [True, False, False] + [False] * 12)
    assert math.isnan(scores[0]) and scores[1:].tolist() == X[1:].tolist()
    for goal, worst in (("min", 1e9), ("max", -1e9)):
        for bad in (NAN, math.inf, -math.inf):
            with_bad, with_worst = np.append(X, bad), np.append(X, worst)
            assert (
                by_rank.improvement(with_bad, Y, goal).value
                == by_rank.improvement(with_worst, Y, goal).value
            )
            assert by_rank.trend([with_bad, Y], goal) == by_rank.trend([with_worst, Y], goal)
    everyone = by_rank.improvement([NAN] * 5, [NAN] * 5, "min")
    assert everyone.value == 0.5 and "10 diverged" in everyone.why


def test_no_spread_is_no_significance():
    alike, apart = (np.ones(5), np.ones(6)), (np.ones(5), np.full(5, 2.0))
    assert pair(*alike, generator()).p[0] == by_rank.below(*alike) == 1
    assert pair(*apart, generator()).p[0] == pytest.approx(2 / comb(10, 5), abs=0.003)


def test_permutations_are_counted():
    """Five against five, fully apart: 2 of 252 regroupings are as extreme."""
    x, y = np.array([1, 2, 3, 4, 5.5]), np.array([11, 12, 13, 14, 19.0])
    found = pair(x, y, generator())
    assert found.p[0] == pytest.approx(2 / 252, abs=0.003) and found.lead[0] > 0
    assert pair(X, Y, generator()).p[0] == pytest.approx(welch(X, Y).apart(), abs=0.03)


def test_the_normal_scale_keeps_tails():
    """Wallace's approximation against SciPy's distribution of Student."""
    for freedom in (4.0, 8.0, 18.0):
        for t in (0.5, 2.0, 4.0, 6.0):
            z = families.normal(np.array(t), np.array(freedom))
            assert stats.norm.sf(z) == pytest.approx(stats.t.sf(t, freedom), rel=0.1)


def test_families_step_down():
    """Of five cells one is far behind, one a little: the second is decided because the first, once
    decided, leaves the family. Dunnett's single step would ask the same of both.
    """
    base = np.linspace(-1, 1, 8)
    cells = [base, base[::-1] + 0.1, base + 20, base + 20.5, base + 1.1]
    found = families.with_baseline(cells, generator())
    assert math.isnan(found.p[0]) and (found.p[2:4] <= 0.01).all() and (found.lead[2:4] < 0).all()
    alone = families.with_baseline([cells[0], cells[1], cells[4]], generator())
    assert found.p[4] == pytest.approx(alone.p[2], abs=0.02)
    best = families.with_best(cells, generator())
    assert (best.p[2:4] <= 0.01).all() and (best.p[:2] > 0.05).all() and (best.lead <= 0).all()


def test_families_leave_out_cells_with_few_runs():
    found = families.with_baseline([X, Y, Y[:3]], generator())
    assert np.isfinite(found.p[1]) and math.isnan(found.p[2])
    assert np.isnan(families.with_baseline([X[:3], Y], generator()).p).all()
    assert np.isnan(families.with_best([X], generator()).p).all()


# Margins


def test_rank_tests_of_margins_by_hand():
    """Five against five, all closer than the margin, or all farther: 1 of 252 orders each way."""
    x, y = np.array([0.0, 0.1, 0.2, 0.3, 0.4]), np.array([0.05, 0.15, 0.25, 0.35, 0.45])
    assert by_rank.inside(x, y, -1, 1) == pytest.approx(1 / 252)
    assert by_rank.outside(x + 5, y, -1, 1) == pytest.approx(2 / 252)
    assert by_rank.inside(x, y, -math.inf, 1) == by_rank.inside(x - 9, y, -math.inf, 1)
    assert by_rank.outside(x + 5, y, -math.inf, 1) == pytest.approx(1 / 252)
    assert by_rank.inside(x + 1.05, y, -1, 1) == pytest.approx(
        stats.mannwhitneyu(x + 1.05, y + 1, alternative="less").pvalue
    )


def test_shift_inverts_the_rank_test():
    """The interval holds the shifts that the test does not reject at the level it is given."""
    found = by_rank.shift(X[:6], Y[:7])
    assert found.value == np.median(X[:6][:, None] - Y[:7])
    tail = by_rank.ROOM * 0.025
    for moved, kept in ((found.low - 1e-6, False), (found.low + 1e-6, True)):
        p = stats.mannwhitneyu(Y[:7] + moved, X[:6], alternative="less", method="exact").pvalue
        assert bool(p > tail) is kept


# Families and power


def test_holm_by_hand_and_by_statsmodels():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.array_equal(holm([0.01, NAN, 0.04]), [0.02, NAN, 0.04], equal_nan=True)
    assert (
        holm([]).size == 0 and np.isnan(holm([NAN])).all() and holm([0.9, 0.8]).tolist() == [1, 1]
    )
    p = generator().uniform(size=30) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


# Order alone


def test_probability_of_improvement_by_hand():
    assert by_rank.probability([1, 2], [2, 3], "min") == (2 + 1 + 0.5) / 4
    assert by_rank.probability([1, 2], [2, 3], "max") == 0.5 / 4
    apart = by_rank.improvement([1.0] * 5, [2.0] * 5, "min")
    assert (apart.value, apart.high) == (
        1,
        1,
    ) and 0.5 < apart.low < 0.8  # not the [1, 1] of a bootstrap
    single = by_rank.improvement([1.0], [2.0], "min")  # one pair: Wilson's interval of 1 in 1
    alpha = by_rank.ROOM * 0.05
    assert single.low == pytest.approx(proportion_confint(1, 1, alpha, "wilson")[0])
    assert by_rank.improvement([], [2.0], "min").why


@pytest.mark.parametrize(("m", "n", "shift"), [(5, 5, 0), (10, 10, 1), (20, 8, 1.5)])
def test_intervals_of_wins_cover(m, n, shift):
    """Of the probability to win, and of how much higher it is here than where cells are equal."""
    rng, truth, hits = generator(4), ndtr(shift / math.sqrt(2)), np.zeros(2)
    for _ in range(500):
        here = by_rank.improvement(rng.normal(size=m), rng.normal(size=n) + shift, "min")
        there = by_rank.improvement(rng.normal(size=m), rng.normal(size=n), "min")
        gained = by_rank.gain(here, there)
        hits += [here.low <= truth <= here.high, gained.low <= truth - 0.5 <= gained.high]
    assert (hits / 500 >= 0.93 - 0.02).all() and (hits / 500 <= 0.995).all(), hits / 500


def test_friedman_and_critical_difference():
    """Demšar (2006), table 6: four variants of C4.5 on 14 data sets.

    A difference in voting, rounded away in print, shows in his ranks.
    """
    table = np.array(
        [
            *(
                [0.763, 0.768, 0.771, 0.798],
                [0.599, 0.591, 0.590, 0.569],
                [0.954, 0.971, 0.968, 0.967],
                [0.628, 0.661, 0.654, 0.657],
            ),
            *(
                [0.882, 0.888, 0.886, 0.898],
                [0.936, 0.931, 0.916, 0.931],
                [0.661, 0.668, 0.609, 0.685],
                [0.583, 0.583, 0.563, 0.625],
            ),
            *(
                [0.775, 0.838, 0.866, 0.875],
                [1.000, 1.000, 1.000, 1.000],
                [0.940, 0.962, 0.965, 0.962],
                [0.619, 0.666, 0.614, 0.669],
            ),
            *([0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970]),
        ]
    )
    found = by_rank.ranks(table, ["max"] * 14)
    assert found.average == pytest.approx((3.143, 2.000, 2.893, 1.964), abs=1e-3)
    uncorrected = 12 * 14 / (4 * 5) * (np.square(found.average).sum() - 4 * 5**2 / 4)
    # his 9.28 does without the correction for ties
    assert uncorrected == pytest.approx(9.28, abs=0.01) and found.statistic > uncorrected
    # q of his table 5; 1.25
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert found.p == pytest.approx(stats.friedmanchisquare(*table.T).pvalue)
    mixed = np.where((np.arange(14) % 2 == 0)[:, None], -table, table)  # goals differ by task
    assert by_rank.ranks(mixed, ["min", "max"] * 7) == found


def test_few_tasks_are_not_ranked():
    few = by_rank.ranks([[0.1, 0.2, NAN]] * 4, ["min"] * 4)
    assert (
        few.average == (1, 2, 3)
        and math.isnan(few.p)
        and math.isnan(few.critical_difference)
        and "4 tasks and 3 cells" in few.why
    )
    assert by_rank.ranks([[0.1, 0.2]] * 6, ["min"] * 6).why
    assert by_rank.ranks([[0.1, 0.1, 0.1]] * 6, ["min"] * 6).p == 1


def test_the_distribution_of_trends_counts_orders():
    """All 6!/(2! 2! 2!) ways to share six values among three groups of two, and two groups as Mann
    and Whitney have them.
    """
    counts = np.zeros(13)
    for order in permutations(range(6)):
        groups = order[:2], order[2:4], order[4:]
        counts[
            sum(b > a for i in range(3) for k in range(i) for b in groups[i] for a in groups[k])
        ] += 1
    assert by_rank.null_distribution((2, 2, 2)) == pytest.approx(counts / counts.sum())
    assert by_rank.trend([X[:6], Y[4:9] + 0.01], "max").p == pytest.approx(
        stats.mannwhitneyu(X[:6], Y[4:9] + 0.01, method="exact").pvalue
    )
    sizes = (10, 15, 20)
    chances, values = by_rank.null_distribution(sizes), np.arange(651)
    center = chances @ values
    assert chances.sum() == pytest.approx(1) and center == pytest.approx(325)
    assert chances @ (values - center) ** 2 == pytest.approx(by_rank.null_variance(sizes, [1] * 45))


@pytest.mark.parametrize("tied", [False, True])
def test_trend_agrees_with_regrouping(tied):
    rng = generator(8)
    groups = [rng.normal(0.3 * k, 1, 6) for k in range(4)]
    groups = [g.round() if tied else g for g in groups]
    pooled, rng = np.concatenate(groups), generator(1)

    def statistic(values):
        parts = np.split(values, 4)
        return sum(
            (b[:, None] > a).sum() + (b[:, None] == a).sum() / 2
            for i, b in enumerate(parts)
            for a in parts[:i]
        )

    found = by_rank.trend(groups, "max", "better")
    assert found.statistic == statistic(pooled)
    drawn = np.array([statistic(rng.permutation(pooled)) for _ in range(3000)])
    assert found.p == pytest.approx((drawn >= found.statistic).mean(), abs=0.02)
    assert by_rank.trend(groups[::-1], "max", "worse").p == pytest.approx(found.p)
    assert by_rank.trend([-g for g in groups], "min", "better").p == pytest.approx(found.p)
    assert by_rank.trend(groups, "max").p == pytest.approx(min(1, 2 * found.p))
    with pytest.raises(ValueError, match="two groups"):
        by_rank.trend(groups[:1], "max")


# Solved, and when


def test_shares_by_hand():
    """The lady tasting tea with ten cups: Fisher's p is 2 / 252 where all are right.

    Clopper and Pearson by their tails.
    """
    found = survival.shares([True] * 5, [False] * 5)
    assert found.p == pytest.approx(2 / 252) and (found.x.high, found.y.low) == (1, 0)
    eight = survival.share([True] * 8 + [False] * 2)
    assert (eight.count, eight.n, eight.share) == (8, 10, 0.8)
    assert stats.binom.sf(7, 10, eight.low) == pytest.approx(0.025)
    assert stats.binom.cdf(8, 10, eight.high) == pytest.approx(0.025)
    half = survival.shares([True] * 5 + [False] * 5, [True] * 5 + [False] * 5)
    low, high = proportion_confint(5, 10, method="beta")
    assert (half.low, half.high) == pytest.approx(
        (-math.hypot(0.5 - low, high - 0.5), math.hypot(high - 0.5, 0.5 - low))
    )
    assert math.isnan(survival.share([]).share) and math.isnan(survival.shares([], [True]).p)


@pytest.mark.parametrize("n", [5, 10])
def test_the_interval_of_a_difference_of_shares_covers_whatever_the_shares_are(n):
    """Counted over all outcomes, not simulated."""
    counts = np.arange(n + 1)
    found = [
        [survival.shares(counts[:n] < i, counts[:n] < j) for j in range(n + 1)]
        for i in range(n + 1)
    ]
    low, high = (np.array([[getattr(s, end) for s in row] for row in found]) for end in ENDS)
    for p in np.linspace(0, 1, 21):
        for q in np.linspace(0, 1, 21):
            chance = np.outer(stats.binom.pmf(counts, n, p), stats.binom.pmf(counts, n, q))
            inside = (low - 1e-9 <= p - q) & (p - q <= high + 1e-9)
            assert (chance * inside).sum() >= 0.93, (p, q)


def test_time_to_target_by_hand():
    assert survival.time_to_target([10, 20, 30, 40, 50], 100).median == 30
    never = survival.time_to_target([10, 20, NAN, NAN, NAN], 100)
    assert (
        math.isnan(never.median)
        and (never.solved, never.n) == (2, 5)
        and "fewer than half" in never.why
        and never.high == math.inf
    )
    assert survival.time_to_target([10, 20, 30, NAN, NAN], 100).median == 30
    assert survival.time_to_target(range(10, 101, 10), 100).median == 50  # half of ten
    # A run censored at 15 leaves those at risk: the survivors fall by thirds, not by quarters.
    assert survival.time_to_target([10, NAN, 20, 30], [100, 15, 100, 100]).median == 20
    assert survival.time_to_target([NAN] * 3, 100).why == "no run reached the target"
    assert vars(survival.time_to_target([7] * 5, 100)) == {
        "median": 7,
        "low": 7,
        "high": 7,
        "solved": 5,
        "n": 5,
        "why": "",
    }


def test_log_rank_by_its_formula():
    x, y = np.array([3, 5, 7, 9, NAN, 14]), np.array([4, 12, 18, NAN, NAN, NAN])
    a, b = np.where(np.isnan(x), 20, x), np.where(np.isnan(y), 20, y)
    observed = expected = variance = 0.0
    for t in sorted(set(x[x == x]) | set(y[y == y])):
        risk, risk_a, died, died_a = (
            (a >= t).sum() + (b >= t).sum(),
            (a >= t).sum(),
            (x == t).sum() + (y == t).sum(),
            (x == t).sum(),
        )
        observed, expected = observed + died_a, expected + died * risk_a / risk
        variance += died * (risk_a / risk) * (1 - risk_a / risk) * (risk - died) / max(risk - 1, 1)
    found = survival.log_rank(x, 20, y, 20)
    assert found.statistic == pytest.approx((observed - expected) ** 2 / variance)
    assert found.p == pytest.approx(stats.chi2.sf(found.statistic, 1)) and found.p == pytest.approx(
        survival.log_rank(y, 20, x, 20).p
    )
    assert survival.log_rank([5] * 5, 9, [5] * 5, 9).p == 1
    assert "no run on either side" in survival.log_rank([NAN] * 5, 9, [NAN] * 5, 9).why
