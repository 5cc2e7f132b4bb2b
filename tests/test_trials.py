"""A random search read as Greff et al. (2017) read theirs, against formulas written out here."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_verdicts import runs

from rnnbench.claims.design import read
from rnnbench.report.results import Results
from rnnbench.report.sections import answer, claims, design, searched
from rnnbench.report.sections import importance as settings
from rnnbench.runs.records import run_id
from rnnbench.stats import compare, selection, trials
from rnnbench.stats.importance import importance
from rnnbench.studies.parts import plan
from rnnbench.studies.progress import progress

SEARCH = range(1000, 1040)


def trained(cell, base, rng, diverged=0):
    """40 trials of a cell, scores growing with the distance of the rate from 0.1, then ten new
    seeds at the best of them.
    """
    rates = 10 ** rng.uniform(-4, 1, 40)
    scores = base + np.abs(np.log10(rates) + 1) + 0.01 * rng.normal(size=40)
    shared = {"cell": cell}
    groups = [
        (shared | {"optim.lr": rate, "seed": 1000 + k, "steps": 100 * (k % 7 + 1)}, [score])
        for k, (rate, score) in enumerate(zip(rates, scores, strict=True))
    ]
    made = runs(*groups, goal="min", metric="nll", params=50.0)
    made.loc[made.index[:diverged], "diverged"] = True
    new = runs(
        (shared | {"optim.lr": rates[scores.argmin()]}, scores.min() + 0.01 * rng.normal(size=10)),
        goal="min",
        metric="nll",
        params=50.0,
        steps=100,
    )
    return pd.concat([made, new], ignore_index=True)


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    parts = [trained("lstm", 1.0, rng), trained("gru", 1.5, rng, diverged=3)]
    frame = pd.concat(parts, ignore_index=True)
    frame["id"] = [f"run{k}" for k in range(len(frame))]
    return selection.study(frame, "lstm", searched={"optim.lr"})


def sample_of(study, cell):
    (found,) = (one for result, one in study.samples.items() if result.cell.name == cell)
    return found


def test_trials_are_the_runs_of_the_search(study):
    sample = sample_of(study, "gru")
    assert len(sample.runs) == 50
    found = trials.trials(sample.runs, SEARCH)
    assert sorted(found["seed"]) == list(SEARCH)
    longer = sample.runs.assign(**{"train.steps": 900})
    both = pd.concat([sample.runs, longer[longer["seed"] < 1005]])
    assert len(trials.trials(both, SEARCH)) == 40
    assert trials.trials(sample.runs, [7777]).empty


def test_a_box_is_that_of_its_scores(study):
    table = trials.spreads(trials.searches(study, SEARCH))
    table = table.assign(cell=table["cell"].map(str)).set_index(["cell", "of"])
    assert set(table.index) == {
        (c, of) for c in ("lstm", "gru") for of in (trials.ALL, trials.BEST)
    }
    rows = sample_of(study, "lstm").runs
    scores = np.sort(rows.loc[rows["seed"] >= 1000, "value"].to_numpy())
    row = table.loc[("lstm", trials.ALL)]
    assert [row["low"], row["high"], row["mean"]] == pytest.approx(
        [scores[0], scores[-1], scores.mean()]
    )
    assert row["median"] == pytest.approx((scores[19] + scores[20]) / 2)
    assert row["q25"] == pytest.approx(scores[9] + 0.75 * (scores[10] - scores[9]))
    top = table.loc[("lstm", trials.BEST)]
    assert top["n"] == 4 and top["high"] == pytest.approx(scores[3]) and top["params"] == 50
    assert table.loc[("gru", trials.ALL), "diverged"] == 3
    assert table.loc[("gru", trials.ALL), "high"] == 10  # the memoryless baseline of these runs


def test_their_test_is_welchs_and_stands_beside_ours(study):
    """t and its degrees of freedom by Welch (1947), written out; a single comparison, so that
    nothing is corrected.
    """
    found = trials.tests(
        trials.searches(study, SEARCH), study.baseline, compare.with_baseline(study)
    )
    (row,) = found.to_dict("records")
    sides = []
    for cell in ("gru", "lstm"):
        rows = sample_of(study, cell).runs
        rows = rows[(rows["seed"] >= 1000) & ~rows["diverged"]]
        sides.append(np.sort(rows["value"].to_numpy())[:4])
    (a, b), n = sides, 4
    errors = [side.var(ddof=1) / n for side in sides]
    t = (a.mean() - b.mean()) / math.sqrt(sum(errors))
    freedom = sum(errors) ** 2 / sum(error**2 / (n - 1) for error in errors)
    assert row["theirs_t"] == pytest.approx(t)
    assert row["theirs_p"] == pytest.approx(2 * stats.t.sf(abs(t), freedom))
    assert row["theirs_difference"] == pytest.approx(a.mean() - b.mean())
    assert row["ours_n"] >= 10 and row["agree"] is True and row["ours_p"] < 0.05


def test_what_took_long_is_attributed_as_scores_are(study):
    """Steps that follow from the seed's number alone are not explained by the rate."""
    search = trials.trials(sample_of(study, "lstm").runs, SEARCH)
    search = search.assign(**{"train.input_noise": (search["seed"] - 1000) % 7 / 7.0})
    rng = np.random.default_rng(1)
    share = importance(search, rng, repeats=1, of="steps").table.set_index("parameter")["mean"]
    assert share["train.input_noise"] > 0.9 > 0.1 > share["optim.lr"]
    share = importance(search, rng, repeats=1).table.set_index("parameter")["mean"]
    assert share["optim.lr"] > 0.8


def test_a_report_analyses_the_trials_alone(study):
    """Forty trials a cell, not the ten runs besides that repeat the best."""
    for sample in study.samples.values():
        noise = sample.runs["seed"] % 17 / 17.0  # a second setting, without which none is analysed
        sample.runs["train.input_noise"] = noise
    known = read("odyssey", "small")
    found = Results(study, [known]).importances
    assert [one.n for one in found.values()] == [40, 40]
    assert [one.n for one in Results(study).importances.values()] == [50, 50]


def test_a_study_names_the_seeds_of_its_search():
    assert read("odyssey", "small").search_seeds == frozenset(range(1000, 3000))
    assert read("survey", "small").search_seeds == {500}


def test_a_study_that_lacks_runs_says_so_and_claims_nothing(study):
    known = read("odyssey", "small")
    frame = study.frame.assign(**{"task.name": "copy", "cell.name": "lstm"})
    results = Results(replace(study, frame=frame), [known], {"odyssey": (100, 2870)})
    assert results.judged == []
    assert list(answer.unfinished(results)) == [
        "odyssey is incomplete, with 100 of 2,870 runs, and claims nothing yet."
    ]
    (said,) = claims.parts(results)
    assert said.startswith("20 claims of odyssey will be judged when it is complete: 100 of 2,870")
    assert list(answer.unfinished(Results(study, [known], {"odyssey": (2870, 2870)}))) == []


def test_progress_counts_what_a_study_plans():
    """A search of two trials for each of two cells, two seeds for their settings, one part more."""
    known = read("odyssey", "smoke")
    fixed = [run_id(j.settings) for one in plan(known, []).values() for j in one.jobs]
    frame = pd.DataFrame({"study": known.label, "id": [*fixed[:3], "else"]})
    assert progress([known], frame.head(3)) == {known.label: (3, len(fixed))}
    assert progress([known], frame) == {known.label: (4, len(fixed))}


def test_an_answer_from_trials_says_so(study):
    frame = study.frame[study.frame["seed"] >= 1000].assign(**{"train.batch": 1})
    alone = selection.study(frame, "lstm", searched={"optim.lr"})
    results = Results(alone)
    best = sample_of(alone, "lstm").runs.sort_values("value").iloc[0]
    assert f"test nll {best['value']:.3f}".rstrip("0") in answer.best(results)
    assert "of its best trial" in answer.best(results)
    assert design.design(alone).startswith(
        "Each cell ran with 40 trials, a seed each, and optim.lr"
    )
    assert design.design(alone).endswith("steps of 1 sequence.")
    both = selection.study(study.frame.assign(**{"train.batch": 1}), "lstm", searched={"optim.lr"})
    assert "40 trials, a seed each (the chosen one 11), and" in design.design(both)


def test_tests_stand_in_the_report(study):
    results = Results(study, [read("odyssey", "small")])
    (table,) = searched.parts(results, study.tasks[0])
    ((_, (line,)),) = table.groups
    assert [entry.text for entry in line.entries][-1] == "yes" and line.entries[3].value == 4
    assert list(searched.parts(Results(study), study.tasks[0])) == []


def test_training_time_is_read_like_scores():
    """Runs at high rates end after a tenth of the steps; the noise has no part in that."""
    rng = np.random.default_rng(1)
    rates, noises = 10 ** rng.uniform(-3, 1, 80), rng.uniform(0, 1, 80)
    rows = [
        (
            {"cell": "lstm", "optim.lr": rate, "train.input_noise": noise, "seed": 1000 + k}
            | {"steps": 100 if rate > 0.1 else 1000},
            [float(rng.random())],
        )
        for k, (rate, noise) in enumerate(zip(rates, noises, strict=True))
    ]
    frame = runs(*rows, goal="min", metric="nll", params=2e6)
    frame = frame.assign(id=[f"run{k}" for k in range(80)], **{"train.steps": 1000})
    varied = {"optim.lr", "train.input_noise"}
    results = Results(selection.study(frame, "lstm", varied), [read("odyssey", "small")])
    (found,) = results.times.values()
    along = found.marginals.set_index("parameter")
    rate = along.loc["optim.lr"].sort_values("x")["mean"]
    assert rate.iloc[0] == pytest.approx(2.0, abs=0.1)  # 1,000 updates of 2 million parameters
    assert rate.iloc[-1] == pytest.approx(0.2, abs=0.1)
    noise = along.loc["train.input_noise", "mean"]
    assert noise.max() - noise.min() < 0.3
    (task,) = results.study.tasks
    assert [part.name for part in settings.parts(results, task) if hasattr(part, "spec")] == [
        *(f"{name}-{task.slug}" for name in ("importance", "marginals", "times"))
    ]
    assert Results(results.study).times == {}  # no study says that this is a search
