"""What a chart shows is what the runs say, in the page and in print; a cell looks the same in all
of them; edges of the data do no harm.
"""

import io
import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import vl_convert
from matplotlib.figure import Figure
from PIL import Image
from synthetic import make_study

from rnnbench import cli, plugins
from rnnbench.catalogue import choices
from rnnbench.charts import across, chart, lines, plots, scales, searches
from rnnbench.charts.chart import SHOWN, draw
from rnnbench.charts.kinds import cost, curves, greff, rates, scores, wins
from rnnbench.charts.style import OURS, PALETTE, style_of, styles
from rnnbench.errors import UserError
from rnnbench.report.results import Results
from rnnbench.runs.frame import curves as read_curves
from rnnbench.runs.frame import load
from rnnbench.runs.records import find
from rnnbench.stats.ranks import improvement
from rnnbench.stats.selection import Result, Variant, costs, study

CELLS = ("lstm", "gru", "nfg", "tanh")
ADDING, COPY = Variant("adding"), Variant("copy")
KINDS = plugins.found("rnnbench.charts.kinds", "CHART")


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    place = make_study(
        tmp_path_factory.mktemp("figures") / "s",
        CELLS,
        ("adding", "copy"),
        range(5),
        (1e-3, 5e-3, 5e-2),
        evaluations=4,
    )
    return load(place)


@pytest.fixture(scope="module")
def results(frame):
    return Results(study(frame, None))


def picked(runs, task=None):
    asked = Results(study(runs, None))
    return asked.picked(task or asked.study.tasks[0])


def spec_data(drawn):
    """Every row in a description."""
    return [row for rows in drawn.spec["datasets"].values() for row in rows]


def channels(node, name):
    """What a description says of a channel, wherever it is encoded."""
    if isinstance(node, dict):
        if isinstance(node.get("encoding"), dict) and name in node["encoding"]:
            yield node["encoding"][name]
        for value in node.values():
            yield from channels(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from channels(value, name)


def test_every_kind_is_found_by_its_folder():
    assert set(KINDS) == {"scores", "curves", "rates", "greff", "cost", "wins"}


def test_scores_are_medians_and_every_run(results):
    data = scores.data(results.picked(ADDING))
    for sample in results.study.of(ADDING):
        own = data[data["cell"] == sample.cell.label]
        assert sorted(own["score"]) == pytest.approx(sorted(sample.best["value"]))
        assert own["median"].iloc[0] == pytest.approx(sample.best["value"].median())
    order = data.drop_duplicates("cell")["median"]
    assert list(order) == sorted(order)  # the best first


def test_learning_curves_are_medians_over_the_best_runs(frame, results):
    data = curves.data(results.picked(ADDING))
    every = read_curves(frame)
    for sample in results.study.of(ADDING):
        own = every[every["id"].isin(sample.best["id"]) & (every["split"] == "valid")]
        wanted = own[own["column"] == "mse"].groupby("step")["value"].median()
        assert not sample.best["diverged"].any()
        line = data[data["cell"] == sample.cell.label]
        assert line["step"].tolist() == wanted.index.tolist()
        assert line["median"].to_numpy() == pytest.approx(wanted.to_numpy())
    drawn = draw("curves", curves.CHART, results.picked(ADDING))
    levels = {row["name"]: row["level"] for row in spec_data(drawn) if "level" in row}
    assert levels == {"without memory": pytest.approx(1 / 6, rel=1e-4), "target": 0.01}
    assert {of["scale"]["type"] for of in channels(drawn.spec, "y") if "scale" in of} == {"log"}
    steps = next(channels(drawn.spec, "x"))["axis"]
    assert steps["tickMinStep"] == 1 and steps["format"] == ",d"


def test_a_diverged_run_is_ignorant_from_then_on_and_a_stopped_one_keeps_its_score():
    best = pd.DataFrame(
        {"id": ["a", "b", "c"], "diverged": [False, True, False], "baseline": 9.0, "metric": "mse"}
    )
    steps = {
        "a": [(1, 5.0), (2, 4.0)],
        "b": [(1, 3.0), (2, math.nan)],
        "c": [(1, 3.0), (2, 2.0), (3, 1.0)],
    }
    points = [
        (run, step, "valid", "mse", value) for run, pairs in steps.items() for step, value in pairs
    ]
    sample = type("Sample", (), {"best": best, "goal": "min", "metric": "mse"})
    found = curves.aligned(
        sample, pd.DataFrame(points, columns=["id", "step", "split", "column", "value"])
    )
    assert (
        found["a"].tolist() == [5, 4, 4]
        and found["b"].tolist() == [3, 9, 9]
        and found["c"].tolist() == [3, 2, 1]
    )
    best["baseline"] = math.nan
    found = curves.aligned(
        sample, pd.DataFrame(points, columns=["id", "step", "split", "column", "value"])
    )
    assert found["b"].tolist() == [3, 5, 5]


def test_rate_response_has_a_median_per_rate_and_a_point_per_run(frame, results):
    data = rates.data(results.picked(ADDING))
    runs = frame[frame["task"] == "adding"].copy()
    runs["score"] = runs["value"].where(~runs["diverged"], 1 / 6)
    middles = rates.pooled(data)
    for cell in CELLS:
        own = runs[runs["cell"] == cell]
        line = middles[middles["cell"] == cell]
        assert line["rate"].to_numpy() == pytest.approx([1e-3, 5e-3, 5e-2])
        wanted = own.groupby("optim.lr")["score"].median()
        assert line["median"].to_numpy() == pytest.approx(wanted.to_numpy())
        lost = data[(data["cell"] == cell) & (data["run"] == "diverged")]
        assert len(lost) == own["diverged"].sum() and (lost["score"] == 1 / 6).all()
    assert rates.data(picked(frame[frame["optim.lr"] == 1e-3])) is None


def test_many_rates_are_pooled(frame):
    runs = frame[(frame["task"] == "copy") & (frame["cell"] == "gru")].copy()
    runs["optim.lr"] = np.geomspace(1.01e-4, 0.99e-1, len(runs))
    assert len(rates.pooled(rates.data(picked(runs)))) == 9


def test_greff_shows_quartiles_the_full_range_means_and_medians(frame, results):
    data = greff.data(replace(results.picked(ADDING), apart=frozenset({Variant("nfg")})))
    runs = frame[frame["task"] == "adding"]
    for cell in CELLS:
        own = runs[runs["cell"] == cell]
        tenth = max(round(len(own) / 10), 2)
        best = own.loc[costs(own, "min").sort_values(kind="stable").index[:tenth]]
        for of, chosen in ((greff.ALL, own), (greff.BEST, best)):
            memoryless = chosen["baseline"]
            kept = chosen["value"].mask(chosen["diverged"], memoryless).clip(upper=memoryless)
            (row,) = data[(data["cell"] == cell) & (data["of"] == of)].to_dict("records")
            box = [row[key] for key in ("low", "q25", "median", "q75", "high")]
            assert box == pytest.approx(np.percentile(kept, (0, 25, 50, 75, 100)))
            assert row["mean"] == pytest.approx(kept.mean())
            assert (row["n"], row["diverged"]) == (len(chosen), chosen["diverged"].sum())
            assert row["apart"] == (cell == "nfg")
    assert greff.data(picked(frame[frame["optim.lr"] == 1e-3])) is None  # nothing was searched


def test_cost_is_arithmetic_and_the_front_is_marked(results):
    data = cost.data(results.picked(COPY)).set_index("cell")
    for sample in results.study.of(COPY):
        best = sample.best[~sample.best["diverged"]]
        wanted = (best["params"] * best["train.batch"] * best["steps"]).median()
        assert data.loc[sample.cell.label, "cost"] == wanted
    points = {"a": (1, 5), "b": (2, 4), "c": (2, 6), "d": (3, 4), "e": (9, 1)}
    assert cost.undominated(points, "min") == ["a", "b", "e"]
    assert cost.undominated(points, "max") == ["a", "c"]


def test_wins_are_those_of_every_pair(results):
    data = wins.data(results.picked(ADDING)).set_index(["cell", "other"])
    assert len(data) == len(CELLS) * (len(CELLS) - 1)
    for x, y in (("gru", "tanh"), ("tanh", "gru")):
        one, other = (results.study.samples[Result(ADDING, Variant(cell))] for cell in (x, y))
        found = improvement(one.scores, other.scores, "min")
        row = data.loc[(x, y)]
        assert list(row) == pytest.approx([found.value, found.low, found.high], abs=1e-9)


def test_importance_has_a_panel_per_cell(results):
    cells = chart.dressed(Variant(cell) for cell in CELLS[:3])
    rows = [
        (c, p, m, 0.01, 40, 0.8)
        for c, ms in zip(CELLS, ((0.9, 0.05), (0.7, 0.2), (0.95, 0.01)), strict=False)
        for p, m in zip("ab", ms, strict=True)
    ]
    table = pd.DataFrame(rows, columns=["cell", "parameter", "mean", "std", "n", "r2"])
    drawn = searches.importance(ADDING, table, cells)
    assert {(row["cell"], row["parameter"]): row["mean"] for row in spec_data(drawn)} == {
        (c, p): m for c, p, m, *_ in rows
    }
    rows = [
        (c, "optim.lr", "log", 10.0**-k, k + shift, 0.1)
        for shift, c in enumerate(CELLS[:2])
        for k in range(5)
    ]
    rows += [(c, "schedule", "levels", of, 0.5, 0.1) for c in CELLS[:2] for of in ("flat", "null")]
    names = ["cell", "parameter", "scale", "x", "mean", "std"]
    made = pd.DataFrame(rows, columns=names)
    drawn = searches.marginals("marginals", ADDING, made, "test mse", cells)
    rate, schedule = channels(drawn.spec, "x")
    assert rate["scale"]["type"] == "log" and schedule["type"] == "nominal"
    assert b"<svg" in drawn.svg


def test_average_ranks_and_the_critical_difference():
    average = {Variant(name): 1.0 + k for k, name in enumerate(CELLS)}
    drawn = across.ranks(average, 1.5, "Ranks.", chart.dressed(average))
    assert {row["cell"]: row["rank"] for row in spec_data(drawn) if "rank" in row} == {
        name: 1.0 + k for k, name in enumerate(CELLS)
    }
    assert {"low": 1.0, "high": 2.5} in spec_data(drawn)


def test_a_run_whose_curve_is_damaged_is_named_and_left_out(tmp_path):
    place = make_study(tmp_path / "s", ("lstm",), ("adding",), (0, 1), (1e-3,))
    found = find(place)
    (first, _), (second, _) = found
    first.curve_path.write_text("step,split\nx,valid\n")
    with pytest.warns(UserWarning, match=f"no curve to read: {first.curve_path}"):
        drawn = lines.learning(found)
    assert {row["run"] for row in spec_data(drawn) if "run" in row} == {found[1][1]["id"]}
    second.curve_path.unlink()
    with pytest.raises(UserError, match=r"no curve to draw: .*curve\.csv cannot be read"):
        lines.learning(found)


def test_a_cell_looks_the_same_whatever_stands_beside_it(frame):
    pair = frame[frame["cell"].isin(["tanh", "gru"])]
    own = frame[frame["cell"] == "gru"].assign(cell="mine")
    looks = []
    for runs in (pair, pd.concat([pair, own]), frame):
        drawn = draw("curves", curves.CHART, picked(runs, ADDING))
        scale = next(channels(drawn.spec, "color"))["scale"]
        looks.append(dict(zip(scale["domain"], scale["range"], strict=True))["tanh"])
    assert set(looks) == {style_of("tanh").colour}
    assert styles(["mine", "gru"])["mine"] == styles(["tanh", "mine"])["mine"]
    assert list(styles(["c", "a", "b", "a"])) == ["a", "b", "c"]


def test_cells_are_told_apart():
    shipped = [cell for cell in choices("cell") if cell in OURS]
    assert set(shipped) == set(OURS)  # no name is misspelt
    look = styles(shipped)
    assert len({(style.colour, style.dash) for style in look.values()}) == len(shipped)
    assert len({(style.colour, style.marker) for style in look.values()}) == len(shipped)
    plain = styles(["tanh", "lstm", "lstm_b", "gru", "lstm_vanilla", "mut1", "irnn"])
    assert {style.colour for style in plain.values()} == set(PALETTE)
    odyssey = styles(["lstm_vanilla", "np", "nig", "nfg", "nog", "niaf", "noaf", "cifg", "fgr"])
    assert len({style.colour for style in odyssey.values()}) == len(odyssey)
    others = styles(map(str, range(500)))
    assert not set(others.values()) & set(look.values())
    assert len({style.colour for style in others.values()}) > len(PALETTE)


def test_a_style_outlives_the_program():
    """Hashes of names, not Python's own, which differ from one process to the next."""
    told = subprocess.run(
        [sys.executable, "-c", "from rnnbench.charts.style import styles; print(styles(['mine']))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.strip() == str(styles(["mine"]))


def test_what_differs_has_a_colour_of_its_own(tmp_path, monkeypatch):
    """`curves` of one cell with two limits of its gradient, and of another with two biases."""
    monkeypatch.chdir(tmp_path)
    quick = ["debug=tiny", "engine=loop", "train.steps=2", "train.eval_every=1", "study=s"]
    for typed in (
        ["cell=tanh", "optim.clip_norm=1"],
        ["cell=tanh", "optim.clip_norm=null"],
        ["cell=tanh", "optim.clip_norm=1", "seed=1"],
        ["cell=gru"],
    ):
        assert cli.main(["train", "task=adding", *typed, *quick]) == 0
    found = find("results/runs/s")
    assert sorted(one.label for one in lines.names([record for _, record in found])) == [
        "gru",
        "tanh",
        "tanh, clip norm 1",
        "tanh, clip norm 1",
    ]
    scale = next(channels(lines.learning(found).spec, "color"))["scale"]
    drawn = dict(zip(scale["domain"], scale["range"], strict=True))
    assert drawn["gru"] == style_of("gru").colour
    runs = [drawn[name] for name in ("gru", "tanh", "tanh, clip norm 1")]
    assert len(set(runs)) == 3
    variants = styles([f"lstm, forget bias {k}" for k in range(9)])
    assert len({style.colour for style in variants.values()}) == 9
    many = styles([f"lstm, forget bias {k}" for k in range(22)]).values()
    assert len(set(many)) == 22
    assert set(Counter(style.colour for style in many).values()) == {2}


def test_bounded_scores_stand_on_linear_axes(frame):
    runs = frame[frame["task"] == "adding"].assign(goal="max", metric="accuracy", target=0.99)
    runs["value"] = np.linspace(0.01, 1, len(runs))
    asked = picked(runs)
    points = read_curves(frame[frame["task"] == "adding"], ("mse",), "valid")
    points = points.assign(column="accuracy", value=np.linspace(0.01, 1, len(points)))
    for name, kind in KINDS.items():
        drawn = draw(name, kind, replace(asked, curves=points))
        for of in [*channels(drawn.spec, "x"), *channels(drawn.spec, "y")]:
            if "accuracy" in str(of.get("title")):
                assert of["scale"]["type"] == "linear", name
    assert scales.fit({"gru": [0.01, 1]}, [], [], "max").kind == "linear"
    assert scales.fit({"gru": [0.01, 1]}, [], [], "min").kind == "log"


@pytest.mark.parametrize("ends", [(0, 1), (0, 3), (4, 4), (0, 10), (0, 12), (100, 2000)])
def test_steps_are_whole(ends):
    axes = Figure().subplots()
    axes.plot(ends, (0, 1))
    scales.whole(axes.xaxis)
    ticks = axes.get_xticks()
    assert len(ticks) and all(float(tick).is_integer() for tick in ticks)


def exploding(loss, goal="min", baseline=(3.0,)):
    """The axis of two curves of which one explodes."""
    lines = {"lstm": [2.9, 2.0, 1.8], "relu": [2.9, loss, None]}
    return scales.fit(lines, [1.5], baseline, goal)


def test_a_curve_that_explodes_does_not_hide_the_others():
    axis = exploding(1e8)
    assert axis.kind == "linear" and axis.high == 6 and 1 < axis.low < 1.5
    assert "twice the memoryless baseline" in axis.note
    assert "relu" in axis.note and "lstm" not in axis.note
    for axis in (exploding(5.9), exploding(1e8, baseline=[None])):
        assert axis.high is None and axis.note == ""
    assert exploding(1e8, baseline=[1e-3]).note == ""  # no curve would be left


def test_curves_of_single_runs_are_described_like_every_chart():
    """A colour a cell, a line a run, whole steps, no accuracy on a logarithmic axis; a run's own
    places and the memoryless baseline beside it.
    """
    found = [
        lines.Curve(
            cell, "copy", "task.length", "accuracy", "max", 10, 0.99, [5, 10, 200], s, [0.1] * 3
        )
        for cell, s in (("lstm", [1, 0.9, 0.01]), ("gru", [1, 1, 0.4]), ("gru", [1, 1, 0.5]))
    ]
    drawn = lines.generalisation(found)
    (y, *_) = [c for c in channels(drawn.spec, "y") if "accuracy" in str(c.get("title"))]
    assert y["scale"]["type"] == "linear"
    (x, *_) = channels(drawn.spec, "x")
    assert x["scale"]["type"] == "log" and x["axis"]["values"] == [5, 10, 200]
    colours = next(c for c in channels(drawn.spec, "color"))["scale"]
    assert dict(zip(colours["domain"], colours["range"], strict=True)) == {
        cell: style_of(cell).colour for cell in ("gru", "lstm")
    }
    assert {(row["cell"], row["run"]) for row in spec_data(drawn) if "run" in row} == {
        ("lstm", "0"),
        ("gru", "1"),
        ("gru", "2"),
    }
    assert b"dashed: without memory, dotted: target" in drawn.svg


def test_the_caption_says_that_a_curve_leaves_the_picture(frame, results):
    asked = results.picked(ADDING)
    lost = asked.curves.copy()
    far = lost["id"].isin(frame[frame["cell"] == "tanh"]["id"])
    lost.loc[far, "value"] = 1e8
    drawn = draw("curves", curves.CHART, replace(asked, curves=lost))
    assert "The axis ends at twice" in drawn.caption and "tanh." in drawn.caption
    assert next(channels(drawn.spec, "y"))["scale"]["domain"][1] == pytest.approx(2 / 6)
    assert "The axis ends" not in draw("curves", curves.CHART, asked).caption


def many(frame, number=31):
    some = frame[(frame["task"] == "copy") & (frame["cell"] == "gru")]
    return pd.concat([some.assign(cell=f"cell{k:02}") for k in range(number)])


def test_a_dozen_cells_are_drawn_and_the_rest_is_a_click_away(frame):
    asked = picked(many(frame))
    drawn = draw("scores", scores.CHART, asked)
    assert len(drawn.cells) == 31 and "12 of 31 cells" in drawn.caption
    (shown,) = [param for param in drawn.spec["params"] if param["name"] == "shown"]
    assert shown["value"] == [cell.label for cell in asked.cells][:SHOWN]
    text = ET.fromstring(drawn.svg)
    words = {node.text for node in text.iter() if node.tag.endswith("text")}
    assert len(words & {cell.label for cell in asked.cells}) == SHOWN
    assert len({row["cell"] for row in spec_data(drawn) if "cell" in row}) == 31


def test_one_description_makes_every_file(results):
    drawn = draw("curves", curves.CHART, results.picked(ADDING))
    again = draw("curves", curves.CHART, results.picked(ADDING))
    assert drawn.svg == again.svg and drawn.png == again.png and drawn.text == again.text
    assert b"<text" in drawn.svg  # text can be searched
    assert Image.open(io.BytesIO(drawn.png)).width > 600
    assert drawn.pdf.startswith(b"%PDF")
    assert json.loads(drawn.text) == json.loads(json.dumps(drawn.spec))
    vega = vl_convert.vegalite_to_vega(dict(drawn.spec))
    assert {signal["name"] for signal in vega["signals"]} >= {"shown"}


def edges(frame):
    """Tables that a study can end with."""
    some = frame[frame["task"] == "copy"]
    yield "one cell", some[some["cell"] == "gru"]
    yield "one run", some.head(1)
    yield "all diverged", some.assign(diverged=True, status="diverged")
    yield "no score", some.assign(value=np.nan, valid=np.nan)
    yield (
        "no score and no baseline",
        some.assign(value=np.nan, valid=np.nan, baseline=np.nan, target=np.nan, solved=pd.NA),
    )
    yield "some NaN", some.assign(value=some["value"].where(some["seed"] > 1))
    yield "unequal n", some.iloc[3:-4]
    yield "hostile", some.assign(cell=some["cell"] + "<b>'\"\\\n$")


def test_edges_of_the_data(frame):
    for name, runs in edges(frame):
        asked = picked(runs)
        for title, kind in KINDS.items():
            drawn = draw(title, kind, asked)
            if drawn is not None:
                assert drawn.svg.startswith(b"<svg"), name
                assert "<" not in drawn.text
                assert not any(
                    isinstance(value, float) and not math.isfinite(value)
                    for row in spec_data(drawn)
                    for value in row.values()
                ), name


def test_curves_of_single_runs_are_equal_bytes(frame, tmp_path):
    figure = Figure()
    figure.subplots().plot([1, 2])
    one, other = plots.image(figure, "svg"), plots.save(figure, tmp_path / "a.svg").read_bytes()
    assert one == other and b"<text" in one and b"dc:date" not in one


def test_the_script_of_the_page_needs_no_network():
    text = chart.script().decode()
    assert "window.vegaEmbed" in text and "import(" not in text[-2000:]
