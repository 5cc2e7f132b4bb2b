"""What a figure shows is what the runs say; equal figures are equal bytes; edges of the data do no
harm.
"""

import math
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from synthetic import make_study

from rnnbench.catalogue import choices
from rnnbench.charts import figures, scales
from rnnbench.charts.diagrams import cliques
from rnnbench.charts.style import OURS, PALETTE, image, save, styles
from rnnbench.charts.tradeoffs import undominated
from rnnbench.runs.frame import curves, load
from rnnbench.stats.selection import costs, samples

CELLS = ("lstm", "gru", "nfg", "tanh")


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
def curve(frame):
    return curves(frame)


@pytest.fixture(scope="module")
def table():
    """Importance of two parameters in three cells, as `importance.importance` gives it."""
    rows = [
        (c, p, m, 0.01, 40, 0.8)
        for c, ms in zip(CELLS, ((0.9, 0.05), (0.7, 0.2), (0.95, 0.01)), strict=False)
        for p, m in zip("ab", ms, strict=True)
    ]
    return pd.DataFrame(rows, columns=["cell", "parameter", "mean", "std", "n", "r2"])


@pytest.fixture(scope="module")
def marginal():
    rows = [
        (c, "optim.lr", "log", 10.0**-k, k + shift, 0.1)
        for shift, c in enumerate(CELLS[:2])
        for k in range(5)
    ]
    rows += [
        (c, "optim.schedule", "levels", word, 0.5, 0.1)
        for c in CELLS[:2]
        for word in ("constant", "null")
    ]
    return pd.DataFrame(rows, columns=["cell", "parameter", "scale", "x", "mean", "std"])


def lines(figure):
    """label → the line, of all axes."""
    return {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}


def scores(runs):
    return runs["value"][~runs["diverged"]].to_numpy()


def test_greff_shows_quartiles_the_full_range_means_and_medians(frame):
    runs = frame[frame["task"] == "adding"]
    figure = figures.greff(runs, {"nfg"}, "lstm")
    top, bottom = figure.axes[:2]
    assert [text.get_text() for text in bottom.get_xticklabels()] == ["lstm", "gru", "nfg", "tanh"]
    for axes, choose in (
        (top, lambda r: r),
        (bottom, lambda r: r.loc[costs(r, "min").sort_values(kind="stable").index[:4]]),
    ):
        drawn = axes.get_lines()  # per box: two whiskers, two caps, median, mean
        assert len(drawn) == 6 * len(CELLS)
        for k, cell in enumerate(["lstm", "gru", "nfg", "tanh"]):
            wanted = scores(choose(runs[runs["cell"] == cell]))
            low, high, low_cap, high_cap, median, mean = (
                line.get_ydata() for line in drawn[6 * k : 6 * k + 6]
            )
            assert low[1] == low_cap[0] == wanted.min() and high[1] == high_cap[0] == wanted.max()
            assert low[0] == pytest.approx(np.percentile(wanted, 25)) and high[0] == pytest.approx(
                np.percentile(wanted, 75)
            )
            assert median[0] == pytest.approx(np.median(wanted)) and mean[0] == pytest.approx(
                wanted.mean()
            )
            blue = to_hex(drawn[6 * k].get_color()).upper() == PALETTE[0]
            assert blue == (cell == "nfg")
    assert "all trials (15 a cell)" in top.get_title(loc="left") and "4 of 15" in bottom.get_title(
        loc="left"
    )


def test_greff_draws_mean_parameters_behind(frame):
    runs = frame[frame["task"] == "copy"]
    figure = figures.greff(runs, set(), "gru")
    behind = figure.axes[2]
    heights = [patch.get_height() for patch in behind.patches]
    assert heights == [
        runs[runs["cell"] == cell]["params"].mean() for cell in ("gru", "lstm", "nfg", "tanh")
    ]
    assert behind.get_zorder() < figure.axes[0].get_zorder()


def test_greff_counts_what_diverged(frame):
    runs = frame[frame["task"] == "adding"]
    said = {
        round(text.xy[0]): text.get_text()
        for text in figures.greff(runs, set(), "lstm").axes[0].texts
    }
    counts = [
        int(runs[runs["cell"] == cell]["diverged"].sum()) for cell in ("lstm", "gru", "nfg", "tanh")
    ]
    assert sum(counts)
    assert said == {k: f"{count} div." for k, count in enumerate(counts) if count}


def test_learning_curves_are_medians_over_the_best_runs(frame, curve):
    figure = figures.learning_curves(frame, curve, "adding")
    for (task, cell), sample in samples(frame).items():
        if task == "adding":
            own = curve[
                curve["id"].isin(sample.best["id"])
                & (curve["split"] == "valid")
                & (curve["column"] == "mse")
            ]
            wanted = own.groupby("step")["value"].median()
            assert not sample.best["diverged"].any()
            line = lines(figure)[cell]
            assert line.get_xdata().tolist() == wanted.index.tolist()
            assert line.get_ydata() == pytest.approx(wanted.to_numpy())
    assert lines(figure)["ignorance"].get_ydata()[0] == pytest.approx(1 / 6)
    assert lines(figure)["target"].get_ydata()[0] == 0.01
    assert figure.axes[0].get_yscale() == "log"


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
    sample = type("Sample", (), {"best": best, "goal": "min"})
    found = figures.aligned(
        sample, pd.DataFrame(points, columns=["id", "step", "split", "column", "value"])
    )
    assert (
        found["a"].tolist() == [5, 4, 4]
        and found["b"].tolist() == [3, 9, 9]
        and found["c"].tolist() == [3, 2, 1]
    )
    best["baseline"] = math.nan
    found = figures.aligned(
        sample, pd.DataFrame(points, columns=["id", "step", "split", "column", "value"])
    )
    assert found["b"].tolist() == [3, 5, 5]


def test_rate_response_has_a_median_per_rate_and_a_point_per_run(frame):
    figure = figures.rate_response(frame, "adding")
    axes = figure.axes[0]
    assert axes.get_xscale() == "log" and axes.get_yscale() == "log"
    runs = frame[frame["task"] == "adding"].copy()
    runs["score"] = runs["value"].where(~runs["diverged"], 1 / 6)
    drawn = {
        points.get_gid(): points.get_offsets() for points in axes.collections if points.get_gid()
    }
    for cell in CELLS:
        own = runs[runs["cell"] == cell]
        line = lines(figure)[cell]
        assert line.get_xdata() == pytest.approx([1e-3, 5e-3, 5e-2])
        assert line.get_ydata() == pytest.approx(
            own.groupby("optim.lr")["score"].median().to_numpy()
        )
        assert (
            len(drawn[f"runs {cell}"]) == (~own["diverged"]).sum()
            and len(drawn[f"lost {cell}"]) == own["diverged"].sum()
        )


def test_many_rates_are_pooled(frame):
    runs = frame[(frame["task"] == "copy") & (frame["cell"] == "gru")].copy()
    runs["optim.lr"] = np.geomspace(1.01e-4, 0.99e-1, len(runs))
    assert len(lines(figures.rate_response(runs, "copy"))["gru"].get_xdata()) == 9


def test_speed_accuracy_shows_medians_and_the_front(frame):
    figure = figures.speed_accuracy(frame, "copy")
    for (task, cell), sample in samples(frame).items():
        if task == "copy":
            (x,), (y,) = lines(figure)[cell].get_data()
            assert (x, y) == pytest.approx(
                (sample.best["seconds_train"].median(), np.median(scores(sample.best)))
            )
    assert undominated(
        {"a": (1, 5), "b": (2, 4), "c": (2, 6), "d": (3, 4), "e": (9, 1)}, "min"
    ) == ["a", "b", "e"]
    assert undominated(
        {"a": (1, 5), "b": (2, 4), "c": (2, 6), "d": (3, 4), "e": (9, 1)}, "max"
    ) == ["a", "c"]
    solved = figures.speed_accuracy(frame, "copy", to_target=True)
    able = {
        cell
        for (task, cell), s in samples(frame).items()
        if task == "copy" and s.best["solved_at"].notna().any()
    }
    assert set(lines(solved)) & set(CELLS) == able


def test_solved_shares_are_counted(frame):
    axes = figures.solved_shares(frame, "adding").axes[0]
    wanted = [
        f"{s.best['solved'].sum()}/{len(s.best)}"
        for (task, _), s in samples(frame).items()
        if task == "adding"
    ]
    assert [text.get_text() for text in axes.texts] == wanted


def test_importance_has_a_panel_per_cell_with_its_fit(table):
    figure = figures.importance(table)
    panels = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in panels] == [
        f"{cell}\nn = 40, R² = 0.80" for cell in CELLS[:3]
    ]
    assert [patch.get_width() for patch in panels[1].patches] == [0.7, 0.2]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["a", "b"]


def test_marginals_are_drawn_on_the_scale_of_the_search(marginal):
    rate, schedule = figures.marginals(marginal, "mse").axes
    assert rate.get_xscale() == "log" and schedule.get_xscale() == "linear"
    assert rate.get_lines()[1].get_ydata().tolist() == [1, 2, 3, 4, 5]
    assert [text.get_text() for text in schedule.get_xticklabels()] == ["constant", "null"]


def test_cliques_are_the_largest_groups_within_the_critical_difference():
    ranks = {"a": 1.0, "b": 1.5, "c": 2.4, "d": 4.0, "e": 4.2}
    assert cliques(ranks, 1.0) == [(1.0, 1.5), (1.5, 2.4), (4.0, 4.2)]
    assert cliques(ranks, 9) == [(1.0, 4.2)]
    assert cliques(ranks, math.nan) == []
    drawn = [
        line
        for line in figures.critical_difference(ranks, 1.0).axes[0].get_lines()
        if (line.get_gid() or "").startswith("clique")
    ]
    assert len(drawn) == 3


def test_the_matrix_says_its_numbers():
    table = pd.DataFrame([[0.5, 0.9], [0.1, math.nan]], ["lstm", "gru"], ["lstm", "gru"])
    axes = figures.improvement_matrix(table).axes[0]
    assert [text.get_text() for text in axes.texts] == ["0.90", "0.10"]


def test_a_cell_looks_the_same_whatever_stands_beside_it(frame, curve):
    pair = frame[frame["cell"].isin(["tanh", "gru"])]
    own = frame[frame["cell"] == "gru"].assign(cell="mine")
    for runs in (pair, pd.concat([pair, own])):
        line = lines(figures.learning_curves(runs, curve, "adding"))["tanh"]
        drawn = lines(figures.learning_curves(frame, curve, "adding"))["tanh"]
        assert (line.get_color(), line.get_marker()) == (drawn.get_color(), drawn.get_marker())
        assert line.is_dashed() == drawn.is_dashed()
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


def test_bounded_scores_stand_on_linear_axes(frame, curve):
    runs = frame[frame["task"] == "adding"].assign(goal="max", metric="accuracy", target=0.99)
    runs["value"] = np.linspace(0.01, 1, len(runs))
    share = curve.assign(column="accuracy", value=np.linspace(0.01, 1, len(curve)))
    for make in every_figure(runs, share, None, None):
        scored = [axes for axes in make().axes if "accuracy" in axes.get_ylabel()]
        assert all(axes.get_yscale() == "linear" for axes in scored)
    assert figures.learning_curves(runs, share, "adding").axes[0].get_yscale() == "linear"
    axes = Figure().subplots()
    scales.rescale([axes], [0.01, 1], goal="max")
    assert axes.get_yscale() == "linear"
    scales.rescale([axes], [0.01, 1], goal="min")
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize("ends", [(0, 1), (0, 3), (4, 4), (0, 10), (0, 12), (100, 2000)])
def test_steps_are_whole(ends):
    axes = Figure().subplots()
    axes.plot(ends, (0, 1))
    scales.whole(axes.xaxis)
    ticks = axes.get_xticks()
    assert len(ticks) and all(float(tick).is_integer() for tick in ticks)


def exploding(loss, goal="min", baseline=(3.0,)):
    """An axis with two curves of which one explodes, and what is said of it."""
    axes = Figure().subplots()
    curves = {"lstm": [2.9, 2.0, 1.8], "relu": [2.9, loss, None]}
    for values in curves.values():
        axes.plot(values)
    return axes, scales.scale_scores([axes], curves, [1.5], baseline, goal)


def test_a_curve_that_explodes_does_not_hide_the_others():
    axes, told = exploding(1e8)
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "linear" and high == 6 and 1 < low < 1.5
    assert "twice the memoryless baseline" in told and "relu" in told and "lstm" not in told
    for axes, told in (exploding(5.9), exploding(1e8, baseline=[None])):
        assert axes.get_ylim()[1] > 5.9 and told == ""
    _, told = exploding(1e8, baseline=[1e-3])  # no curve would be left
    assert told == ""


def test_the_caption_says_that_a_curve_leaves_the_picture(frame, curve):
    lost = curve.copy()
    lost.loc[lost["id"].isin(frame[frame["cell"] == "tanh"]["id"]), "value"] = 1e8
    figure = figures.learning_curves(frame, lost, "adding")
    assert figure.axes[0].get_ylim()[1] == pytest.approx(2 / 6)
    made = figures.picture("curves", figure, "Scores. More.")
    assert made.alt == "Scores" and made.caption.startswith("Scores. More. The axis ends")
    assert "tanh." in made.caption and "lstm" not in made.caption
    plain = figures.picture("curves", figures.learning_curves(frame, curve, "adding"), "Scores.")
    assert plain.caption == "Scores."


def every_figure(frame, curve, table, marginal):
    task = frame["task"].iloc[0]
    yield lambda: figures.greff(frame[frame["task"] == task], {"gru"}, "lstm")
    yield lambda: figures.learning_curves(frame, curve, task)
    yield lambda: figures.rate_response(frame, task)
    yield lambda: figures.speed_accuracy(frame, task)
    yield lambda: figures.solved_shares(frame, task)
    if table is not None:
        yield lambda: figures.importance(table)
        yield lambda: figures.marginals(marginal)
        yield lambda: figures.critical_difference({"lstm": 1.2, "gru": 2.0, "nfg": 2.8}, 1.0)
        yield lambda: figures.improvement_matrix(
            pd.DataFrame([[0.5, 0.9], [0.1, 0.5]], ["lstm", "gru"], ["lstm", "gru"])
        )


def test_equal_figures_are_equal_bytes_with_text_that_can_be_searched(
    frame, curve, table, marginal, tmp_path
):
    for k, make in enumerate(every_figure(frame, curve, table, marginal)):
        one, other = image(make(), "svg"), save(make(), tmp_path / f"{k}.svg").read_bytes()
        assert one == other
        assert b"<text" in one and b"dc:date" not in one
        ET.fromstring(one)


def edges(frame):
    """Tables that a study can end with."""
    some = frame[frame["task"] == "copy"]
    many = pd.concat([some[some["cell"] == "gru"].assign(cell=f"cell {k}") for k in range(9)])
    yield "one cell", some[some["cell"] == "gru"]
    yield "one seed", some[some["seed"] == 0]
    yield "one run", some.head(1)
    yield "all diverged", some.assign(diverged=True, status="diverged")
    yield "no score", some.assign(value=np.nan, valid=np.nan)
    yield (
        "no score and no baseline",
        some.assign(value=np.nan, valid=np.nan, baseline=np.nan, target=np.nan, solved=pd.NA),
    )
    yield "some NaN", some.assign(value=some["value"].where(some["seed"] > 1))
    yield "unequal n", some.iloc[3:-4]
    yield "nine cells", many


def test_edges_of_the_data(frame, curve):
    for name, runs in edges(frame):
        known = curve[curve["id"].isin(runs["id"])] if name != "no score" else curve.head(0)
        for make in every_figure(runs, known, None, None):
            figure = make()
            assert isinstance(figure, Figure), name
            figure.draw_without_rendering()


def test_no_result_is_an_error(frame):
    with pytest.raises(ValueError, match="no result to draw of task xml"):
        figures.rate_response(frame, "xml")
