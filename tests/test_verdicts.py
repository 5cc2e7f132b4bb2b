"""Claims judged on runs: every kind, every way it can come out, and the error rates that the
verdicts promise, by simulation.
"""

import math
import re
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.duration.survfunc import survdiff
from statsmodels.stats.power import NormalIndPower, TTestIndPower
from statsmodels.stats.proportion import proportion_effectsize

from rnnbench.claims import contest, judging
from rnnbench.claims.design import Claim, Study
from rnnbench.claims.judging import judge, together
from rnnbench.claims.kind import kinds
from rnnbench.claims.kinds import better, sooner, trend
from rnnbench.claims.selection import Side, Unanswerable, cases, matching, named, passes, side
from rnnbench.stats import families
from rnnbench.stats.power import Estimated, fisher_power, smallest, student, welch
from rnnbench.stats.statistics import holm

NAN = math.nan
SPREAD = np.array([-0.02, -0.01, 0.0, 0.0, 0.01, 0.02, -0.015, 0.015, 0.005, -0.005])


def runs(*groups, **common):
    """A frame as from `load`; a group: (settings, scores), NaN for a run that diverged, seeds in
    the order of the scores.
    """
    rows = []
    for settings, values in groups:
        for seed, value in enumerate(values):
            lost = not math.isfinite(value)
            row = {
                "study": "s",
                "task": "copy",
                "cell": "lstm",
                "seed": seed,
                "status": "diverged" if lost else "finished",
                "diverged": lost,
            }
            row |= {
                "metric": "recall",
                "goal": "max",
                "value": 0.1 if lost else value,
                "valid": 0.1 if lost else value,
            }
            # what ignorance scores, worse than any run that does not say otherwise
            row["baseline"] = 10.0 if common.get("goal") == "min" else 0.1
            row |= {
                "solved": None,
                "solved_at": NAN,
                "target": NAN,
                "train.steps": 100,
                "cell.forget_bias": None,
                "task.length": 20,
                "optim.lr": 0.01,
            }
            rows.append(row | common | settings | {"id": f"run{len(rows)}"})
    return pd.DataFrame(rows).astype({"solved": "boolean"})


def claim(kind, **fields):
    empty = {
        "says": "s",
        "source": "p",
        "published": "",
        "where": {},
        "each": {},
        "x": {"cell": "gru"},
        "y": {"cell": "lstm"},
        "groups": (),
    }
    empty |= {
        "first": {},
        "second": {},
        "metric": "value",
        "goal": None,
        "log": False,
        "margin": 0.05,
        "relative": None,
        "range": None,
        "key": None,
    }
    return Claim(
        **(empty | {"id": "C", "kind": kind, "all": False, "holds": "all", "differs": ""} | fields)
    )


def study(*claims):
    return Study("s", "small", "s", "Which?", (), None, (), claims)


def one(frame, kind, **fields):
    """The only case of the only claim."""
    (judged,) = judge(frame, study(claim(kind, **fields)))
    (case,) = judged.cases
    assert judged.verdict == case.verdict and judged.sentence == case.sentence
    return case


def pair(x, y, **common):
    return runs(({"cell": "gru"}, x), ({"cell": "lstm"}, y), **common)


# Which runs


def test_filters():
    frame = runs(
        ({"cell": "gru", "cell.forget_bias": 1.0}, [0.1, 0.2]),
        ({}, [0.3]),
        ({"task.length": 50, "status": "failed"}, [0.4]),
    )
    assert list(matching(frame, {"cell.forget_bias": 1})["value"]) == [0.1, 0.2]
    assert list(matching(frame, {"cell.forget_bias": None})["value"]) == [0.3]
    assert list(matching(frame, {"cell": ["gru", "lstm"]}, {"seed": {"max": 0}})["value"]) == [
        0.1,
        0.3,
    ]
    with pytest.raises(Unanswerable, match=r"no column cell.forgetbias in these runs"):
        matching(frame, {"cell.forgetbias": 1})
    with pytest.raises(Unanswerable, match=r"no run has task.length=50 and cell=lstm"):
        matching(frame, {"task.length": 50}, {"cell": "lstm"})


@pytest.mark.parametrize(
    ("value", "wanted", "answer"),
    [
        (1.0, 1, True),
        (None, None, True),
        (NAN, None, True),
        (0.0, None, False),
        (NAN, 1, False),
        ("chrono", ["glorot", "chrono"], True),
        (NAN, [None, 0], True),
        (0.0, [None, 0], True),
        (1.0, [None, 0], False),
        (5, {"min": 5, "max": 5}, True),
        (5, {"min": 6}, False),
        (None, {"min": 0}, False),
        ("a", {"min": 0}, False),
        ((1, 2), [1, 2], True),
    ],
)
def test_a_filter_passes(value, wanted, answer):
    assert passes(value, wanted) is answer


def test_diverged_runs_decide_a_comparison_as_the_worst():
    """Seven of ten diverged beside ten that did not; and no finite score of theirs enters."""
    low = {"metric": "nll", "goal": "min", "baseline": 4.0}
    lost = np.array([NAN] * 7 + [2.0, 2.1, 2.2])
    frame = runs(({"cell": "gru"}, 3.0 + SPREAD), ({"cell": "lstm"}, lost), **low)
    case = one(frame, "better", margin=0.05)
    assert case.verdict == "reproduced" and case.answer.effect < 0
    frame.loc[frame["diverged"], "value"] = 1e9
    assert one(frame, "better", margin=0.05).answer.effect == case.answer.effect


def test_cases_are_all_combinations():
    assert cases({}) == [{}]
    made = cases({"task": ["adding", "copy"], "task.length": (20, 50)})
    assert [named(case) for case in made] == [
        "adding length=20",
        "adding length=50",
        "copy length=20",
        "copy length=50",
    ]


def test_of_filters_on_one_column_the_last_counts():
    """As claims need it that put each of several cells beside the same one."""
    frame = runs(
        *[
            ({"cell": cell}, 0.5 + shift + SPREAD)
            for cell, shift in (("gru", 0.2), ("mgu", -0.2), ("lstm", 0))
        ]
    )
    (judged,) = judge(
        frame, study(claim("better", each={"cell": ("gru", "mgu")}, x={}, holds="any"))
    )
    assert [case.verdict for case in judged.cases] == [
        "reproduced",
        "contradicted",
    ] and judged.verdict == "reproduced"
    assert (
        "gru is better than lstm" in judged.cases[0].sentence
        and "mgu is worse than lstm" in judged.cases[1].sentence
    )


def test_validation_chooses_the_setting():
    frame = runs(*[({"optim.lr": rate}, rate + SPREAD) for rate in (0.1, 0.3, 0.2)])
    assert set(side(frame, {"cell": "lstm"}).runs["optim.lr"]) == {0.3}
    assert len(side(frame, {"cell": "lstm"}, every=True).runs) == 30


def test_tasks_of_several_lengths_are_not_one_sample():
    frame = runs(({"task.length": 20}, SPREAD), ({"task.length": 50}, SPREAD))
    with pytest.raises(Unanswerable, match=r"leaves task.length 20 or 50 open"):
        side(frame, {"cell": "lstm"})


# Each kind, each way it can come out


@pytest.mark.parametrize(
    ("gain", "spread", "verdict", "words"),
    [
        (
            0.2,
            1,
            "reproduced",
            "gru is better than lstm: recall 0.7 against 0.5, difference 0.2 [0.185, 0.215], "
            "corrected p < 0.001.",
        ),
        (-0.2, 1, "contradicted", "gru is worse than lstm"),
        (0.0, 1, "contradicted", "gru and lstm differ by less than 0.05"),
        (0.0, 30, "not resolved", "gru and lstm are not told apart"),
    ],
)
def test_better(gain, spread, verdict, words):
    x, y = 0.5 + gain + spread * SPREAD, 0.5 + spread * SPREAD
    case = one(pair(x, y), "better")
    assert case.verdict == verdict and words in case.sentence
    exact = stats.permutation_test(
        (x, y), lambda a, b: round(abs(a.mean() - b.mean()), 9), rng=0, alternative="greater"
    )
    assert case.p == pytest.approx(exact.pvalue, abs=0.02)
    assert case.answer.n == (10, 10)
    turned = one(pair(y, x, goal="min"), "better")
    assert (turned.verdict, turned.p) == (verdict, pytest.approx(case.p, abs=0.01))


def test_better_where_a_run_diverged():
    x, y = [0.9 + s for s in SPREAD], [*(0.5 + SPREAD[:8]), NAN, NAN]
    case = one(pair(x, y), "better")
    assert case.verdict == "reproduced"
    assert "diverged, counted as the worst: 2 of lstm" in case.sentence
    assert one(pair([NAN] * 10, y), "better").verdict == "contradicted"
    assert one(pair(y, y), "better", margin=0.01).verdict == "not resolved"
    share = one(pair(y, [NAN] * 10), "equal", margin="5%")
    assert share.verdict == "not resolved" and "half of lstm diverged" in share.sentence


def test_better_without_any_spread():
    assert one(pair([1.0] * 10, [0.5] * 10), "better").verdict == "reproduced"
    same = one(pair([1.0] * 10, [1.0] * 10), "better")
    assert same.verdict == "contradicted" and "differ by less than 0.05" in same.sentence


def test_a_margin_may_be_a_share_and_scores_may_be_logarithms():
    x, y = 10 ** (-2 + SPREAD), 10 ** (-1 + SPREAD)
    case = one(pair(x, y, goal="min"), "better", log=True, margin=0.3)
    assert case.answer.effect == pytest.approx(-1) and case.verdict == "reproduced"
    assert "log10 recall" in case.sentence and case.answer.scaled[0] == pytest.approx(1 / 0.3)
    assert one(pair(x, y), "equal", margin="5%").answer.scaled[0] == pytest.approx(
        np.median(x[:, None] - y) / (0.05 * np.median(y))
    )
    assert one(pair(x, y), "equal", margin="25%", log=True).answer.scaled[0] == pytest.approx(
        -1 / math.log10(1.25)
    )
    assert "has no logarithm" in one(pair(x - 0.01, y), "better", log=True).sentence


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"),
    [
        (0.0, 1, "reproduced"),
        (0.1, 1, "contradicted"),
        (-0.1, 1, "contradicted"),
        (0.05, 1, "not resolved"),
    ],
)
def test_equal(gain, spread, verdict):
    x, y = 0.5 + gain + spread * SPREAD, 0.5 + spread * SPREAD
    case = one(pair(x, y), "equal")
    assert case.verdict == verdict
    sides = (
        stats.mannwhitneyu(*both, alternative="less").pvalue
        for both in ((x, y + 0.05), (y - 0.05, x))
    )
    assert case.p == pytest.approx(max(sides))


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [(0.0, "reproduced"), (-0.5, "reproduced"), (0.05, "not resolved"), (0.1, "contradicted")],
)
def test_no_better(gain, verdict):
    x, y = 0.5 + gain + SPREAD, 0.5 + SPREAD
    case = one(pair(x, y), "no_better")
    assert case.verdict == verdict
    rounded = stats.mannwhitneyu((x - 0.05).round(9), y.round(9), alternative="less").pvalue
    assert case.p == pytest.approx(rounded, abs=0.07)  # x - 0.05 ties with y but for rounding
    assert one(pair(-x, -y, goal="min"), "no_better").verdict == verdict


@pytest.mark.parametrize(
    ("x", "y", "verdict"),
    [
        (10, 1, "reproduced"),
        (0, 9, "contradicted"),
        (6, 4, "not resolved"),
        (150, 150, "contradicted"),
        (0, 0, "not resolved"),
    ],
)
def test_share(x, y, verdict):
    n = 10 if max(x, y) <= 10 else 300
    frame = runs(({"cell": "gru"}, np.zeros(n)), ({"cell": "lstm"}, np.zeros(n)))
    frame["solved"] = pd.array([k < x for k in range(n)] + [k < y for k in range(n)], "boolean")
    case = one(frame, "share", metric="solved", margin=0.15)
    assert case.verdict == verdict
    assert case.p == pytest.approx(stats.fisher_exact([[x, n - x], [y, n - y]]).pvalue)
    assert f"{x} of {n} against {y} of {n}" in case.sentence


def test_share_of_all_runs_or_of_the_chosen_setting():
    frame = runs(
        *[
            ({"cell": cell, "optim.lr": rate}, [0.5 - rate] * 6 if rate < 0.1 else [NAN] * 6)
            for cell in ("gru", "lstm")
            for rate in (0.01, 0.2)
        ]
    )
    assert one(frame, "share", metric="diverged", all=True).answer.n == (12, 12)
    assert one(frame, "share", metric="diverged").answer.n == (6, 6)
    assert (
        "no run of gru says whether it is solved" in one(frame, "share", metric="solved").sentence
    )


@pytest.mark.parametrize(
    ("factor", "verdict"), [(0.5, "reproduced"), (2.0, "contradicted"), (1.0, "not resolved")]
)
def test_sooner(factor, verdict):
    times = np.array([10.0, 11, 12, 13, 14, 15, 16, 17, 18, NAN])
    frame = pair(np.zeros(10), np.zeros(10))
    frame["solved_at"] = np.r_[factor * times + 0.1, times]
    case = one(frame, "sooner", margin=2.0)
    at, seen = (
        np.r_[np.nan_to_num(factor * times + 0.1, nan=100), np.nan_to_num(times, nan=100)],
        np.isfinite(np.r_[times, times]),
    )
    chi2, p = survdiff(at, seen.astype(float), np.repeat([0, 1], 10))
    assert case.verdict == verdict and case.p == pytest.approx(p)
    found = sooner.hazard_ratio(factor * times + 0.1, 100, times, 100)
    assert (found.value / found.error) ** 2 == pytest.approx(chi2)
    assert "9 of 10 solved" in case.sentence
    # Schoenfeld, 18 events
    assert case.power == pytest.approx(
        stats.norm.sf(1.959964 - math.sqrt(18 / 4) * math.log(2)), abs=1e-3
    )


def test_sooner_where_nobody_or_only_one_side_solves():
    frame = pair(np.zeros(10), np.zeros(10))
    assert "no run on either side reached the target" in one(frame, "sooner", margin=2.0).sentence
    frame.loc[:9, "solved_at"] = 50.0
    case = one(frame, "sooner", margin=2.0)
    assert case.verdict == "reproduced" and math.isfinite(case.answer.high)


@pytest.mark.parametrize(
    ("slope", "verdict"), [(0.1, "reproduced"), (-0.1, "contradicted"), (0.0, "not resolved")]
)
def test_trend(slope, verdict):
    frame = runs(
        *[({"cell.forget_bias": bias}, 0.5 + slope * bias + 2 * SPREAD) for bias in (0, 1, 2)]
    )
    case = one(
        frame, "trend", groups=tuple({"cell.forget_bias": bias} for bias in (0, 1, 2)), margin=0.2
    )
    assert case.verdict == verdict
    assert case.answer.effect == pytest.approx(
        stats.kendalltau(frame["cell.forget_bias"], frame["value"]).statistic
    )
    many = runs(
        *[
            ({"cell.forget_bias": bias}, np.random.default_rng(bias).normal(size=200))
            for bias in (0, 1, 2)
        ]
    )
    assert (
        one(
            many,
            "trend",
            groups=tuple({"cell.forget_bias": bias} for bias in (0, 1, 2)),
            margin=0.2,
        ).verdict
        == "contradicted"
    )


@pytest.mark.parametrize(
    ("gain", "verdict"), [(1.0, "reproduced"), (-1.0, "contradicted"), (0.0, "not resolved")]
)
def test_interaction(gain, verdict):
    """Two standard deviations here and nothing there: in pairs won, by counting."""
    n = 20
    base = stats.norm.ppf((np.arange(n) + 0.5) / n)
    parts = [
        ({"task": task, "cell": cell}, base + shift)
        for task, cell, shift in [
            ("xml", "gru", max(gain, 0) * 2),
            ("xml", "lstm", 0),
            ("jsb", "gru", max(-gain, 0) * 2),
            ("jsb", "lstm", 0),
        ]
    ]
    case = one(
        runs(*parts), "interaction", first={"task": "xml"}, second={"task": "jsb"}, margin=0.2
    )
    assert case.verdict == verdict
    won = sum(x > y for x in base + 2 for y in base) / n**2
    assert case.answer.effect == pytest.approx(gain * (won - 0.5))
    assert case.answer.n == (n, n, n, n)


@pytest.mark.parametrize(
    ("centre", "verdict"), [(0.97, "reproduced"), (0.5, "contradicted"), (0.95, "not resolved")]
)
def test_within(centre, verdict):
    frame = runs(({}, 2 * (centre + SPREAD)), baseline=2.0)
    case = one(frame, "within", x={"cell": "lstm"}, range=(0.95, 1.0), relative="baseline")
    assert case.verdict == verdict
    between = np.sort(centre + SPREAD)[[1, -2]]
    assert (case.answer.low, case.answer.high) == pytest.approx(tuple(between))
    inside = ((centre + SPREAD > 0.95).sum(), (centre + SPREAD < 1.0).sum())
    assert case.p == pytest.approx(
        max(stats.binomtest(k, 10, alternative="greater").pvalue for k in map(int, inside))
    )
    assert "recall / baseline" in case.sentence


def searched(effect_of_width):
    rng = np.random.default_rng(0)
    rate, width = rng.uniform(size=60), rng.integers(1, 5, size=60)
    frame = runs(({}, np.zeros(60)))
    return frame.assign(
        **{
            "optim.lr": 10 ** (-3 * rate),
            "model.hidden": 16 * width,
            "value": rate**2 + effect_of_width * width,
        }
    )


@pytest.mark.parametrize(
    ("key", "effect", "verdict"),
    [
        ("optim.lr", 0.001, "reproduced"),
        ("optim.lr", 1.0, "contradicted"),
        ("interactions", 0.0, None),
    ],
)
def test_importance(key, effect, verdict):
    case = one(
        searched(effect),
        "importance",
        x={"cell": "lstm"},
        key=key,
        range=(0.67, 1.0),
        where={"task": "copy"},
    )
    assert verdict is None or case.verdict == verdict
    assert 0 <= case.answer.effect <= 1 and case.answer.n == (60,)
    assert case.answer.low < case.answer.effect < case.answer.high


def test_importance_that_cannot_be_told():
    frame = searched(0.1)
    assert (
        "model.layers does not vary"
        in one(frame, "importance", x={}, key="model.layers", range=(0.6, 1.0)).sentence
    )
    assert (
        "variance is attributed from 20 on"
        in one(frame[:20], "importance", x={}, key="optim.lr", range=(0.6, 1.0)).sentence
    )


# What is missing


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("better", {}),
        ("equal", {}),
        ("no_better", {}),
        ("share", {"metric": "diverged"}),
        ("sooner", {"margin": 2.0}),
        ("trend", {"groups": ({"cell": "gru"}, {"cell": "lstm"})}),
        ("interaction", {"first": {"seed": {"max": 1}}, "second": {"seed": {"min": 2}}}),
        ("within", {"range": (0.0, 1.0)}),
    ],
)
def test_too_few_runs_resolve_nothing(kind, fields):
    case = one(pair([0.9, 0.8, 0.85, 0.9], [0.1, 0.2, 0.15, 0.1]), kind, **fields)
    assert case.verdict == "not resolved" and math.isnan(case.p) and math.isnan(case.against)
    assert "below 5 runs a side no significance is claimed" in case.sentence


@pytest.mark.parametrize("kind", kinds())
def test_a_part_that_has_not_run_resolves_nothing(kind):
    fields = {
        "where": {"task": "adding"},
        "metric": "diverged",
        "range": (0, 1),
        "key": "optim.lr",
        "groups": ({}, {"cell": "gru"}),
        "first": {},
    }
    case = one(pair(SPREAD, SPREAD), kind, **fields)
    assert case.sentence.startswith("Not resolved: no run has task=adding")
    assert (
        "no column nothing"
        in one(pair(SPREAD, SPREAD), kind, **(fields | {"where": {"nothing": 1}})).sentence
    )


def test_a_claim_is_a_family_of_its_cases():
    frame = runs(
        *[
            ({"cell": cell, "task.length": length}, 0.5 + shift + SPREAD)
            for cell, shift in (("gru", 0.01), ("lstm", 0))
            for length in (20, 50)
        ]
    )
    first, second = judge(
        frame,
        study(
            claim("better", id="A", each={"task.length": (20, 50)}),
            claim("equal", id="B", where={"task.length": 20}),
        ),
    )
    assert (first.family, second.family) == (2, 1)
    for judged in (first, second):
        raw = [case.answer.p for case in judged.cases]
        assert [case.p for case in judged.cases] == pytest.approx(list(holm(raw)))
    assert first.cases[0].power == pytest.approx(first.cases[0].answer.power(0.05 / 2))
    assert first.sentence.startswith(
        f"{first.verdict.capitalize()} in 2 of 2 cases (length=20 and length=50)"
    )


R, C, N = "reproduced", "contradicted", "not resolved"


@pytest.mark.parametrize(
    ("verdicts", "all_of", "any_of"),
    [
        ([R, R], R, R),
        ([R, C], C, R),
        ([R, N], N, R),
        ([C, N], C, N),
        ([C, C], C, C),
        ([N], N, N),
        ([], N, N),
    ],
)
def test_claims_follow_from_cases(verdicts, all_of, any_of):
    assert (together(verdicts, "all"), together(verdicts, "any")) == (all_of, any_of)


# Power and errors


def test_power_is_that_of_statsmodels():
    rng = np.random.default_rng(0)
    base = stats.norm.ppf((np.arange(12) + 0.5) / 12)
    found = welch(base, base + rng.normal())
    sd = base.std(ddof=1)
    wanted = TTestIndPower().power(effect_size=0.9, nobs1=12, alpha=0.01, ratio=1.0)
    assert found.power_apart(0.9 * sd, 0.01) == pytest.approx(wanted, abs=1e-6)
    assert smallest(lambda size: found.power_apart(size, 0.01), 100) == pytest.approx(
        sd * TTestIndPower().solve_power(nobs1=12, alpha=0.01, power=0.8), rel=1e-4
    )
    assert Estimated(0.0, 0.5).power_apart(1.2, 0.05) == pytest.approx(
        NormalIndPower().power(1.2 / 0.5 / math.sqrt(10 / 2), 10, 0.05)
    )
    assert math.isnan(smallest(lambda size: 0.1, 1.0))


def test_power_of_fishers_test_is_exact():
    rng = np.random.default_rng(1)
    draws = rng.binomial(12, 0.9, 400), rng.binomial(10, 0.3, 400)
    seen = np.mean(
        [
            stats.fisher_exact([[a, 12 - a], [b, 10 - b]]).pvalue <= 0.05
            for a, b in zip(*draws, strict=True)
        ]
    )
    assert fisher_power(0.3, 0.6, (12, 10), 0.05) == pytest.approx(seen, abs=0.05)
    rough = NormalIndPower().power(proportion_effectsize(0.6, 0.5), 300, 0.05)
    assert fisher_power(0.5, 0.1, (300, 300), 0.05) == pytest.approx(rough, abs=0.06)


def simulated(monkeypatch, seed, studies, *claims, n=10, shift=0.0):
    """The verdicts of many studies whose scores are normal, those of gru shifted.

    Selecting runs, which takes the time, is left out.
    """
    rng, drawn = np.random.default_rng(seed), {}

    def side(frame, where, *filters, every=False):
        name = repr(filters)
        if name not in drawn:  # the same baseline for all cells
            drawn[name] = pd.DataFrame(
                {
                    "value": rng.normal(size=n) + shift * ("gru" in name),
                    "diverged": False,
                    "metric": "recall",
                    "baseline": NAN,
                    "id": "i",
                }
            )
        return Side(named(filters[-1]), drawn[name], "max", "seeds")

    monkeypatch.setattr(contest, "side", side)
    for gate in ("failed", "unlearnt"):
        monkeypatch.setattr(judging, gate, lambda frame, claim, case: "")
    monkeypatch.setattr(better, "pair", partial(families.pair, regroupings=199))
    found = []
    for _ in range(studies):
        drawn.clear()
        found.append(
            [case for judged in judge(pd.DataFrame(), study(*claims)) for case in judged.cases]
        )
    return found


def share_of(found, verdict):
    return np.mean([case.verdict == verdict for (case,) in found])


def test_studies_without_any_difference_are_rarely_wrong(monkeypatch):
    """Five cells against one baseline on two tasks, and nothing between them: a decided direction
    is wrong, in at most 6 % of studies.
    """
    cells = tuple(f"cell{k}" for k in range(5))
    asked = claim("better", x={}, each={"task": ("adding", "copy"), "cell": cells}, margin=0.5)
    found = simulated(monkeypatch, 3, 100, asked)
    assert np.mean([any(case.p < 0.05 for case in cases) for cases in found]) <= 0.06 + 0.04


@pytest.mark.parametrize(
    ("kind", "shift", "margin"),
    [("better", 1.5, 1.5), ("equal", 0.0, 1.5), ("no_better", 0.0, 1.2)],
)
def test_the_reported_power_is_met(monkeypatch, kind, shift, margin):
    found = simulated(monkeypatch, 4, 300, claim(kind, margin=margin), shift=shift)
    assert share_of(found, "reproduced") == pytest.approx(
        np.mean([case.power for (case,) in found]), abs=0.08
    )


@pytest.mark.parametrize("shift", [1.0, -1.0])
def test_nothing_is_decided_at_the_margin(monkeypatch, shift):
    """Neither equality nor a larger difference where the true difference is the margin: each in 5 %
    of studies, and noise.
    """
    found = simulated(monkeypatch, 5, 600, claim("equal", margin=1.0), n=20, shift=shift)
    assert share_of(found, "reproduced") <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 600)
    assert share_of(found, "contradicted") <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 600)


@pytest.mark.parametrize("slope", [0.0, 0.6])
def test_intervals_of_a_trend_cover(slope):
    """The tau of very many runs, within the intervals of a few."""
    rng = np.random.default_rng(7)

    def groups(n):
        return [rng.normal(size=n) + slope * k for k in range(3)]

    truth = math.tanh(trend.kendall(groups(3000), "max").value)
    held = []
    for _ in range(300):
        low, high = (math.tanh(bound) for bound in trend.kendall(groups(10), "max").interval())
        held.append(low <= truth <= high)
    assert np.mean(held) >= 0.93


def test_estimates_agree_with_scipy():
    x, y = 0.5 + SPREAD, 0.52 + 3 * SPREAD[:7]
    test = stats.ttest_ind(x, y, equal_var=False)
    assert welch(x, y).apart() == pytest.approx(test.pvalue)
    assert welch(x, y).interval() == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert student(x).interval() == pytest.approx(
        tuple(stats.ttest_1samp(x, 0).confidence_interval(0.95))
    )
    assert math.isnan(welch([1.0] * 5, [2.0] * 5).apart())


def test_by_the_test_of_the_paper():
    """Welch's, as SciPy has it, with ours told beside."""
    x, y = 0.55 + SPREAD, 0.5 + 4 * SPREAD
    frame = runs(({"cell": "gru"}, x), ({"cell": "lstm"}, y))
    (found,) = judge(frame, study(claim("better_by_welch", margin=0.01)))
    answer = found.cases[0].answer
    assert answer.p == pytest.approx(stats.ttest_ind(x, y, equal_var=False).pvalue)
    assert answer.agrees and answer.test == "Welch, as in the paper"
    assert re.search(r"by the permutation test p = 0\.\d\d", found.sentence)
    far = runs(({"cell": "gru"}, 9 + SPREAD), ({"cell": "lstm"}, y))
    (clear,) = judge(far, study(claim("better_by_welch", margin=0.01)))
    assert "by the permutation test p < 0.001" in clear.sentence
    (swapped,) = judge(
        frame, study(claim("better_by_welch", x={"cell": "lstm"}, y={"cell": "gru"}))
    )
    assert not swapped.cases[0].answer.agrees
    (few,) = judge(frame[frame["seed"] < 4], study(claim("better_by_welch")))
    assert math.isnan(few.cases[0].answer.p)
