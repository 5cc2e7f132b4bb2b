"""`--json`: what a verb shows, for programs, and nothing else on standard output."""

import csv
import json
from pathlib import Path

import pytest

import rnnbench
from rnnbench import cli
from rnnbench.catalogue import choices

TINY = ["debug=tiny", "engine=loop", "workers=1"]


def said(capsys, *words, code=0):
    assert cli.main(list(words)) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["train", "-m", "cell=tanh,gru", "task=adding", *TINY]) == 0
    return folder


@pytest.fixture
def here(swept, monkeypatch):
    monkeypatch.chdir(swept)


def test_lists(capsys):
    cells = said(capsys, "list", "cells", "--json")
    assert {row["cell"] for row in cells} == set(choices("cell"))
    (lstm,) = (row for row in cells if row["cell"] == "lstm")
    assert lstm["parameters"] == 4 * (10 * 64 + 64 * 64 + 64)  # copy has 10 inputs
    tasks = {row["task"]: row for row in said(capsys, "list", "tasks", "--json")}
    assert tasks["adding"]["baseline"] == pytest.approx(1 / 6)
    assert tasks["adding"]["goal"] == "min"
    studies = said(capsys, "list", "studies", "--json")
    assert {row["study"] for row in studies} == set(choices("studies"))


def test_a_cell(capsys):
    gru = said(capsys, "show", "cell=gru", "--json", "model.hidden=8")
    assert gru["equations"][-1] == "hₜ = zₜ ⊙ hₜ₋₁ + (1 − zₜ) ⊙ nₜ"
    assert gru["parameters"] == 3 * (10 * 8 + 8 * 8 + 8)
    matched = said(capsys, "show", "cell=gru", "--json", "task=adding", "model.match=params:218")
    assert matched["hidden"] == 7  # 3 · (2·7 + 49 + 7) weights and biases, 8 of the read-out
    verified = said(capsys, "show", "cell=gru", "--json", "--verify")
    assert verified["checks"] and all(check["passed"] is not False for check in verified["checks"])


def test_status(here, capsys):
    status = said(capsys, "status", "debug", "--json")
    assert {(run["cell"], run["state"]) for run in status["runs"]} == {
        ("gru", "finished"),
        ("tanh", "finished"),
    }
    assert status["seconds_left"] == 0


def test_eval_and_repeat(here, capsys):
    table = rnnbench.load("results/runs/debug")
    row = table[table["cell"] == "gru"].iloc[0]
    folder = f"results/runs/debug/adding/gru/{row['id']}"
    found = said(capsys, "eval", folder, "task.length=20,100", "--json")
    assert [point["task.length"] for point in found] == [20, 100]
    assert found[1]["mse"] == pytest.approx(row["value"])  # as trained
    (again,) = said(capsys, "repeat", folder, "--json")
    assert again["recorded"]["mse"] == again["again"]["mse"] == row["value"]
    assert again["difference"] == 0


def test_the_tables_of_a_report(here, capsys):
    made = said(capsys, "report", "debug", "--json")
    with Path(made["page"]).parent.joinpath("tables").joinpath("runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [str(row["cell"]) for row in made["tables"]["runs"]] == [row["cell"] for row in rows]
    assert len(made["tables"]) >= 2


def test_bench(capsys):
    record = said(capsys, "bench", "tanh", "--repeats", "1", "--shapes", "2,3,3,4", "--json")
    assert {row["way"] for row in record["rows"]} == {"native", "loop"}


def test_a_plan_trains_nothing(here, capsys):
    words = ["train", "-m", "cell=tanh,gru", "task=adding", "seed=0,1", *TINY, "--plan"]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    row = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["adding"])
    assert row[1:6] == ["2", "4", "2", "2", "40"]  # cells, runs, ended, packs, steps left
    assert "nothing was trained" in shown
    assert len(rnnbench.load("results/runs/debug")) == 2
    assert cli.main(["train", "cell=tanh", "--plan"]) == 2
    assert "belongs to a sweep" in capsys.readouterr().err


def test_a_seed_is_crossed_with_a_random_search_on_wish(here, capsys):
    drawn = "optim.lr=tag(log, interval(1e-4, 1e-1))"
    for seeds, runs in (("seed=tag(crossed, range(3))", "12"), ("seed=range(3)", "4")):
        words = ["train", "-m", "trials=4", "cell=tanh", "task=adding", drawn, seeds, "--plan"]
        assert cli.main([*words, "study=crossed"]) == 0
        shown = capsys.readouterr().out
        row = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["adding"])
        assert row[2] == runs
