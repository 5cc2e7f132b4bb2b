"""`rnnbench judge`: the sequential rule against published boundaries and simulated sums; verdicts
on invented runs, whose truth is known; one question with real training.
"""

import json
import math
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import synthetic
from scipy import special, stats

import rnnbench
from rnnbench.cli import main
from rnnbench.errors import Interrupted
from rnnbench.runs.records import Folder
from rnnbench.stats import sequential
from rnnbench.stats.sequential import boundary, judged, looks, spent
from rnnbench.tools import judge as tool

MYCELL = '''
from torch import tanh


def mycell(W, R, b, x, h):
    """A plain network."""
    return tanh(W.h @ x + R.h @ h + b.h)
'''
TINY = ["task.length=10", "train.steps=6", "train.eval_every=3", "train.batch=5"]
TINY += ["task.valid_size=20", "task.test_size=20", "model.hidden=4", "engine=loop", "workers=1"]


# The rule


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        (
            lambda t: 0.05 * np.log(1 + (math.e - 1) * t),  # like Pocock's
            [2.438, 2.427, 2.410, 2.397, 2.386],
        ),
        (
            lambda t: 4 * special.ndtr(special.ndtri(0.0125) / np.sqrt(t)),  # O'Brien and Fleming's
            [4.877, 3.357, 2.680, 2.290, 2.031],
        ),
    ],
)
def test_boundaries_are_those_of_lan_and_demets(spending, published):
    """Five equal looks, two-sided 5 %: the tables of their spending functions."""
    at = np.arange(1, 6)
    assert boundary(at, spending(at / 5)) == pytest.approx(published, abs=2e-3)


@pytest.mark.parametrize(
    ("critical", "shape"),
    [
        (2.178, lambda k, of: 1.0),  # Pocock (1977), 2 looks
        (2.413, lambda k, of: 1.0),  # 5 looks
        (1.977, lambda k, of: math.sqrt(of / k)),  # O'Brien and Fleming (1979), 2 looks
        (2.040, lambda k, of: math.sqrt(of / k)),  # 5 looks
    ],
)
def test_published_constants_spend_five_per_cent(critical, shape):
    """Given what their bounds spend up to each look, by simulation, the bounds come back."""
    of = 5 if critical in (2.413, 2.040) else 2
    sums = np.random.default_rng(0).normal(size=(400_000, of)).cumsum(1)
    bounds = np.array([critical * shape(k, of) for k in range(1, of + 1)])
    over = np.abs(sums) / np.sqrt(np.arange(1, of + 1)) >= bounds
    errors = np.maximum.accumulate(over, axis=1).mean(0)
    assert errors[-1] == pytest.approx(0.05, abs=0.0012)
    found = boundary(range(1, of + 1), errors)
    assert found[-1] == pytest.approx(bounds[-1], abs=0.02)


def test_looks_and_error_do_not_depend_on_the_budget():
    assert looks(100) == [5, 8, 12, 18, 27, 40, 60, 90] and looks(30) == looks(100)[:5]
    assert looks(4) == []
    assert spent(10) == 0.025 and spent(10**9) == pytest.approx(0.05)
    x, y = np.random.default_rng(1).normal(size=(2, 40))
    short, long = (judged(x[:n], y[:n], 0.5, np.random.default_rng(2)) for n in (18, 40))
    assert long[: len(short)] == short


def test_far_apart_is_decided_at_the_first_look_and_equal_is_equivalent():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 40))
    for shift, verdict in ((-9, "better"), (9, "worse")):
        (only,) = judged(x + shift, y, 0.5, np.random.default_rng(0))
        assert (only.n, only.verdict) == (5, verdict)
        assert only.shift.low <= shift <= only.shift.high
    last = judged(x, y, 5.0, np.random.default_rng(0))[-1]
    assert (last.n, last.verdict, last.within) == (5, "equivalent", True)
    assert judged(x, y, math.nan, np.random.default_rng(0))[-1].verdict == "undecided"


def test_diverged_runs_lose():
    """Three of four diverge."""
    x, y = np.random.default_rng(4).normal(size=(2, 18))
    lost = np.where(np.arange(18) % 4 == 0, y, math.inf)
    assert judged(x, lost, 0.1, np.random.default_rng(0))[-1].verdict == "better"
    assert judged(lost, x, 0.1, np.random.default_rng(0))[-1].verdict == "worse"


def test_noise_is_what_two_copies_differ_by():
    """Of normal scores: the difference of two medians over all pairs, each like a mean."""
    y = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    found = sequential.noise(y, 20, np.random.default_rng(0))
    assert found == pytest.approx(1.96 * math.sqrt(2 / 20 * math.pi / 3), rel=0.1)


# Verdicts on invented runs


@pytest.fixture
def invented(tmp_path, monkeypatch):
    """Runs are invented instead of trained: skills by name of the cell, best at one rate."""
    monkeypatch.chdir(tmp_path)
    skills, trained, truth = {"lstm": 0.6, "gru": 0.6}, [], {"rate": 0.005}

    def launch(jobs, options, command):
        for job in jobs:
            run = job.settings
            folder = Folder.of(run)
            if folder.record() is not None:
                continue
            trained.append(run)
            rng = np.random.default_rng([run.seed, zlib.crc32(folder.path.name.encode())])
            missed = 0.5 * abs(math.log10(run.optim.lr / truth["rate"]))
            skill = skills[run.cell.name] - missed + rng.normal(0, 0.02)
            record, rows = synthetic.invent(run, skill, rng)
            synthetic.leave(folder.path.parents[2], record, rows)

    monkeypatch.setattr(tool, "launch", launch)
    return skills, trained, truth


def ask(*more, cell="gru", against="lstm", **named):
    return tool.judge(cell, against, [*TINY, *more], **named)


def test_better_is_confirmed_on_fresh_seeds(invented):
    skills, trained, _ = invented
    skills["gru"] = 0.9
    found = ask()
    assert (found.verdict, found.n, found.fresh["n"]) == ("better", 5, 5)
    assert found.fresh["p"] < 0.05 and found.effect < 0 and found.high < 0
    assert found.rates == (0.005, 0.005) and found.tried == (0.0005, 0.0016, 0.005, 0.016)
    assert found.runs == len(trained) == 16 + 10 + 10
    seeds = [{run.seed for run in trained if run.cell.name == cell} for cell in ("gru", "lstm")]
    assert seeds[0] == seeds[1] == {1000, 1001, *range(5), *range(2000, 2005)}
    assert abs(found.params[0] - found.params[1]) < 0.2 * found.params[1]
    assert found.noise < abs(found.effect)
    text = str(found)
    assert text.startswith("gru is better than lstm on adding") and "confirmed by 5" in text


def test_ahead_by_chance_is_not_better(invented, monkeypatch):
    skills, _, _ = invented
    skills["gru"] = 0.9
    monkeypatch.setattr(tool, "CONFIRMED", 0.0)
    found = ask()
    assert found.verdict == "undecided" and "ahead, but not confirmed" in str(found)
    assert any("larger budget does not change this" in note for note in found.notes)


@pytest.mark.parametrize(("task", "sign"), [("adding", 1), ("memorize", -1)])
def test_worse_in_the_direction_of_the_score(invented, task, sign):
    skills, _, _ = invented
    skills["gru"] = 0.2
    words = [word for word in TINY if "length" not in word]
    found = tool.judge("gru", "lstm", [*words, f"task={task}"])
    assert (found.verdict, found.fresh) == ("worse", None)
    ends = sorted(sign * bound for bound in (found.low, found.high))
    assert 0 < ends[0] <= sign * found.effect <= ends[1]


def test_equal_cells_are_equivalent_or_undecided_by_the_margin(invented):
    found = ask(margin="80%")
    assert found.verdict == "equivalent" and found.within and found.fresh is None
    narrow = ask(margin="1e-9")
    assert narrow.verdict == "undecided" and narrow.n == 27
    assert "would have been found 4 times in 5" in str(narrow)
    assert any("1 other question stands" in note for note in narrow.notes)


def test_more_budget_goes_on_and_nothing_is_spent_twice(invented):
    _, trained, _ = invented
    first = ask(margin="1e-9", budget=70)
    count = len(trained)
    assert first.verdict == "undecided" and first.n == 12 and count == first.runs == 40
    again = ask(margin="1e-9", budget=70)
    assert again == first and len(trained) == count
    more = ask(margin="1e-9", budget=128)
    assert more.n == 27 and more.looks[: len(first.looks)] == first.looks
    assert len(trained) == more.runs == 16 + 54
    ledger = json.loads((Path(more.folder) / "judge.json").read_text())["questions"]
    (entry,) = ledger.values()
    assert entry["verdict"] == "undecided" and entry["runs"] == 70
    assert entry["command"].startswith("rnnbench judge gru --against lstm")


def test_killed_anywhere_it_goes_on_to_the_same_verdict(invented, monkeypatch):
    skills, trained, _ = invented
    skills["gru"] = 0.66
    whole = ask(f"study={'whole'}")
    count = len(trained)
    inner, calls = tool.launch, []

    def dies(jobs, options, command):
        calls.append(len(jobs))
        inner(jobs[: len(jobs) // 2], options, command)
        raise Interrupted("killed")

    for _ in range(3):
        monkeypatch.setattr(tool, "launch", dies)
        with pytest.raises(Interrupted):
            ask("study=torn")
    monkeypatch.setattr(tool, "launch", inner)
    torn = ask("study=torn")
    assert (torn.verdict, torn.effect, torn.looks) == (whole.verdict, whole.effect, whole.looks)
    assert len(trained) == 2 * count


def test_a_rate_at_the_edge_makes_the_search_wider_for_both(invented):
    _, trained, truth = invented
    truth["rate"] = 0.00016
    found = ask(margin="80%")
    assert found.tried == (0.00005, 0.00016, 0.0005, 0.0016, 0.005, 0.016)
    assert found.rates == (0.00016, 0.00016) and found.runs == len(trained) == 24 + 2 * found.n
    assert not any("last that was tried" in note for note in found.notes)
    truth["rate"] = 5e-7
    beyond = ask("study=beyond", margin="80%")
    assert beyond.rates == (0.00005, 0.00005) and len(beyond.tried) == 6
    assert sum("last that was tried" in note for note in beyond.notes) == 2


def test_a_rate_that_is_given_is_not_searched(invented):
    _, trained, _ = invented
    found = ask("optim.lr=0.05", margin="80%")
    assert found.tried == () and {run.optim.lr for run in trained} == {0.05}
    assert found.runs == 2 * found.n


def test_a_damaged_ledger_is_kept_aside(invented, capsys):
    found = ask(margin="80%")
    path = Path(found.folder) / "judge.json"
    path.write_text("{")
    again = ask(margin="80%")
    assert again == found and path.with_name("judge.json.damaged").exists()
    assert "not a ledger of rnnbench" in capsys.readouterr().out


def test_settings_of_one_cell_alone(invented):
    found = ask(cell="lstm cell.forget_bias=1", margin="80%")
    assert found.cell == "lstm cell.forget_bias=1" and found.verdict == "equivalent"
    assert found.params[0] == found.params[1]


def test_seconds_are_measured_once(invented, monkeypatch):
    monkeypatch.setattr(tool, "_pace", lambda asked: 0.5)
    found = ask(by="seconds", margin="80%")
    assert found.steps == (12, 6)
    monkeypatch.setattr(tool, "_pace", lambda asked: 1 / 0)
    assert ask(by="seconds", margin="80%") == found
    units = ask(by="units", margin="80%")
    assert units.steps == (6, 6) and units.params[0] < units.params[1]


# What is refused, and real runs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope", "--against", "lstm"], "unknown cell 'nope'; did you mean 'np'"),
        (["lstm", "--against", "lstmm"], "unknown cell 'lstmm'; did you mean 'lstm'"),
        (["lstm", "--against", "lstm"], "are the same cell with the same settings"),
        (["gru"], "the following arguments are required: --against"),
        (["gru", "--against", "lstm", "--budget", "35"], "too small for any verdict.*at least 36"),
        (["gru", "--against", "lstm", "--budget", "-1"], "too small for any verdict"),
        (["gru", "--against", "lstm", "--margin", "0"], "--margin must be a number above 0"),
        (["gru", "--against", "lstm", "--margin", "nan"], "--margin must be a number above 0"),
        (["gru", "--against", "lstm", "--task", "nope"], "unknown task 'nope'"),
        (["gru", "--against", "lstm", "--by", "size"], "unknown size 'size'"),
        (["gru", "--against", "lstm", "seed=1"], "follows from the question"),
        (["gru optim.lr=1", "--against", "lstm"], "either given for both cells or searched"),
        (["gru", "--against", "lstm", "--by", "units", "model.match=params:99"], "equal units"),
        (["gru", "--against", "lstm", "workers=0"], "workers must be at least 1"),
        (["a.py:f", "--against", "lstm"], "no file"),
        (
            ["gru", "--against", "lstm", "--task", "smnist", "paths.data=none", "paths.mirror=no"],
            "cannot fetch",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_written(
    words, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["judge", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert re.search(said, error), error
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_cell_of_ones_own_is_judged_by_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("my.py").write_text(MYCELL)
    words = ["judge", "my.py:mycell", "--against", "gru", "--budget", "24", "--margin", "90%"]
    assert main([*words, *TINY, "optim.lr=0.01", "--json"]) == 0
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert found["cell"] == "mycell" and found["verdict"] in ("equivalent", "undecided", "worse")
    assert "10 runs" in out.err
    before = {path: path.stat().st_mtime_ns for path in Path("results").rglob("record.json")}
    assert len(before) == found["runs"] == 10
    assert main([*words, *TINY, "optim.lr=0.01"]) == 0
    assert "mycell" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in before}
    typed = [word.split("=") for word in TINY]
    settings = {key: int(value) if value.isdigit() else value for key, value in typed}
    again = rnnbench.judge(
        "my.py:mycell", "gru", budget=24, margin="90%", **settings, **{"optim.lr": 0.01}
    )
    assert again.verdict == found["verdict"] and again.effect == pytest.approx(found["effect"])
