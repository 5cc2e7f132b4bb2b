"""The report: right numbers, honest claims, safe text, equal bytes; whatever the runs are."""

import csv
import dataclasses
import io
import json
import math
import re
import runpy
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import make_study

from rnnbench.charts import chart
from rnnbench.charts.chart import Chart
from rnnbench.errors import UserError
from rnnbench.formatting import anchor, number, probability
from rnnbench.report import bibtex, render, sources, writers
from rnnbench.report.render import every, pages, rendered, write_report
from rnnbench.report.results import Results
from rnnbench.report.sections import (
    against,
    answer,
    bibliography,
    design,
    importance,
    leaderboard,
    outcomes,
    published,
    ranks,
    scoreboard,
)
from rnnbench.report.sections import runs as every_run
from rnnbench.report.table import CODE, NUMBER, TEXT, Column, Entry, Format, Table
from rnnbench.runs.collect import collect
from rnnbench.runs.frame import curves, load
from rnnbench.runs.made import put_files
from rnnbench.stats import compare, selection, twins
from rnnbench.stats.importance import bounded
from rnnbench.stats.selection import Result, Variant, study
from rnnbench.tools import overseeds

GOLDEN = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "golden_report.py"))
VOID = {"meta", "br", "img", "link", "hr", "input"}
HOSTILE = "<script>alert('x')</script> %_&\"$#{}~^\\|`*[a](b)"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of the golden study."""
    return GOLDEN["write_golden"](tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def runs(page):
    return load(page.parents[1])


@pytest.fixture
def quick(monkeypatch):
    """Charts are described but not drawn, which is what takes the time."""
    for kind in ("svg", "png", "pdf"):
        monkeypatch.setattr(Chart, kind, b"drawn")
    monkeypatch.setattr(chart, "script", lambda: b"vega")


LSTM = Result(Variant("adding"), Variant("lstm"))


class Page(HTMLParser):
    """What is opened and closed, the identifiers, the links, what is loaded, the text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.loads, self.words = [], [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, pairs):
        self.handle_startendtag(tag, pairs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, pairs):
        found = dict(pairs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found[key] for key in ("href", "xlink:href") if key in found]
        self.loads += [found[key] for key in ("src", "data", "srcset", "action") if key in found]
        self.loads += [tag] if tag in ("link", "iframe", "object", "embed", "base") else []

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing at {self.getpos()}"

    def handle_data(self, data):
        self.words.append(data)


def checked(files):
    """Pages that are balanced, with unique identifiers, links that lead somewhere, and nothing
    loaded from outside the folder.
    """
    found = {name: Page(text) for name, text in files.items() if name.endswith(".html")}
    places = {name: {f"#{id}" for id in page.ids} for name, page in found.items()}
    for name, page in found.items():
        assert not page.open
        assert len(set(page.ids)) == len(page.ids)
        assert set(page.loads) <= files.keys(), set(page.loads) - files.keys()
        for link in page.links:
            file, _, id = link.partition("#")
            assert file in files or not file
            assert not id or f"#{id}" in places[file or name], link
        assert not re.search(r"(?:src|href)=\"?https?:|@import|url\((?!#)", files[name])
    return found


def report_of(frame, baseline=None, known=()):
    made = rendered(Results(study(frame, baseline), known))
    return {name: content.decode("utf-8", "replace") for name, content in made.items()}


def board(frame, task="adding"):
    asked = Results(study(frame, None))
    return leaderboard.leaderboard(Variant(task), asked.ordered(Variant(task)))


def column(table, key):
    (found,) = [column for column in table.columns if column.name == key]
    return found


def entries(table, key):
    """The entries of a column of the CSV key, by the first column."""
    first, of = table.columns[0], column(table, key)
    return {first.entry(row).text: of.entry(row) for row in table.rows}


def told(table, key, what):
    """What a column says of its rows by a function (bold, mark), by the first column."""
    first, of = table.columns[0], column(table, key)
    return {first.entry(row).text: getattr(of, what)(row) for row in table.rows}


def scored(frame, scores, **others):
    """The runs of one setting per cell with these test scores: cell → scores by seed; validation
    agrees with test.
    """
    frame = frame[frame["optim.lr"] == frame["optim.lr"].min()].copy()
    for cell, values in scores.items():
        index = frame.index[frame["cell"] == cell][: len(values)]
        frame.loc[index, ["value", "valid"]] = np.array([values, values]).T
        frame.loc[index, ["diverged", "status"]] = [False, "finished"]
        frame = frame.drop(frame.index[(frame["cell"] == cell) & ~frame.index.isin(index)])
    frame = frame[frame["cell"].isin(scores)]
    return frame.assign(**others)


def test_the_golden_report(page):
    """After a change that is meant: python scripts/golden_report.py, and read what it changed."""
    assert page.with_name("report.md").read_text("utf-8") == GOLDEN["GOLDEN"].read_text("utf-8")


def test_equal_records_make_equal_bytes(page, tmp_path):
    """PDF aside: vl-convert numbers what a page refers to as it likes."""
    again = write_report([str(page.parents[1])], tmp_path / "elsewhere")
    first, second = (
        {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}
        for top in (page.parent, again.parent)
    )
    assert first.keys() == second.keys()
    differ = {name for name in first if first[name] != second[name]}
    assert {Path(name).suffix for name in differ} <= {".pdf", ".json"}
    assert all(len(first[name]) == len(second[name]) for name in differ if ".pdf" in name)


def files_of(page):
    return {
        str(path.relative_to(page.parent)): path.read_text("utf-8", "replace")
        for path in page.parent.rglob("*")
        if path.is_file()
    }


def test_the_pages_need_nothing_from_outside(page):
    found = checked(files_of(page))
    assert found.keys() == {"index.html", "task-adding.html", "task-xml.html", "runs.html"}
    assert {p.suffix for p in (page.parent / "figures").iterdir()} == {".svg", ".png", ".pdf"}
    assert {p.suffix for p in (page.parent / "tables").iterdir()} == {".tex", ".csv", ".bib"}
    for path in (page.parent / "figures").iterdir():
        start = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF"}[path.suffix]
        assert path.read_bytes().startswith(start)


def test_every_run_has_its_id_and_its_command(page, runs):
    words = "\n".join(Page(page.with_name("runs.html").read_text("utf-8")).words)
    assert all(run in words for run in runs["id"])
    assert all(command in words for command in runs["command"])
    assert list(pd.read_csv(page.parent / "tables" / "runs.csv")["id"]) == list(runs["id"])


def test_every_number_leads_to_its_runs(page, runs):
    found = Page(page.with_name("runs.html").read_text("utf-8"))
    pairs = zip(runs["task"], runs["cell"], strict=True)
    assert {anchor("runs", task, cell) for task, cell in pairs} <= set(found.ids)
    assert {f"run--{run}" for run in runs["id"]} <= set(found.ids)
    task = Page(page.with_name("task-adding.html").read_text("utf-8"))
    assert f"runs.html#{anchor('runs', 'adding', 'tanh')}" in task.links


def test_the_report_answers_first(page, runs):
    text = page.with_name("report.md").read_text("utf-8")
    titles = re.findall(r"^##+ (.+)$", text, flags=re.MULTILINE)
    assert titles[0] == "Answer" and titles[1] == "Scores"
    said = text.split("## Answer\n\n")[1].split("\n\n")[0]
    assert said.startswith("Best median test score: lstm on adding and xml.")
    assert len(re.findall(r"\.(?: |$)", said)) <= 3
    assert "still improving" in said
    winners = {task.name: one.cell.name for task, one in Results(study(runs, None)).winners.items()}
    assert winners == {"adding": "lstm", "xml": "lstm"}


def test_a_second_report_takes_away_what_it_no_longer_has(page, tmp_path, quick):
    put_files(tmp_path, {"tables/leaderboard-gone.tex": b"old"}, "report")
    (tmp_path / "tables" / "mine.txt").write_text("old")
    write_report([str(page.parents[1])], tmp_path)
    assert {p.name for p in (tmp_path / "tables").iterdir()} & {
        "leaderboard-gone.tex",
        "mine.txt",
    } == {"mine.txt"}


def test_one_file_of_runs_makes_the_same_report(page, tmp_path, quick):
    collect(page.parents[1], tmp_path / "runs.jsonl")
    found = write_report([str(tmp_path / "runs.jsonl")])
    assert found == tmp_path / "report" / "index.html"
    assert found.with_name("report.md").read_text("utf-8") == GOLDEN["GOLDEN"].read_text("utf-8")


def test_leaderboard_numbers_are_those_of_pandas(page, runs):
    for task, members in runs.groupby("task"):
        text = (page.parent / "tables" / f"leaderboard-{task}.csv").read_text("utf-8")
        rows = {row["cell"]: row for row in csv.DictReader(io.StringIO(text))}
        assert rows.keys() == {*members["cell"], "without memory"}
        assert float(rows["without memory"]["median"]) == pytest.approx(members["baseline"].iloc[0])
        sign = 1 if members["goal"].iloc[0] == "min" else -1
        for cell, own in members.groupby("cell"):
            own = own.assign(
                cost=(sign * own["valid"]).where(~own["diverged"], sign * own["baseline"])
            )
            rate = own.groupby("optim.lr")["cost"].mean().idxmin()
            best = own[own["optim.lr"] == rate]
            worst = math.inf * sign
            middle = float(np.median(best["value"].where(~best["diverged"], worst)))
            row = rows[cell]
            assert int(row["n"]) == len(best)
            assert float(row["params"]) == best["params"].median()
            assert float(row["solved"]) == pytest.approx(best["solved"].astype(float).mean())
            assert float(row["diverged"]) == pytest.approx(own["diverged"].mean())
            assert float(row["median"]) == pytest.approx(middle)
            assert float(row["best"]) == pytest.approx(best.loc[best["cost"].idxmin(), "value"])
            assert float(row["steps_per_s"]) == pytest.approx(best["steps_per_s"].median())
            assert float(row["median_low"]) <= middle <= float(row["median_high"])
            low, high = stats.binomtest(int(own["diverged"].sum()), len(own)).proportion_ci()
            assert (float(row["diverged_low"]), float(row["diverged_high"])) == pytest.approx(
                (low, high)
            )


def test_the_leaderboard_is_in_the_order_of_what_was_reached(runs):
    for task, order in (("adding", 1), ("xml", -1)):
        table = board(runs, task)
        medians = [
            entry.value
            for name, entry in entries(table, "median").items()
            if name != "without memory"
        ]
        assert medians == sorted(medians, reverse=order < 0)


def test_never_reached_is_said_and_not_averaged(runs):
    table = board(runs)
    assert entries(table, "steps_to_target")["tanh"].text == "not reached"
    assert entries(table, "steps_to_target")["tanh"].aside == "0/6"


def test_bold_is_the_best_and_marked_what_cannot_be_told_from_it(runs):
    """lstm_b is best; lstm overlaps with it and is undecided, not equal; tanh is far behind."""
    adding = runs[runs["task"] == "adding"]
    scores = {
        "lstm": [0.20, 0.22, 0.24, 0.19, 0.21],
        "lstm_b": [0.19, 0.21, 0.22, 0.20, 0.20],
        "tanh": [0.8, 0.9, 0.85, 0.95, 0.9],
    }
    table = scoreboard.by_cell(Results(study(scored(adding, scores), None)))
    bold, marks = told(table, "adding", "bold"), told(table, "adding", "mark")
    assert {cell for cell, yes in bold.items() if yes} == {"lstm_b"}
    assert {cell: mark for cell, mark in marks.items() if mark} == {"lstm": "?"}
    assert entries(table, "adding")["lstm"].value == pytest.approx(np.median(scores["lstm"]))
    upside_down = scored(adding, scores, goal="max")
    table = scoreboard.by_cell(Results(study(upside_down, None)))
    assert {cell for cell, yes in told(table, "adding", "bold").items() if yes} == {"tanh"}
    assert not any(told(table, "adding", "mark").values())


def test_equal_to_the_best_is_what_is_shown_to_be(runs):
    """Ten runs each that differ by 1 %: within the margin of 5 %. Five are too few to show it."""
    adding = runs[runs["task"] == "adding"]
    alike = np.linspace(0.995, 1.005, 6)
    scores = {"lstm": 0.2 * alike, "lstm_b": 0.2002 * alike, "tanh": 0.3 * alike[:4]}
    table = scoreboard.by_cell(Results(study(scored(adding, scores), None)))
    marks = told(table, "adding", "mark")
    assert marks["lstm_b"] == "≈" and marks["tanh"] == ""


def test_cells_all_of_whose_runs_are_worse_are_not_equal_to_the_best(tmp_path, quick):
    """As in an overview of many cells with seven runs each, on a score that spans decades."""
    rng = np.random.default_rng(2)
    names = [f"cell{k:02}" for k in range(20)]
    rows = [
        {"cell": name, "seed": seed, "value": rng.lognormal(-2 if k else -7, 0.4)}
        for k, name in enumerate(names)
        for seed in range(7)
    ]
    frame = pd.DataFrame(rows).assign(
        task="adding", goal="min", metric="mse", baseline=1 / 6, status="finished", diverged=False
    )
    frame = frame.assign(id=frame.index.astype(str), valid=frame["value"])
    found = compare.with_best(study(frame, None))
    assert {f.y.cell for f in found} == {Variant("cell00")} and len(found) == 19
    assert {f.verdict for f in found} == {"worse"}


def test_forget_bias_rows_stand_beside_their_cell(runs):
    table = scoreboard.by_cell(Results(study(runs, None)))
    assert [[line.row.cell.label for line in lines] for _, lines in table.groups] == [
        ["lstm", "lstm_b", "lstm_f"],
        ["tanh"],
    ]
    assert entries(table, "forget_bias")["lstm_b"].text == "1"


@pytest.mark.parametrize(
    ("goal", "verdicts"), [("min", ("better", "worse")), ("max", ("worse", "better"))]
)
def test_verdicts_know_the_direction(runs, goal, verdicts):
    scores = {
        "lstm": [0.5, 0.52, 0.49, 0.51, 0.5],
        "lstm_b": [0.2, 0.22, 0.19, 0.21, 0.2],
        "tanh": [0.8, 0.82, 0.79, 0.81, 0.8],
    }
    asked = study(scored(runs[runs["task"] == "adding"], scores, goal=goal), None)
    found = compare.with_baseline(asked)
    assert tuple(f.verdict for f in found) == verdicts
    assert all(f.family == 2 for f in found)
    assert [f.shift.value for f in found] == pytest.approx([-0.3, 0.3])
    assert all(f.p < 0.02 for f in found)


def test_below_five_runs_nothing_is_claimed(runs, quick):
    few = runs[runs["seed"] < 4]
    text = report_of(few)["report.md"]
    assert "Below 5 runs a side no significance is claimed" in text
    assert "everything rests on fewer than 5 runs" in text
    assert not re.search(r"\| \*\*(worse|better)\*\*|≈|< 0\.001|Worse than|Better than", text)
    assert all(math.isnan(f.p) and not f.verdict for f in compare.with_baseline(study(few, None)))


def test_a_diverged_run_counts_as_the_worst(runs):
    """Its recorded score, a good one from before, counts for nothing."""
    scores = {
        "lstm": [0.5, 0.52, 0.49, 0.51, 0.5, 0.53],
        "lstm_b": [0.01, 0.6, 0.61, 0.62, 0.63, 0.64],
    }
    frame = scored(runs[runs["task"] == "adding"], scores)
    lost = frame.index[(frame["cell"] == "lstm_b") & (frame["value"] == 0.01)]
    frame.loc[lost, ["diverged", "status", "reason"]] = [
        True,
        "diverged",
        "loss not finite at step 7",
    ]
    (found,) = compare.with_baseline(study(frame, None))
    assert found.verdict == "worse" and found.chance.value == 0 and found.p < 0.01
    table = entries(against.against(Variant("adding"), [found], "lstm"), "n")
    assert table["lstm_b"].aside == "1 diverged"


def test_the_seed_that_chose_the_setting_is_in_no_number(runs):
    """A search on seed 500, then six new seeds at what it chose; a grid over all seeds has none."""
    own = runs[(runs["task"] == "adding") & (runs["cell"] == "lstm")].copy()
    own.loc[:, ["valid", "diverged"]] = [0.5, False]
    own.loc[own["optim.lr"] == 0.05, "valid"] = 0.1
    grid = selection.sample(LSTM, own)
    assert len(grid.best) == 6 and not grid.chose
    searched = own[(own["optim.lr"] == 0.05) | (own["seed"] == 0)]
    found = selection.sample(LSTM, searched)
    assert sorted(found.best["seed"]) == [1, 2, 3, 4, 5]
    assert found.chose == tuple(own.loc[(own["optim.lr"] == 0.05) & (own["seed"] == 0), "id"])


def test_a_trial_with_a_seed_of_its_own_is_in_no_number_either(runs):
    """The two best settings of a search with six new seeds each: these and the trial chose."""
    own = runs[(runs["task"] == "adding") & (runs["cell"] == "lstm")].copy()
    own = own[own["optim.lr"].isin([0.005, 0.05])]
    own.loc[:, ["valid", "diverged"]] = [0.5, False]
    own.loc[own["optim.lr"] == 0.05, "valid"] = 0.1
    found = own.groupby("optim.lr").head(1)
    found = found.assign(seed=[1000, 1001], id=found["id"] + "-trial", valid=0.05)
    every = pd.concat([own, found], ignore_index=True)
    assert len(selection.sample(LSTM, every).best) == 7
    told = selection.sample(LSTM, every, {1000, 1001})
    assert sorted(told.best["seed"]) == [0, 1, 2, 3, 4, 5]
    assert told.chose == tuple(found.loc[found["optim.lr"] == 0.05, "id"])
    alone = selection.sample(LSTM, found.reset_index(drop=True), {1000, 1001})
    assert alone.by == "trials"


def test_validation_chooses_and_test_is_reported(runs):
    """A setting that happens to do well on test data is not chosen for it."""
    own = runs[(runs["task"] == "adding") & (runs["cell"] == "lstm")].copy()
    slow = own["optim.lr"] == 0.005
    own.loc[slow, ["valid", "value", "diverged"]] = [0.5, 0.1, False]
    own.loc[~slow, ["valid", "value", "diverged"]] = [0.4, 0.9, False]
    found = selection.sample(LSTM, own)
    assert found.setting == {"optim.lr": 0.05}
    assert list(found.scores) == [0.9] * 6


def test_a_lucky_run_does_not_stand_for_a_setting(runs):
    own = runs[(runs["task"] == "adding") & (runs["cell"] == "lstm")].copy()
    own.loc[:, ["valid", "diverged"]] = [0.5, False]
    lucky = own.index[own["optim.lr"] == 0.05]
    own.loc[lucky[0], "valid"] = 0.0
    assert selection.sample(LSTM, own.drop(lucky[1:])).setting == {"optim.lr": 0.005}


def tried(rates, valid, **columns):
    """A search on one seed: a run a rate, their validation scores, and ids that say nothing."""
    known = {"status": "finished", "goal": "max", "metric": "accuracy", "diverged": False}
    rows = {"optim.lr": rates, "valid": valid, "value": valid, "seed": 500, "baseline": 0.5}
    ids = [f"{7 * k % 5}{rate}" for k, rate in enumerate(rates)]
    return pd.DataFrame(known | rows | columns | {"id": ids})


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
@pytest.mark.parametrize(
    ("valid", "chosen"),
    [
        ((1, 1, 1, 1, 1), 0.004),
        ((0.5, 1, 1, 1, 0.5), 0.004),
        ((0.5, 0.5, 1, 1, 1), 0.016),
        ((0.5, 1, 1, 1, 1), 0.004),  # of two in the middle the one nearer the middle of all
        ((1, 1, 0.5, 0.5, 0.5), 0.001),
        ((0.5, 0.5, 0.5, 1, 1), 0.016),
        ((0.5, 0.5, 0.5, 0.9, 1), 0.064),
    ],
)
def test_of_settings_that_did_equally_well_the_middle_one_is_chosen(valid, chosen, order):
    """Whatever their order and ids; also where every setting has two seeds."""
    one = tried((0.00025, 0.001, 0.004, 0.016, 0.064), valid).iloc[list(order)]
    two = pd.concat([one, one.assign(seed=501, id=one["id"] + "b")])
    for frame in (one, two):
        found = selection.sample(LSTM, frame.reset_index(drop=True))
        assert found.setting == {"optim.lr": chosen}
    assert selection.ranked(one).index[0] == one.index[one["optim.lr"] == chosen][0]


def test_runs_that_end_at_their_target_did_equally_well():
    rates, valid = (0.001, 0.003, 0.01, 0.03), (0.5, 0.99, 0.995, 1.0)
    for ends, chosen in ((True, 0.01), (False, 0.03)):
        frame = tried(rates, valid, target=0.99, **{"train.stop_at_target": ends})
        assert selection.sample(LSTM, frame).setting == {"optim.lr": chosen}
    missed = tried(rates, (0.5, 0.9, 0.95, 0.98), target=0.99, **{"train.stop_at_target": True})
    assert selection.sample(LSTM, missed).setting == {"optim.lr": 0.03}
    lower = tried(rates, (0.5, 0.01, 0.02, 0.03), target=0.05, **{"train.stop_at_target": True})
    assert selection.sample(LSTM, lower.assign(goal="min")).setting == {"optim.lr": 0.01}


def test_what_lies_beyond_the_target_is_reported():
    """The choice of a setting passes over it, the scores do not: nor which seed did best."""
    ends = {"target": 0.9, "train.stop_at_target": True}
    search = tried((0.001, 0.003, 0.01), (0.92, 0.96, 0.98), **ends)
    assert list(bounded(search)) == [0.92, 0.96, 0.98]
    seeds = tried((0.003, 0.003, 0.003), (0.92, 0.98, 0.96), **ends).assign(seed=[0, 1, 2])
    found = selection.sample(LSTM, seeds)
    assert list(found.scores) == [0.92, 0.98, 0.96] and found.score == 0.98


def test_what_diverges_is_worth_what_ignorance_scores(runs):
    own = runs[(runs["task"] == "adding") & (runs["cell"] == "lstm")].copy()
    slow = own["optim.lr"] == 0.005
    own.loc[slow, ["valid", "diverged"]] = [0.1, False]
    own.loc[~slow, ["valid", "diverged"]] = [0.001, True]
    assert selection.sample(LSTM, own).setting == {"optim.lr": 0.005}


@pytest.mark.parametrize(
    ("trials", "kept"), [(200, 20), (60, 6), (50, 5), (40, 10), (8, 2), (2, 1), (1, 1)]
)
def test_the_best_trials_are_a_tenth_or_a_quarter(trials, kept):
    assert selection.best_trials(trials) == kept


def test_a_search_with_one_run_per_setting_rests_on_its_best_trials(tmp_path, quick):
    rates = tuple(np.geomspace(1e-4, 1e-2, 24).tolist())
    frame = load(make_study(tmp_path / "search", ("lstm", "gru"), ("adding",), (0,), rates))
    found = study(frame, None).samples[Result(Variant("adding"), Variant("gru"))]
    assert (found.by, len(found.best), found.tried) == ("trials", 6, 24)
    assert (
        found.chosen
        == frame[(frame["cell"] == "gru") & ~frame["diverged"]].sort_values("valid").iloc[0]["id"]
    )
    text = report_of(frame)["report.md"]
    assert "Selected trials are more alike than new runs would be" in text
    assert "6 of 24" in text


def test_a_block_and_more_layers_make_variants_of_a_cell_named_by_what_differs(runs):
    """One layer without a block is the cell; runs of both have rows of their own, and the same
    equations with something else around them are no twins.
    """
    own = runs[(runs["task"] == "adding") & (runs["cell"] == "lstm")]
    other = own.assign(**{"model.layers": 2, "model.block": "residual"})
    wider = own.assign(**{"model.hidden": 99})
    made = twins.once(study(pd.concat([own, other, wider], ignore_index=True), None))
    assert sorted(map(str, made.cells)) == ["lstm", "lstm block=residual layers=2"]
    assert str(made.baseline) == "lstm" and len(made.samples) == 2
    assert str(study(other, None).cells[0]) == "lstm"  # where nothing varies


def test_variants_of_a_task_and_a_cell_have_names_of_their_own(runs):
    frame = runs.copy()
    half = frame["seed"] < 3
    frame.loc[half & (frame["task"] == "adding"), "task.length"] = 50
    frame.loc[half & (frame["cell"] == "tanh"), "cell.init"] = "glorot"
    asked = study(frame, "lstm")
    assert list(map(str, asked.tasks)) == ["adding length=50", "adding length=100", "xml"]
    assert {"tanh init=glorot", "tanh init=orthogonal", "lstm"} <= set(map(str, asked.cells))
    assert asked.tasks[0] == Variant("adding", (("length", 50),))
    assert design.question(asked).endswith(
        "compare with lstm on adding, length 50; adding, length 100; and xml?"
    )


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("train.steps", 4000, ("steps=1000", "steps=4000")),
        ("model.match", "params:900", ("", "match=params:900")),
    ],
)
def test_another_budget_is_another_task(key, value, names, runs):
    """A cell that was given more steps or parameters is not compared with one that was
    given less.
    """
    frame = runs.copy()
    frame.loc[
        (frame["task"] == "adding") & (frame["cell"] == "tanh") & (frame["seed"] < 3), key
    ] = value
    asked = study(frame, "lstm")
    tasks = [f"adding {name}".strip() for name in names]
    assert list(map(str, asked.tasks)) == [*tasks, "xml"]
    assert asked.cells == study(runs, "lstm").cells
    assert {str(of.cell) for of in asked.samples if str(of.task) == tasks[1]} == {"tanh"}


def test_passes_over_the_data_are_a_budget_and_steps_follow_from_them(runs):
    """The same passes over small and large data; more passes over the small."""
    frame = runs[runs["task"] == "adding"].assign(**{"train.epochs": 20, "train.steps": 900})
    small = frame["seed"] < 3
    frame["task.path"] = small.map({True: "small", False: "large"})
    frame.loc[small, "train.steps"] = 60
    names = ["adding path=large", "adding path=small"]
    assert sorted(map(str, study(frame, "lstm").tasks)) == names
    frame.loc[frame["seed"] < 1, ["train.epochs", "train.steps"]] = 40, 120
    assert len(study(frame, "lstm").tasks) == 3
    assert sorted(map(str, study(frame, "lstm", {"train.epochs"}).tasks)) == names


def test_the_baseline_is_lstm_or_the_first_or_the_one_asked_for(runs):
    assert study(runs, None).baseline == Variant("lstm")
    assert study(runs[runs["cell"] != "lstm"], None).baseline == Variant("lstm_b")
    assert list(map(str, study(runs, "tanh").cells)) == ["tanh", "lstm", "lstm_b", "lstm_f"]
    biased = runs.assign(**{"cell.forget_bias": runs["seed"] % 2})
    assert str(study(biased, "tanh").baseline) == "tanh forget_bias=0"
    assert str(study(biased, "tanh forget_bias=1").baseline) == "tanh forget_bias=1"
    with pytest.raises(UserError, match="did you mean 'tanh'"):
        study(runs, "tahn")


def test_the_runs_of_a_study_of_ours_have_its_baseline(tmp_path, monkeypatch):
    asked = []

    def noted(frame, baseline, *others):
        asked.append(baseline)
        return selection.study(frame, baseline, *others)

    monkeypatch.setattr(render, "study", noted)
    cells = ("lstm", "lstm_vanilla")
    for name in ("odyssey", "mine"):
        place = make_study(tmp_path / name, cells, ("chorales",), (1000, 1001), (1e-3,))
        write_report([str(place)])
    assert asked == ["lstm_vanilla", None]


def test_no_runs_are_an_error(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        write_report([str(tmp_path)])
    with pytest.raises(UserError, match="a report needs a place"):
        write_report([])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "keep",
    [
        pytest.param(lambda f: f.iloc[:1], id="one run"),
        pytest.param(
            lambda f: f[(f["cell"] == "tanh") & (f["task"] == "xml")], id="one cell, one task"
        ),
        pytest.param(lambda f: f[f["task"] == "adding"], id="one task"),
        pytest.param(lambda f: f[(f["cell"] == "lstm") | (f["seed"] < 2)], id="unequal n"),
        pytest.param(
            lambda f: f[(f["cell"] != "lstm") | (f["task"] == "xml")],
            id="baseline missing on a task",
        ),
        pytest.param(
            lambda f: f.assign(status="diverged", diverged=True, reason="loss not finite"),
            id="all diverged",
        ),
        pytest.param(
            lambda f: f.assign(status="failed", reason="Traceback\n  RuntimeError: out of memory"),
            id="all failed",
        ),
        pytest.param(lambda f: f.assign(value=math.nan), id="no score is a number"),
        pytest.param(lambda f: f.assign(value=0.5, valid=0.5), id="all alike"),
        pytest.param(
            lambda f: f.assign(target=math.nan, solved=pd.NA, solved_at=math.nan), id="no target"
        ),
        pytest.param(
            lambda f: f.assign(baseline=math.nan, params=math.nan, steps_per_s=math.nan),
            id="little recorded",
        ),
    ],
)
def test_honest_edges(runs, keep, quick):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = report_of(keep(runs).copy())
    checked(files)
    assert all(run in files["runs.html"] for run in keep(runs)["id"])
    assert not re.search(r"\bnan\b|\bNone\b|<NA>|\binf\b", files["report.md"])
    parts = re.split(r"^### .+$", files["report.md"], flags=re.MULTILINE)[1:]
    assert all(part.strip() for part in parts)  # no heading without something under it


def test_what_went_wrong_is_listed_with_reasons(runs, quick):
    frame = runs.copy()
    frame.loc[frame.index[0], ["status", "reason"]] = [
        "failed",
        "Traceback (most recent call last):\n  File x\nRuntimeError: out of memory\n",
    ]
    asked = study(frame, None)
    task = Variant(frame["task"].iloc[0])
    reasons = entries(outcomes.failed(asked, task), "reason")
    assert {run: entry.text for run, entry in reasons.items()} == {
        frame["id"].iloc[0]: "RuntimeError: out of memory"
    }
    ended = frame[frame["status"] != "failed"]
    wanted = ended.groupby(["task", "cell"])["diverged"].agg(["sum", "size"])
    for name in ("adding", "xml"):
        counts = entries(outcomes.diverged(asked, Variant(name)), "diverged")
        assert {cell: entry.text for cell, entry in counts.items()} == {
            cell: f"{row['sum']}/{row['size']}"
            for (of, cell), row in wanted.iterrows()
            if of == name and row["sum"]
        }
    (never,) = outcomes.never_solved(asked, Variant("adding"))
    assert never == "Never solved, whatever the setting: lstm_f and tanh."
    assert frame["id"].iloc[0] in report_of(frame)["report.md"]


def test_hostile_names_are_text(runs, quick):
    frame = runs[runs["seed"] < 2].copy()
    frame.loc[frame["cell"] == "tanh", ["cell", "cell.name"]] = HOSTILE
    frame.loc[frame["task"] == "xml", ["task", "task.name"]] = HOSTILE
    frame["study"] = frame["reason"] = frame["command"] = HOSTILE
    files = report_of(frame)
    found = checked(files)
    assert HOSTILE in "".join(found["index.html"].words)
    for name in found:
        scripts = re.findall(r"<script[^>]*>", files[name])
        ours = ("<script>", '<script src="vega.js" defer>', '<script type="application/json">')
        assert set(scripts) <= set(ours) and scripts.count("<script>") == 1
    assert "<script>" not in re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", files["report.md"])
    for name, text in files.items():
        assert re.fullmatch(r"[\w.\-/]+", name)
        if name.endswith(".tex"):
            body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
            assert not re.search(
                r"(?<!\\)[%#$_](?![-\\])|<|>|\"", re.sub(r"\$[^$]*\$", "", body.replace(r"\$", ""))
            )
            assert body.count("{") == body.count("}") or r"\{" in body


def test_every_writer_says_the_same():
    bounded = Format(lambda of: Entry("−1.5e−5", of, "[−2, 3]", (-2.0, 3.0)))
    columns = [
        Column("cell", lambda row: row[0], TEXT, link=lambda row: "runs.html#x"),
        Column("mse", lambda row: row[1], bounded, "↓", bold=lambda _: True, mark=lambda _: "†"),
        Column("c", lambda row: row[2], CODE),
        Column("more", lambda row: 1.0, NUMBER, wide=True),
    ]
    table = Table("t", "Scores. In 100 % of cases", columns, [("a_b|c", -1.5e-5, "rm `x`")])
    assert writers.csv_text(table) == (
        "cell,mse,mse_low,mse_high,c,more\na_b|c,-1.5e-05,-2,3,rm `x`,1\n"
    )
    assert (
        writers.markdown(table).splitlines()[-1]
        == r"| a_b\|c | **−1.5e−5**† \[−2, 3\] | `` rm `x` `` | 1 |"
    )
    text = writers.latex(table)
    assert text.startswith("% Scores. In 100 % of cases\n")
    assert (
        r"a\_b\textbar{}c & \textbf{$-$1.5$\cdot 10^{-5}$}\textsuperscript{\dag{}} {\scriptsize "
        r"[$-$2, 3]} & \texttt{rm" in text
    )
    assert "more" not in text  # narrow enough for a column
    text = str(writers.html(table))
    assert '<th scope="row" class="text"><a href="runs.html#x">a_b|c</a></th>' in text
    assert (
        '<td class="number" data-v="-1.5e-05"><b>−1.5e−5</b><sup>†</sup> <span '
        'class="aside">[−2, 3]</span></td>' in text
    )


def test_sources_become_bibtex():
    text = bibtex.bibtex(
        [
            "Gers & Schmidhuber (2000), Recurrent nets that time and count; drawn with {braces}",
            "Greff et al. (2017), LSTM: a search space odyssey, variant V",
            "Elman (1990), Finding structure in time.",
            "Elman (1990)",
            "nothing",
        ]
    )
    assert re.findall(r"@misc{(.+),", text) == ["elman1990", "gers2000", "greff2017"]
    assert "author = {Gers and Schmidhuber}" in text and "author = {Greff and others}" in text
    assert "title = {{Finding structure in time}}" in text
    assert "{braces}" not in text and text.count("{") == text.count("}")


def test_labels_are_words_and_files_can_be_typed():
    task = Variant("memorize", (("match", "params:9000"), ("length", 50)))
    assert task.label == "memorize, 9,000 parameters, length 50"
    assert str(task) == "memorize match=params:9000 length=50"
    assert task.slug == "memorize-match-params-9000-length-50"
    assert Variant("x", (("steps", 1500), ("permute", True))).label == "x, 1,500 steps, permute"
    odd = [Variant("a", (("b", -1),)), Variant("a", (("b", 1),)), Variant("A-b", ()), Variant("ü")]
    assert len({one.slug for one in odd}) == len(odd)
    assert all(re.fullmatch(r"[a-z0-9_.\-]+", one.slug) for one in odd)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "–"),
        (None, "–"),
        (0.0, "0"),
        (0.123456, "0.1235"),
        (-0.5, "−0.5"),
        (1234567.0, "1,234,567"),
        (12345.6, "12,346"),
        (1.234e-7, "1.234e−7"),
        (math.inf, "∞"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


def test_p_values_are_short():
    assert [probability(p) for p in (0.0004, 0.0312, 0.5, math.nan)] == [
        "< 0.001",
        "0.031",
        "0.50",
        "–",
    ]


def test_anchors_of_different_names_differ():
    names = [("a", "b"), ("a--b",), ("a_b",), ("a b",), ("a", "b c"), ("a b", "c"), ("ü",), ("u",)]
    # two dashes join, and few names have any
    assert len({anchor(*name) for name in names}) >= len(names) - 1
    assert all(re.fullmatch(r"[\w\-]+", anchor(*name)) for name in names)


def test_sources_are_read_without_importing():
    assert sources.of_cell("nfg", "rnnbench.cells.odyssey.nfg").source.startswith("Greff")
    assert sources.of_cell("lstm_b", "rnnbench.cells.lstm.lstm").source.startswith("Jozefowicz")
    assert sources.of_task("rnnbench.tasks.adding.Adding").summary.startswith(
        "Add the two marked numbers"
    )
    assert sources.family("rnnbench.cells.gru.gru") == "Gated recurrent units"
    assert sources.family("mine.py:cell") == "Own cells"
    assert sources.of_cell("x", "rnnbench.nowhere.x").summary == ""


def test_the_bibliography_names_what_occurs(runs):
    found = entries(bibliography.bibliography(study(runs, None)), "source")
    assert found.keys() == {"lstm", "lstm_b", "lstm_f", "tanh", "adding", "xml"}
    assert all(entry.text != "–" for entry in found.values())


def test_published_numbers_say_whether_they_were_seen(runs):
    (table,) = published.parts(Results(study(runs, None)), Variant("xml"))
    seen = {column(table, "verified").entry(row).text for row in table.rows}
    assert seen <= {"in the paper", published.REMEMBERED} and "memory" in published.REMEMBERED
    assert not list(published.parts(Results(study(runs, None)), Variant("adding")))


def test_nothing_remembered_is_told_as_certain(runs, monkeypatch):
    (table,) = published.parts(Results(study(runs, None)), Variant("xml"))
    row = table.rows[0]
    guess = dataclasses.replace(row.found, verified=False)
    made = published.published_table(Variant("xml"), [dataclasses.replace(row, found=guess)])
    for text in (writers.markdown(made), str(writers.html(made)), writers.latex(made)):
        assert "from memory" in text


def test_cells_without_a_task_in_common_have_no_average_ranks(runs):
    apart = runs[(runs["cell"] == "lstm") == (runs["task"] == "adding")]
    results = Results(study(apart, None))
    assert results.ranks.tasks == 0 and not list(ranks.parts(results))


def test_average_ranks_need_five_tasks(tmp_path):
    tasks = ("adding", "copy", "xml", "memorize", "arithmetic")
    frame = load(make_study(tmp_path / "wide", ("lstm", "gru", "tanh"), tasks, range(5), (0.005,)))
    results = Results(study(frame, None))
    signed = frame["value"] * np.where(frame["goal"] == "min", 1, -1)
    means = signed.groupby([frame["task"], frame["cell"]]).mean()
    expected = means.groupby("task").rank().groupby("cell").mean()
    cells = list(map(str, results.study.cells))
    assert results.ranks.average == pytest.approx(tuple(expected[cells]))
    (drawn,) = ranks.parts(results)
    assert drawn.name == "critical-difference"
    assert [str(cell) for cell in results.cells] == list(expected.sort_values().index)
    (_, drawn) = answer.parts(results)
    assert drawn.name == "answer" and "Rank of each cell" in drawn.caption
    four = Results(study(frame[frame["task"] != "xml"], None))
    assert not list(ranks.parts(four))


def test_importance_is_told_where_two_settings_varied(runs, tmp_path):
    rates = tuple(np.geomspace(1e-4, 1e-2, 24).tolist())
    frame = load(make_study(tmp_path / "search", ("lstm", "gru"), ("adding",), (0,), rates))
    frame["model.hidden"] = frame["optim.lr"].rank(method="dense").astype(int) % 2 * 16 + 16
    task = Variant("adding")
    shares, marginals, table = importance.parts(Results(study(frame, None)), task)
    assert [part.name for part in (shares, marginals, table)] == [
        "importance-adding",
        "marginals-adding",
        "importance-adding",
    ]
    assert entries(table, "optim.lr")["gru"].value > entries(table, "model.hidden")["gru"].value
    few = Results(study(frame[frame["optim.lr"] < 1e-3], None))
    (told,) = importance.parts(few, task)
    assert told.startswith("No shares of variance for ")
    assert told.count("(12 runs; variance is attributed from 20 on)") == 2
    assert not list(importance.parts(Results(study(runs, None)), task))


def test_runs_say_whether_they_count(runs):
    folds = [p for p in every_run.parts(Results(study(runs, None))) if hasattr(p, "heading")]
    assert len(folds) == 8 and folds[0].heading == "adding, lstm: 12 runs"
    counted = entries(folds[0].table, "counts")
    assert sum(entry.value == "yes" for entry in counted.values()) == 6


def test_what_is_dear_is_computed_once(runs, monkeypatch):
    """Sections are handed what was selected; none selects or compares for itself."""
    calls = []
    real = compare.with_best
    monkeypatch.setattr(compare, "with_best", lambda asked: calls.append(1) or real(asked))
    results = Results(study(runs, None))
    list(every(pages(results)))
    assert len(calls) == 1


def test_names_in_records_reach_no_file_system(runs):
    assert json.dumps(anchor("../../etc/passwd")) == '"_2e__2e__2f__2e__2e__2f_etc_2f_passwd"'


def test_tensorboard_gets_mean_low_and_high_over_seeds(tmp_path):
    """Read back with TensorBoard's own reader, compared with the curves of the records."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = make_study(tmp_path / "s", ("lstm", "gru"), ("adding",), range(4), (0.005,))
    for _ in range(2):  # the second time in the place of the first
        overseeds.write(folder)
    asked = study(load(folder), None)
    for cell in ("lstm", "gru"):
        best = asked.samples[Result(Variant("adding"), Variant(cell))].best
        assert not best["diverged"].any(), "the case is about runs that went to the end"
        steps = curves(best, ("mse",), "valid").groupby("step")["value"]
        for name, expected in (("mean", steps.mean()), ("low", steps.min()), ("high", steps.max())):
            board = EventAccumulator(str(folder / "over-seeds" / "adding" / cell / name)).Reload()
            shown = [
                (event.step, event.tensor_proto.float_val[0])
                for event in board.Tensors("mse/valid")
            ]
            assert [step for step, _ in shown] == list(expected.index)
            assert [value for _, value in shown] == pytest.approx(list(expected), rel=1e-6)
