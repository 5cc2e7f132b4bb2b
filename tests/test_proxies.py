"""Cheap proxies against published losses: the study goes on where it was killed, and its numbers
are those of scipy and of a simulation whose answer is known.
"""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rnnbench import cli
from rnnbench.search.proxies import correlations

RECIPES = {
    "tanh": {
        "f": {"op": "linear", "input": ["x", "h_prev_0"]},
        "h_new_0": {"op": "activation_tanh", "input": ["f"]},
    },
    "gate": {
        "f": {"op": "linear", "input": ["x", "h_prev_0"]},
        "g": {"op": "activation_sigm", "input": ["f"]},
        "i": {"op": "linear", "input": ["x", "h_prev_0"]},
        "v": {"op": "activation_leaky_relu", "input": ["i"]},
        "h_new_0": {"op": "blend", "input": ["g", "v", "h_prev_0"]},
    },
}
YAML = """
question: Is it?
recipes: mine.jsonl
screens:
  copy:
    train: [task=parity, task.length=4, task.valid_size=20, engine=loop, model.hidden=4,
            train.batch=4, train.steps=4, train.eval_every=2]
    seeds: 2
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    (tmp_path / "proxy.yaml").write_text(YAML, "utf-8")
    rows = [
        {"recipe": RECIPES["tanh"], "params": 10, "valid": [5.0, 4.5, None]},
        {"recipe": RECIPES["gate"], "params": 20, "valid": [5.0, 4.0]},
        {"recipe": RECIPES["gate"], "params": 20, "valid": [4.9, 4.2]},
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    monkeypatch.setenv("RNNBENCH_MIRROR", str(tmp_path))
    return [
        "search",
        str(tmp_path / "proxy.yaml"),
        "workers=1",
        f"paths.results={tmp_path / 'out'}",
    ]


def test_it_goes_on_where_it_was_killed(asked, tmp_path, capsys):
    assert cli.main(asked) == 0
    folder = tmp_path / "out" / "proxy"
    table = pd.read_csv(folder / "recipes.csv")
    assert table["published"].tolist() == [4.5, 4.0]
    assert table["again"].tolist()[1] == 4.2 and math.isnan(table["again"][0])
    assert table["products"].tolist() == [2, 4]
    assert {"2 steps, seed 0", "4 steps, seed 1"} <= set(table)
    assert "rank after 4 steps" in (folder / "proxies.svg").read_text("utf-8")
    whole = (folder / "journal.jsonl").read_text("utf-8").splitlines()
    (folder / "journal.jsonl").write_text(whole[0] + "\n" + whole[1][:30], "utf-8")
    assert cli.main(asked) == 0
    again = pd.read_csv(folder / "recipes.csv")
    pd.testing.assert_frame_equal(again.drop(columns="seconds"), table.drop(columns="seconds"))
    assert "2 of 2 recipes" in capsys.readouterr().out


def test_recipes_that_are_not_there_are_said(asked, tmp_path, capsys):
    (tmp_path / "mine.jsonl").unlink()
    assert cli.main(asked) == 2
    assert "mine.jsonl" in (error := capsys.readouterr().err) and "RNNBENCH_MIRROR" in error


def test_noise_is_taken_into_account():
    """A truth seen through noise of equal strength on both sides: the correction gives back a
    perfect correlation, which the raw one misses.
    """
    rng = np.random.default_rng(0)
    n = 3000
    truth, unrelated = rng.normal(size=n), rng.normal(size=n)

    def noisy(values):
        return values + 0.7 * rng.normal(size=n)

    frame = pd.DataFrame(
        {
            **{"published": noisy(truth), "again": noisy(truth)},
            **{"parameters": unrelated, "depth": -truth, "products": unrelated},
            **{f"100 steps, seed {k}": noisy(truth) for k in range(2)},
            **{f"200 steps, seed {k}": noisy(unrelated) for k in range(2)},
        }
    )
    made = correlations(frame).set_index("proxy")
    mean = (frame["100 steps, seed 0"] + frame["100 steps, seed 1"]) / 2
    assert made["tau"]["100 steps"] == stats.kendalltau(mean, frame["published"]).statistic
    assert made["low"]["100 steps"] < made["tau"]["100 steps"] < made["high"]["100 steps"] < 0.75
    good = frame["published"] <= frame["published"].median()
    half = stats.kendalltau(mean[good], frame["published"][good]).statistic
    assert made["better"]["100 steps"] == half < made["tau"]["100 steps"]
    assert made["better_low"]["100 steps"] < half < made["better_high"]["100 steps"]
    assert made["likely"]["100 steps"] > 0.9
    assert abs(made["likely"]["200 steps"]) < 0.06 and abs(made["tau"]["parameters"]) < 0.04
    assert made["likely"]["depth"] > 0.9  # known without noise, so that only theirs is taken out
    expected = stats.kendalltau(frame["published"], frame["again"]).statistic
    assert made["theirs"].tolist() == [expected] * 5
