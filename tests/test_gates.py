"""Gates: what keeps runs from speaking about a paper's claim, whatever their p says."""

import math

import numpy as np
import pandas as pd
import pytest
from test_verdicts import SPREAD, claim, runs, study

from rnnbench.claims import gates
from rnnbench.claims.judging import judge, together
from rnnbench.runs.frame import load
from rnnbench.runs.improvement import last_fifth, of_rows


def told(frame, **fields):
    """The only case of a claim that gru is better than lstm."""
    (judged,) = judge(frame, study(claim("better", **fields)))
    return judged.cases[0]


def apart(**common):
    return runs(({"cell": "gru"}, 0.9 + SPREAD), ({"cell": "lstm"}, 0.5 + SPREAD), **common)


@pytest.mark.parametrize(
    ("scores", "improving"),
    [
        ([5.0, 4, 3, 2, 1], True),  # the last is the best
        ([5.0, 1, 1.2, 1.1, 1.3], False),
        ([5.0, 4, 3, 3, 3], False),  # first reached before the last fifth
        ([5.0, 1, 1, 1, 0.98, 0.985], True),  # two percent in the last fifth
        ([5.0, 1, 1, 1, 1, 1, 0.995, 0.999], False),  # half a percent
        ([1.0], False),
        ([math.nan, math.nan], False),
    ],
)
def test_a_run_that_still_improves(scores, improving):
    rows = [
        {"step": 10 * k, "split": split, "mse": score, "accuracy": -score}
        for k, score in enumerate(scores, 1)
        for split in ("train", "valid")
    ]
    for metric, goal in (("mse", "min"), ("accuracy", "max")):
        assert gates.still_improving(of_rows(rows, metric, goal)) is improving


def test_the_last_fifth_by_hand():
    """Of 100 steps the last fifth begins after 80: best at 95, three quarters of it have passed."""
    found = last_fifth([40, 80, 90, 95, 100], [2.0, 1.0, 0.9, 0.8, 0.85])
    assert found == pytest.approx({"improved": 0.75, "gain": 0.2})
    assert last_fifth([40, 80, 100], [1.0, 2.0, 3.0]) == {"improved": 0.0, "gain": 0.0}
    assert last_fifth([100], [1.0]) is None


def test_records_say_who_still_improves(tmp_path):
    """Where they do, no curve is read."""
    from synthetic import make_study

    frame = load(str(make_study(tmp_path / "s", ("lstm",), ("adding",), range(4), (5e-3,))))
    frame = frame.assign(solved=False, diverged=False, folder="nowhere")
    told = frame.assign(improved=[1.0, 0.2, 0.2, 0.0], gain=[0.0, 0.5, 0.001, 0.0])
    assert gates.improving(told).tolist() == [True, True, False, False]


def test_curves_say_who_still_improves(tmp_path):
    """Invented runs close in on their end exponentially: those that neither solved nor diverged."""
    from synthetic import make_study

    frame = load(str(make_study(tmp_path / "s", ("lstm", "tanh"), ("adding",), range(3), (5e-3,))))
    found = gates.improving(frame)
    assert not found[frame["solved"].astype(bool) | frame["diverged"]].any()
    assert found[frame["cell"] == "tanh"].dtype == bool and len(found) == 6


def test_too_many_runs_that_still_improve_are_not_comparable():
    frame = apart()
    few, many = (frame.assign(improving=frame["seed"] < n) for n in (2, 3))
    assert told(few).verdict == "reproduced"
    case = told(many)
    assert case.verdict == "not comparable"
    assert "6 of 20 runs were still improving at their end" in case.sentence
    assert told(many, budget=True).verdict == "reproduced"


def test_a_rate_at_the_edge_of_those_tried_is_not_comparable():
    """Validation chose the highest of three rates for lstm; the middle one for gru."""
    new = apart(**{"optim.lr": 0.01})
    new.loc[new["cell"] == "gru", "optim.lr"] = 0.003
    found = {"gru": (0.3, 0.4, 0.3), "lstm": (0.2, 0.3, 0.4)}
    searched = runs(
        *(
            ({"cell": cell, "optim.lr": rate}, [score])
            for cell, scores in found.items()
            for rate, score in zip(RATES, scores, strict=True)
        )
    ).assign(seed=500)
    frame = pd.concat([new, searched], ignore_index=True)
    where = {"seed": {"max": 99}}
    case = told(frame, where=where)
    assert case.verdict == "not comparable"
    assert "learning rate 0.01 of lstm is at the upper edge of those tried" in case.sentence
    wider = searched[searched["optim.lr"] == 0.001].assign(**{"optim.lr": 0.03})
    assert told(pd.concat([frame, wider], ignore_index=True), where=where).verdict == "reproduced"
    fixed = told(frame, where=where | {"optim.lr": [0.003, 0.01]})
    assert fixed.verdict == "reproduced"
    searched.loc[(searched["cell"] == "lstm") & (searched["optim.lr"] == 0.003), "valid"] = 0.4
    toss = pd.concat([new, searched], ignore_index=True)
    assert told(toss, where=where).verdict == "reproduced"


@pytest.mark.parametrize(("at_the_edge", "stopped"), [(0, False), (1, False), (2, True)])
def test_of_the_best_trials_of_a_search_one_in_twenty_may_lie_at_an_edge(at_the_edge, stopped):
    """200 rates over four decades; the best twenty by validation lie in the middle, but for some
    that have the highest of all.
    """
    rates = np.geomspace(1e-4, 1, 200)
    best = np.arange(90, 110)
    best[:at_the_edge] = 199 - np.arange(at_the_edge)
    scores = np.full(200, 0.2)
    scores[best] = 0.9
    spread = np.linspace(0, 0.05, 200)
    frame = runs(
        *(
            ({"cell": cell, "optim.lr": rate}, [score - better])
            for cell, better in {"gru": 0.0, "lstm": 0.2}.items()
            for rate, score in zip(rates, scores + spread, strict=True)
        )
    )
    frame["seed"] = frame["optim.lr"].rank(method="dense").astype(int) + 1000
    case = told(frame)
    assert (case.verdict == "not comparable") is stopped
    assert ("at the upper edge" in case.stopped) is stopped


def test_where_runs_end_at_their_target_all_that_reach_it_did_as_well():
    """0.96 with the lowest rate, 0.95 with the one in the middle, and a target of 0.95."""
    where = {"seed": {"max": 99}}
    frame = learnt((0.96, 0.95, 0.5), target=0.95)
    assert told(frame, where=where).verdict == "not comparable"
    ended = frame.assign(**{"train.stop_at_target": True})
    assert told(ended, where=where).stopped == ""
    missed = learnt((0.96, 0.94, 0.5), target=0.95).assign(**{"train.stop_at_target": True})
    assert "at the lower edge" in told(missed, where=where).stopped


def learnt(lstm, rates=(0.0003, 0.003, 0.03), target=1.0):
    """Runs where chance is 0.2: what each rate brings the lstm, which takes the first of them; a
    gru that learns with the one in the middle.
    """
    new = runs(
        ({"cell": "gru", "optim.lr": rates[1]}, 0.9 + SPREAD),
        ({"cell": "lstm", "optim.lr": rates[0]}, lstm[0] + SPREAD),
    )
    searched = runs(
        *(
            ({"cell": cell, "optim.lr": rate}, [score])
            for cell, scores in {"gru": (0.5, 0.9, 0.5), "lstm": lstm}.items()
            for rate, score in zip(rates, scores, strict=True)
        )
    ).assign(seed=500)
    return pd.concat([new, searched], ignore_index=True).assign(baseline=0.2, target=target)


def test_an_edge_says_nothing_of_a_cell_that_learns_with_no_rate():
    """If the rates span a hundredfold, and if it is known what learning is."""
    where = {"seed": {"max": 99}}
    assert told(learnt((0.3, 0.25, 0.2)), where=where).verdict == "reproduced"
    assert told(learnt((0.4, 0.25, 0.2)), where=where).verdict == "not comparable"
    narrow = learnt((0.3, 0.25, 0.2), rates=(0.001, 0.003, 0.01))
    assert told(narrow, where=where).verdict == "not comparable"
    unknown = learnt((0.3, 0.25, 0.2), target=math.nan)
    assert told(unknown, where=where).verdict == "not comparable"


def test_a_cell_that_learns_with_no_rate_contradicts_nothing():
    """That the lstm is better would be contradicted if it had learnt anything."""
    claimed = {"where": {"seed": {"max": 99}}, "x": {"cell": "lstm"}, "y": {"cell": "gru"}}
    case = told(learnt((0.3, 0.25, 0.2)), **claimed)
    assert case.verdict == "not comparable"
    assert "lstm learnt nothing in this budget, with a learning rate of 0.0003, 0.003 and 0.03" in (
        case.sentence
    )
    inside = learnt((0.4, 0.25, 0.2))
    inside.loc[(inside["cell"] == "lstm") & (inside["optim.lr"] == 0.003), "valid"] = 0.4
    assert told(inside, **claimed).verdict == "contradicted"


RATES = (0.001, 0.003, 0.01)


def test_where_settings_are_halved_the_edges_are_those_of_the_first_search():
    """Of twelve rates with a small budget two are left with the large one: the upper of the two is
    no edge, unless it is one of the twelve.
    """
    rates = np.geomspace(0.001, 0.1, 12)

    def frame(kept):
        new = apart(**{"optim.lr": rates[kept[1]], "train.steps": 900})
        cells = ("gru", "lstm")
        few, many = {"train.steps": 100}, {"train.steps": 900}
        short = [({"cell": c, "optim.lr": r, **few}, [0.4]) for c in cells for r in rates]
        long = [
            ({"cell": c, "optim.lr": rates[k], **many}, [0.4 + k / 100])
            for c in cells
            for k in kept
        ]
        return pd.concat([new, runs(*short, *long).assign(seed=500)], ignore_index=True)

    where = {"seed": {"max": 99}}
    assert told(frame((5, 6)), where=where).verdict == "reproduced"
    edge = told(frame((10, 11)), where=where)
    assert "at the upper edge of those tried (0.001 to 0.1)" in edge.sentence


def test_another_task_is_not_comparable():
    assert told(apart(), comparable="short lags").sentence.startswith(
        "Not comparable, since short lags. gru is better than lstm"
    )
    by_task = {"xml": "short documents"}
    assert told(apart(), comparable=by_task).verdict == "reproduced"
    assert told(apart(task="xml"), comparable=by_task, where={"task": "xml"}).verdict == (
        "not comparable"
    )


def test_a_margin_wider_than_the_published_effect_contradicts_nothing():
    """For want of an effect, that is; a difference the other way round still does."""
    alike = runs(({"cell": "gru"}, 0.5 + SPREAD), ({"cell": "lstm"}, 0.5 + SPREAD))
    assert told(alike, margin=0.05).verdict == "contradicted"
    case = told(alike, margin=0.05, effect=0.02)
    assert case.verdict == "not comparable"
    assert "margin of 0.05 is not below the published effect of 0.02" in case.sentence
    assert told(alike, margin=0.05, effect=0.2).verdict == "contradicted"
    worse = runs(({"cell": "gru"}, 0.2 + SPREAD), ({"cell": "lstm"}, 0.5 + SPREAD))
    assert told(worse, margin=0.05, effect=0.02).verdict == "contradicted"


def test_what_is_not_resolved_needs_no_gate():
    noisy = runs(({"cell": "gru"}, 30 * SPREAD), ({"cell": "lstm"}, 30 * SPREAD))
    assert told(noisy, comparable="short lags").verdict == "not resolved"


@pytest.mark.parametrize(
    ("verdicts", "made"),
    [
        (["not comparable"] * 2, "not comparable"),
        (["not comparable", "reproduced"], "not resolved"),
        (["not comparable", "contradicted"], "contradicted"),
    ],
)
def test_claims_follow_from_cases(verdicts, made):
    assert together(verdicts, "all") == made
