"""Importance of hyperparameters: known variance shares are found, Optuna agrees, what cannot be
answered is refused.
"""

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.importance import FanovaImportanceEvaluator

from rnnbench.stats import importance as module
from rnnbench.stats.importance import importance, importances


def runs(columns, value, **others):
    """A table as `frame.load` gives it, of one task and cell, with these settings and scores."""
    n = len(value)
    fixed = {
        "study": "s",
        "task": "copy",
        "cell": "lstm",
        "status": "finished",
        "goal": "min",
        "metric": "mse",
        "diverged": False,
        "baseline": np.nan,
    }
    made = pd.DataFrame(
        {
            **columns,
            "value": np.asarray(value, float),
            "id": [f"{k:012x}" for k in range(n)],
            "seed": 0,
        }
    )
    return made.assign(**(fixed | others))


def uniform(n, *names, seed=0):
    draws = np.random.default_rng(seed)
    return {name: draws.random(n) for name in names}


def shares(found):
    return found.table.set_index("parameter")["mean"]


def rng():
    return np.random.default_rng(1)


# in the order of the alphabet, which is Optuna's of the columns
X = ("model.dropout", "optim.momentum", "train.input_noise")


def test_shares_of_a_sum_are_the_squared_slopes():
    """For y = Σ aₖ xₖ with independent uniform inputs the exact shares are aₖ² / Σ a²: here 0.8,
    0.2 and 0. Tolerance 0.07 (n = 300).
    """
    x = uniform(300, *X)
    noise = 0.05 * np.random.default_rng(5).normal(size=300)
    found = importance(runs(x, 2 * x[X[0]] + x[X[1]] + noise), rng(), repeats=2)
    assert shares(found)[list(X)].to_numpy() == pytest.approx([0.8, 0.2, 0], abs=0.07)
    assert found.pairs["mean"].max() < 0.06
    assert found.r2 > 0.9
    assert (found.table["n"] == 300).all()
    assert (found.table["std"] < 0.02).all()


def test_an_interaction_is_found_in_the_pair():
    """y = (x1 - ½)(x2 - ½) has no main effects; the pair explains all."""
    x = uniform(500, *X)
    found = importance(runs(x, (x[X[0]] - 0.5) * (x[X[1]] - 0.5)), rng(), repeats=1)
    pairs = found.pairs.set_index(["first", "second"])["mean"]
    assert pairs[X[0], X[1]] > 0.6
    assert pairs.drop((X[0], X[1])).max() < 0.1
    assert shares(found).max() < 0.15


def test_single_shares_are_those_of_optuna():
    """The same forest (same seed, inputs on the unit cube) through FanovaImportanceEvaluator."""
    x = uniform(40, *X)
    y = np.sin(5 * x[X[0]]) + x[X[1]] * x[X[2]]
    found = importance(runs(x, y), rng(), repeats=1, trees=16)
    seed = int(rng().integers(2**31, size=2)[0])
    study = optuna.create_study(storage=None, study_name="s")
    unit = {name: (v - v.min()) / np.ptp(v) for name, v in x.items()}
    spaces = dict.fromkeys(X, optuna.distributions.FloatDistribution(0, 1))
    for k, score in enumerate(y):
        at = {name: float(unit[name][k]) for name in X}
        study.add_trial(
            optuna.trial.create_trial(params=at, distributions=spaces, value=float(score))
        )
    theirs = FanovaImportanceEvaluator(n_trees=16, seed=seed).evaluate(study)
    assert shares(found).to_dict() == pytest.approx(theirs, abs=1e-6)


def test_momentum_is_weighed_as_it_is_drawn():
    """One minus momentum log-uniform in [0.01, 1]: a step at 0.9, the middle of two decades, splits
    the weight in halves; on a linear scale a tenth would lie above it.
    """
    x = uniform(200, "optim.momentum", "model.dropout")
    x["optim.momentum"] = 1 - 10 ** (-2 * x["optim.momentum"])
    y = np.where(x["optim.momentum"] < 0.9, 1.0, 0.0)
    found = importance(runs(x, y), rng(), repeats=1)
    scales = found.table.set_index("parameter")["scale"].to_dict()
    assert scales == {"optim.momentum": "complement", "model.dropout": "linear"}
    curve = found.marginals[found.marginals["parameter"] == "optim.momentum"]
    assert curve["x"].is_monotonic_increasing and 0 <= curve["x"].min() < curve["x"].max() < 1
    assert curve["mean"].mean() == pytest.approx(0.5, abs=0.03)


def test_learning_rates_are_weighed_by_decade():
    """A step at the middle of four decades splits the weight in halves; on a linear scale a
    hundredth would lie below it.
    """
    x = uniform(200, "optim.lr", "model.dropout")
    x["optim.lr"] = 10 ** (-6 + 4 * x["optim.lr"])
    found = importance(runs(x, np.where(x["optim.lr"] < 1e-4, 1.0, 0.0)), rng(), repeats=1)
    assert found.table.set_index("parameter")["scale"].to_dict() == {
        "optim.lr": "log",
        "model.dropout": "linear",
    }
    assert shares(found)["optim.lr"] > 0.95
    curve = found.marginals[found.marginals["parameter"] == "optim.lr"]
    assert curve["x"].iloc[[0, -1]].to_numpy() == pytest.approx(
        [x["optim.lr"].min(), x["optim.lr"].max()]
    )
    assert curve["mean"].mean() == pytest.approx(0.5, abs=0.03)
    assert (
        curve[curve["x"] < 5e-5]["mean"].min() > 0.9
        and curve[curve["x"] > 2e-4]["mean"].max() < 0.1
    )


def test_levels_weigh_the_same_wherever_they_lie():
    """Widths 16, 32, 512 with scores 0, 1, 2: the variance of three equal levels, not of an
    interval; words are levels, too.
    """
    draws = np.random.default_rng(0)
    x = {
        "model.hidden": draws.choice([16, 32, 512], 150),
        "optim.schedule": draws.choice(["constant", "cosine", None], 150),
    }
    found = importance(
        runs(
            x,
            np.searchsorted([16, 32, 512], x["model.hidden"])
            + 1.5 * (x["optim.schedule"] == "cosine"),
        ),
        rng(),
        repeats=1,
    )
    first, second = 2 / 3, 1.5**2 * 2 / 9
    assert shares(found).to_numpy() == pytest.approx(
        [first / (first + second), second / (first + second)], abs=0.03
    )
    curve = found.marginals[found.marginals["parameter"] == "model.hidden"]
    assert curve["x"].tolist() == [16, 32, 512]
    assert np.diff(curve["mean"]) == pytest.approx([1, 1], abs=0.05)
    assert set(found.marginals["x"][found.marginals["parameter"] == "optim.schedule"]) == {
        "constant",
        "cosine",
        "null",
    }


def test_a_marginal_is_the_function_of_its_parameter():
    x = uniform(400, *X)
    found = importance(runs(x, x[X[0]] ** 2 + x[X[1]]), rng(), repeats=1)
    curve = found.marginals[found.marginals["parameter"] == X[0]]
    inner = curve.iloc[4:-4]
    assert inner["mean"].to_numpy() == pytest.approx(inner["x"].to_numpy() ** 2 + 0.5, abs=0.08)


def test_runs_without_a_score_count_as_ignorance():
    x = uniform(60, *X)
    y = x[X[0]].copy()
    gone = x[X[0]] > 0.8
    y[gone] = np.where(np.arange(gone.sum()) % 2, np.nan, 1e30)
    table = runs(x, y, baseline=1.0).assign(diverged=gone)
    assert module.bounded(table)[gone].tolist() == [1.0] * gone.sum()
    assert (
        module.bounded(table.assign(baseline=np.nan))[gone].tolist()
        == [y[~gone].max()] * gone.sum()
    )
    assert (
        module.bounded(table.assign(goal="max", value=-y, baseline=-1.0))[gone].tolist()
        == [-1.0] * gone.sum()
    )
    worse = table.assign(diverged=False, value=50.0)
    assert module.bounded(worse).tolist() == [1.0] * 60
    found = importance(table, rng(), repeats=1)
    assert found.replaced == gone.sum()
    assert shares(found)[X[0]] > 0.8


def test_equal_generators_give_equal_results():
    x = uniform(40, *X)
    table = runs(x, x[X[0]])
    one, other = importance(table, rng(), repeats=2), importance(table, rng(), repeats=2)
    for name in ("table", "pairs", "marginals"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))
    assert one.r2 == other.r2
    assert one.table["std"].max() > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.head(19), "19 runs"),
        (lambda table: table.assign(**dict.fromkeys(X, 1.0)), "no setting differs"),
        (lambda table: table.assign(**dict.fromkeys(X[1:], 1.0)), f"only {X[0]} differs"),
        (lambda table: table.assign(value=0.5), "score the same"),
        (lambda table: table.assign(diverged=True), "score the same"),
        (lambda table: table.assign(status="failed"), "0 runs"),
    ],
)
def test_what_cannot_be_answered_is_refused(change, reason):
    x = uniform(30, *X)
    found = importance(change(runs(x, x[X[0]])), rng())
    assert reason in found.reason
    assert found.table.empty and found.pairs.empty and found.marginals.empty


def test_settings_that_only_change_together_are_one():
    x = uniform(40, "optim.lr", "train.input_noise")
    x |= {
        "optim.momentum": 1 - x["optim.lr"],
        "train.batch": np.arange(40) % 2,
        "model.hidden": 5 * (np.arange(40) % 2),
        "task.length": np.arange(40),
    }
    assert set(module.searched(runs(x, x["optim.lr"]))) >= {
        "optim.lr",
        "train.input_noise",
        "train.batch",
    }
    assert not {"optim.momentum", "model.hidden"} & set(module.searched(runs(x, x["optim.lr"])))


def test_noise_has_no_fit():
    x = uniform(80, *X)
    assert importance(runs(x, np.random.default_rng(9).normal(size=80)), rng(), repeats=1).r2 < 0.1


def test_every_task_and_cell_is_answered():
    x = uniform(50, *X)
    both = pd.concat([runs(x, x[X[0]]), runs(x, x[X[1]], cell="gru").head(10)])
    assert [(found.cell, bool(found.reason)) for found in importances(both, rng(), repeats=1)] == [
        ("gru", True),
        ("lstm", False),
    ]
    with pytest.raises(ValueError, match="one task and one cell"):
        importance(both, rng())
