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

from rnnbench.stats import ranks as by_rank
from rnnbench.stats import statistics, survival
from rnnbench.stats.statistics import (
    Detectable,
    detectable,
    difference,
    equivalence,
    holm,
    iqm,
    judged,
    mean,
    permutation,
)

X = np.array(
    [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4]
)
Y = np.array(
    [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.9, 25.5]
)
NAN = math.nan


def generator(seed=0):
    return np.random.default_rng(seed)


# Estimates


def test_means_by_hand():
    scores = [1.0, 2.0, 3.0, 4.0, 100.0, 5.0, 6.0, 7.0]
    assert mean(scores, generator()).value == 16
    assert iqm(scores, generator()).value == 4.5  # of 3, 4, 5, 6
    assert iqm([1.0, 2.0, 9.0], generator()).value == 4  # a quarter of three runs is none


def test_estimates_repeat_with_the_generator_and_only_then():
    for estimate in (mean, iqm):
        assert estimate(X, generator(1)) == estimate(X, generator(1)) != estimate(X, generator(2))
    assert (
        permutation(X, Y, generator(1))
        == permutation(X, Y, generator(1))
        != permutation(X, Y, generator(2))
    )


def test_estimates_scale_and_shift_with_the_scores():
    plain, scaled, moved = (
        iqm(X, generator()),
        iqm(4 * X, generator()),
        iqm(10 * X - 3, generator()),
    )
    assert (scaled.value, scaled.low, scaled.high) == (
        4 * plain.value,
        4 * plain.low,
        4 * plain.high,
    )
    assert (moved.low, moved.high) == pytest.approx(
        (10 * plain.low - 3, 10 * plain.high - 3), rel=1e-3
    )  # rounding breaks ties


@pytest.mark.parametrize(
    ("scores", "n", "excluded", "interval", "why"),
    [
        ([], 0, 0, (NAN, NAN), "no finite score"),
        ([NAN, math.inf], 0, 2, (NAN, NAN), "no finite score"),
        ([0.5], 1, 0, (NAN, NAN), "one score"),
        ([0.5] * 6 + [NAN], 6, 1, (0.5, 0.5), "all scores are equal"),
        (
            [0.0, 1, 1, 1, 1, 1, 1, 9],
            8,
            0,
            None,
            "percentile",
        ),  # leaving one out never moves the interquartile mean
        ([0.0, 1, 2, 3, 4, 5, 6, 9], 8, 0, None, ""),
    ],
)
def test_degenerate_samples_are_told(scores, n, excluded, interval, why):
    found = iqm(scores, generator())
    assert (
        (found.n, found.excluded) == (n, excluded)
        and why in found.why
        and bool(why) == bool(found.why)
    )
    if interval:
        assert np.array_equal([found.low, found.high], interval, equal_nan=True)
    else:
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("estimate", "draw", "truth", "n"),
    [
        (mean, lambda rng, n: rng.normal(size=n), 0, 10),
        (mean, lambda rng, n: rng.normal(size=n), 0, 25),
        (iqm, lambda rng, n: rng.normal(size=n), 0, 20),
        (mean, lambda rng, n: rng.lognormal(0, 0.5, n), math.exp(0.125), 40),
    ],
)
def test_bootstrap_intervals_cover(estimate, draw, truth, n, monkeypatch):
    """93 to 97 % of 95 % intervals hold the truth; 600 of them tell that to within 1.8 (two
    standard errors).
    """
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    rng = generator(5)
    found = [estimate(draw(rng, n), rng) for _ in range(600)]
    assert 0.93 - 0.018 <= np.mean([e.low <= truth <= e.high for e in found]) <= 0.97 + 0.018


# Differences


def test_welch_and_hedges_by_their_formulas():
    found = difference(X, Y)
    assert found.n == (15, 15) and found.difference == pytest.approx(X.mean() - Y.mean())
    a, b = X.var(ddof=1) / 15, Y.var(ddof=1) / 15
    dof = (a + b) ** 2 / (a**2 / 14 + b**2 / 14)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(found.difference) / math.sqrt(a + b), dof))
    reach = stats.t.ppf(0.975, dof) * math.sqrt(a + b)
    assert (found.low, found.high) == pytest.approx(
        (found.difference - reach, found.difference + reach)
    )
    d = found.difference / math.sqrt((X.var(ddof=1) + Y.var(ddof=1)) / 2)
    assert found.g == pytest.approx(d * (1 - 3 / (4 * 28 - 1)), rel=1e-3)
    assert found.g_low < found.g < found.g_high


def test_swapping_flips_signs_only():
    one, two = difference(X, Y[:9]), difference(Y[:9], X)
    assert (one.difference, one.low, one.high, one.g) == pytest.approx(
        (-two.difference, -two.high, -two.low, -two.g)
    )
    assert one.p == pytest.approx(two.p)
    there, back = by_rank.improvement(X, Y, "min"), by_rank.improvement(Y, X, "min")
    assert (there.value, there.low, there.high) == pytest.approx(
        (1 - back.value, 1 - back.high, 1 - back.low)
    )
    assert by_rank.mann_whitney(X, Y, "min").p == pytest.approx(by_rank.mann_whitney(Y, X, "min").p)
    assert permutation(X[:5], Y[:5], generator()).p == pytest.approx(
        permutation(Y[:5], X[:5], generator()).p
    )
    one, two = survival.shares(X > 20, Y > 20), survival.shares(Y > 20, X > 20)
    assert (one.difference, one.low, one.high, one.p) == pytest.approx(
        (-two.difference, -two.high, -two.low, two.p)
    )


def test_below_five_runs_nothing_is_claimed():
    few, many = X[:4], Y
    results = [
        difference(few, many),
        permutation(few, many, generator()),
        by_rank.mann_whitney(few, many, "min"),
        equivalence(few, many, 1.0),
    ]
    results += [
        survival.shares(few > 20, many > 20),
        survival.log_rank(few, 50, many, 50),
        by_rank.trend([many, few, many], "min"),
    ]
    for result in results:
        assert (
            math.isnan(result.p) and "below 5 runs a side no significance is claimed" in result.why
        ), result
    assert "n = 4 and 15" in results[0].why and results[0].low < results[0].high
    for five in (
        difference(X[:5], Y[:5]),
        permutation(X[:5], Y[:5], generator()),
        by_rank.mann_whitney(X[:5], Y[:5], "min"),
    ):
        assert 0 < five.p < 1 and not five.why


def test_diverged_runs_leave_means_and_rank_last():
    scores = judged(X, [True, False, False] + [False] * 12)
    assert math.isnan(scores[0]) and scores[1:].tolist() == X[1:].tolist()
    found = difference(scores, Y)
    assert (found.n, found.excluded) == ((14, 15), (1, 0)) and found.difference == pytest.approx(
        X[1:].mean() - Y.mean()
    )
    assert difference(np.append(X[:4], [NAN] * 9), Y).why  # too few are left
    for goal, worst in (("min", 1e9), ("max", -1e9)):
        for bad in (NAN, math.inf, -math.inf):
            with_bad, with_worst = np.append(X, bad), np.append(X, worst)
            assert by_rank.mann_whitney(with_bad, Y, goal) == by_rank.mann_whitney(
                with_worst, Y, goal
            )
            assert (
                by_rank.improvement(with_bad, Y, goal).value
                == by_rank.improvement(with_worst, Y, goal).value
            )
            assert by_rank.trend([with_bad, Y], goal) == by_rank.trend([with_worst, Y], goal)
    everyone = by_rank.improvement([NAN] * 5, [NAN] * 5, "min")
    assert everyone.value == 0.5 and "10 diverged" in everyone.why


def test_no_spread_is_no_significance():
    same, other = difference([1.0] * 5, [1.0] * 6), difference([1.0] * 5, [2.0] * 5)
    assert (same.difference, other.difference) == (0, -1)
    assert math.isnan(same.p) and math.isnan(other.p) and "no spread" in other.why
    assert (
        permutation([1.0] * 5, [1.0] * 6, generator()).p
        == by_rank.mann_whitney([1.0] * 5, [1.0] * 6, "min").p
        == 1
    )
    assert permutation([1.0] * 5, [2.0] * 5, generator()).p == pytest.approx(2 / comb(10, 5))


def test_permutations_are_counted_exactly():
    """Five against five, fully apart: 2 of 252 regroupings are as extreme."""
    assert permutation([1, 2, 3, 4, 5.5], [11, 12, 13, 14, 19], generator()).p == pytest.approx(
        2 / 252
    )
    assert permutation(X, Y, generator()).p == pytest.approx(difference(X, Y).p, abs=0.01)


def test_permutation_level_with_unequal_variances():
    """Spread ten times larger in the smaller group: a permutation of plain means would reject 25 %
    of true hypotheses.
    """
    rng = generator(3)
    p = [
        permutation(rng.normal(0, 10, 8), rng.normal(0, 1, 24), rng, resamples=199).p
        for _ in range(300)
    ]
    assert np.mean(np.array(p) <= 0.05) < 0.09


def test_equivalence_by_its_interval():
    """TOST rejects at 5 % exactly where the 90 % interval lies inside the margin."""
    rng = generator(1)
    for _ in range(50):
        x, y = rng.normal(0, 1, 8), rng.normal(0.2, 1.5, 11)
        found = equivalence(x, y, 1.2)
        assert (found.p < 0.05) == (found.low > -1.2 and found.high < 1.2)
    assert equivalence(X, X + 0.01, 3.0).p < 0.01 and equivalence(X, X + 3, 3.0).p == pytest.approx(
        0.5, abs=1e-6
    )
    with pytest.raises(ValueError, match="positive"):
        equivalence(X, Y, 0)


# Families and power


def test_holm_by_hand_and_by_statsmodels():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.array_equal(holm([0.01, NAN, 0.04]), [0.02, NAN, 0.04], equal_nan=True)
    assert (
        holm([]).size == 0 and np.isnan(holm([NAN])).all() and holm([0.9, 0.8]).tolist() == [1, 1]
    )
    p = generator().uniform(size=30) ** 3
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_false_positives_of_a_family():
    """300 studies of six cells against one baseline without any difference: the family errs in 5 %
    at most.
    """
    rng = generator(11)
    wrong = 0
    for _ in range(300):
        baseline = rng.normal(size=8)
        wrong += (holm([difference(rng.normal(size=8), baseline).p for _ in range(6)]) < 0.05).any()
    assert wrong / 300 <= 0.06 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_power_is_what_it_says():
    assert detectable([0.0, 1] * 50, [0.0, 1] * 50, 0.05).effect == pytest.approx(
        0.3981, abs=1e-3
    )  # Cohen's tables: n = 100 for 0.4
    assert (
        detectable(X, Y, 0.05).effect
        == detectable(Y, X, 0.05).effect
        < detectable(X, Y, 0.05 / 8).effect
    )
    found = detectable(X, Y, 0.05)
    assert found.difference == pytest.approx(
        found.effect * math.sqrt((X.var(ddof=1) + Y.var(ddof=1)) / 2)
    )
    assert np.isnan(
        [v for v in vars(detectable([1.0], Y, 0.05)).values() if isinstance(v, float)][:2]
    ).all()
    rng = generator(2)
    draws = rng.normal(size=(2, 1000, 10))
    needed = detectable(draws[0, 0], draws[1, 0], 0.05 / 8).effect
    p = stats.ttest_ind(draws[0] + needed, draws[1], axis=1, equal_var=False).pvalue
    assert np.mean(p < 0.05 / 8) == pytest.approx(0.8, abs=0.05)
    assert isinstance(found, Detectable) and found.alpha == 0.05 and found.power == 0.8


# Order alone


def test_mann_whitney_by_hand():
    found = by_rank.mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], "min")
    assert found.statistic == 25 and found.p == pytest.approx(2 / comb(10, 5))
    assert by_rank.mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10], "max").statistic == 0


def test_probability_of_improvement_by_hand():
    assert by_rank.probability([1, 2], [2, 3], "min") == (2 + 1 + 0.5) / 4
    assert by_rank.probability([1, 2], [2, 3], "max") == 0.5 / 4
    apart = by_rank.improvement([1.0] * 5, [2.0] * 5, "min")
    assert (apart.value, apart.high) == (
        1,
        1,
    ) and 0.5 < apart.low < 0.8  # not the [1, 1] of a bootstrap
    single = by_rank.improvement([1.0], [2.0], "min")  # one pair: Wilson's interval of 1 in 1
    assert single.low == pytest.approx(survival.share([True]).low)
    assert by_rank.improvement([], [2.0], "min").why


@pytest.mark.parametrize(("m", "n", "shift"), [(5, 5, 0), (10, 10, 1), (20, 8, 1.5)])
def test_intervals_of_improvement_and_effect_cover(m, n, shift):
    rng, truth, hits = generator(4), ndtr(shift / math.sqrt(2)), np.zeros(3)
    for _ in range(500):
        x, y = rng.normal(size=m), rng.normal(size=n) + shift
        better, apart = by_rank.improvement(x, y, "min"), difference(x, y)
        hits += [
            better.low <= truth <= better.high,
            apart.low <= -shift <= apart.high,
            apart.g_low <= -shift <= apart.g_high,
        ]
    assert (hits / 500 >= 0.93 - 0.02).all() and (hits / 500 <= 0.985).all(), hits / 500


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
    assert (
        uncorrected == pytest.approx(9.28, abs=0.01) and found.statistic > uncorrected
    )  # his 9.28 does without the correction for ties
    assert found.critical_difference == pytest.approx(
        2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3
    )  # q of his table 5; 1.25
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

    Wilson by his formula.
    """
    found = survival.shares([True] * 5, [False] * 5)
    assert found.p == pytest.approx(2 / 252) and (found.x.high, found.y.low) == (1, 0)
    eight = survival.share([True] * 8 + [False] * 2)
    z, n, p = stats.norm.ppf(0.975), 10, 0.8
    middle, reach = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z * math.sqrt(p * 0.2 / n + z * z / 4 / n**2) / (1 + z * z / n),
    )
    assert (eight.count, eight.n, eight.share) == (8, 10, 0.8) and (
        eight.low,
        eight.high,
    ) == pytest.approx((middle - reach, middle + reach))
    newcombe = survival.shares(
        [True] * 56 + [False] * 14, [True] * 48 + [False] * 32
    )  # his example (a), method 10
    assert (newcombe.low, newcombe.high) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert math.isnan(survival.share([]).share) and math.isnan(survival.shares([], [True]).p)


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
