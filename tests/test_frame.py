"""`rnnbench.load`: one row per run with every number of its record, whatever else lies around;
curves in long form.
"""

import json
import math
import shlex
import subprocess
import sys
import warnings
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from synthetic import invent, leave, make_study, settings, vary

import rnnbench
from rnnbench.compose import compose
from rnnbench.errors import UserError
from rnnbench.runs import frame
from rnnbench.runs.command import command, written
from rnnbench.runs.frame import dotted
from rnnbench.runs.records import Folder, run_id
from rnnbench.training.run import run_pack


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("runs") / "demo", seeds=range(3))


@pytest.fixture(scope="module")
def table(study):
    return rnnbench.load(study)


def records(study):
    return {path.parent.name: json.loads(path.read_text()) for path in study.rglob("record.json")}


def test_the_synthetic_records_are_like_real_ones(study, settings_for, silent):
    run = settings_for(
        "cell=lstm",
        "task=adding",
        "task.length=5",
        "model.hidden=2",
        "train.steps=4",
        "train.eval_every=2",
        "task.test_size=10",
    )
    (real,) = run_pack([run], [["cell=lstm"]], silent(), print)

    def shape(value):
        return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else None

    made = next(
        r
        for r in records(study).values()
        if r["cell"] == "lstm" and r["task"] == "adding" and r["best"]
    )
    assert shape(made) == shape(real) and list(made) == list(real)
    assert run_id(vary(settings("gru", "copy", "demo", 0, 1e-3, 10), 2, 5e-3)) in records(study)
    assert len(frame.load(Folder.of(run).path)) == 1  # what a real run leaves, loads
    assert {"loss", "mse", "lr", "grad_norm", "seconds"} <= set(
        frame.curves(frame.load(Folder.of(run).path))["column"]
    )


def test_every_run_is_a_row_with_its_numbers(study, table):
    found = records(study)
    assert len(table) == len(found) == 4 * 2 * 3 * 3 and table["id"].is_unique
    assert tuple(table.columns[: len(frame.COLUMNS)]) == frame.COLUMNS
    assert table[["study", "task", "cell", "seed", "id"]].equals(
        table[["study", "task", "cell", "seed", "id"]].sort_values(by=[*table.columns[:5]])
    )
    for row in table.to_dict("records"):
        record = found[row["id"]]
        best = record["best"] or record["final"]
        expected = {
            "value": record["primary"]["value"],
            "valid": best["valid"].get(record["primary"]["name"]),
            "selected_at": (record["best"] or {}).get("step"),
            "solved_at": record["solved_at"],
            "params": record["params"],
            "seconds_train": record["seconds"]["train"],
            "seconds_own": sum(record["seconds"].values()) / record["replicas"],
            "steps_per_s": record["throughput"]["steps_per_s"],
            "baseline": record["baseline"][row["metric"]],
            "target": record["target"],
            "optim.lr": record["settings"]["optim"]["lr"],
            "test.loss": best["test"]["loss"],
            "final.loss": record["final"]["test"]["loss"],
        }
        for key, value in expected.items():
            assert row[key] == value or (value is None and math.isnan(row[key])), key
        assert (row["diverged"], row["solved"]) == (
            record["status"] == "diverged",
            record["solved_at"] is not None,
        )
        assert row["value"] == row[f"test.{row['metric']}"] or math.isnan(row["value"])
        assert (
            row["task.length"] == record["settings"]["task"]["length"]
            and row["cell.paper.W"] == record["settings"]["cell"]["paper"]["W"]
        )
    assert (
        table["diverged"].any()
        and table["value"].isna().any()
        and table.loc[~table["diverged"], "value"].notna().all()
    )
    assert not [c for c in table if c.startswith("paths")]


def test_dtypes_hold_whatever_is_missing(study, table):
    one = rnnbench.load(next(study.rglob("record.json")).parent)
    for name in [name for name, kind in frame.KINDS.items() if kind is float]:
        assert one[name].dtype == table[name].dtype == float
    assert (one["solved"].dtype, one["diverged"].dtype, one["seed"].dtype) == ("boolean", bool, int)


def test_a_task_without_target_is_neither_solved_nor_unsolved(tmp_path):
    table = rnnbench.load(
        make_study(
            tmp_path / "demo", cells=["gru"], tasks=["charlm", "adding"], seeds=[0], rates=[5e-3]
        )
    )
    assert table.set_index("task")["solved"].isna().to_dict() == {"charlm": True, "adding": False}


def test_a_run_that_exploded_says_so_and_not_how_it_ended(tmp_path):
    record, rows = invent(
        settings("gru", "adding", "demo", 0, 5e-3, 5), 0.8, np.random.default_rng(0)
    )
    patience = "no better validation in 15 evaluations"
    wild = {**record["primary"], "value": 10 * record["baseline"]["mse"]}
    ended = {
        "stopped": {"status": "stopped", "reason": patience},
        "exploded": {"status": "stopped", "reason": patience, "primary": wild},
        "nan": {"status": "diverged", "reason": "loss not finite at step 3", "primary": wild},
    }
    for name, changed in ended.items():
        leave(tmp_path / name, record | changed, rows)
    reasons = {name: rnnbench.load(tmp_path / name)["reason"].item() for name in ended}
    assert (reasons["stopped"], reasons["nan"]) == (patience, "loss not finite at step 3")
    assert reasons["exploded"].startswith("exploded: test mse 1.67, at least 2 times")


def test_the_same_run_counts_once_and_results_beat_failures(tmp_path):
    first = settings("gru", "adding", "demo", 0, 5e-3, 5)
    record, rows = invent(first, 0.8, np.random.default_rng(0))
    leave(tmp_path / "a", record, rows)
    leave(tmp_path / "b", record | {"status": "failed", "reason": "killed", "best": None}, [])
    for places in (("a", "b"), ("b", "a"), (".",), ("a", "a")):
        (row,) = rnnbench.load(*(tmp_path / p for p in places)).to_dict("records")
        assert row["status"] == "finished"
    bare = {
        key: record[key] for key in ("schema", "id", "study", "cell", "task", "seed", "settings")
    } | {"status": "failed", "reason": "boom"}
    leave(tmp_path / "c", bare, [])
    (row,) = rnnbench.load(tmp_path / "c").to_dict("records")
    assert (
        (row["status"], row["reason"]) == ("failed", "boom")
        and math.isnan(row["value"])
        and row["metric"] is None
    )


def test_what_is_torn_or_foreign_is_skipped_and_named(tmp_path):
    study = make_study(
        tmp_path / "demo", cells=["gru"], tasks=["adding"], seeds=range(6), rates=[5e-3]
    )
    paths = sorted(study.rglob("record.json"))
    good = json.loads(paths[5].read_text())
    paths[0].write_text(paths[0].read_text()[:700])
    paths[1].write_bytes(b"\xff\x00")
    paths[2].write_text(json.dumps(good | {"schema": 99}))
    paths[3].write_text(json.dumps({"schema": 1, "status": "finished"}))
    paths[4].write_text(
        json.dumps(good | {"id": "0" * 12, "settings": {"optim": "adam"}, "seconds": "long"})
    )
    with pytest.warns(UserWarning) as warned:
        assert rnnbench.load(study)["id"].tolist() == [good["id"]]
    text = " ".join(str(w.message) for w in warned)
    assert all(str(path.parent) in text for path in paths[:5]) and str(paths[5].parent) not in text
    assert all(w.filename == __file__ for w in warned)


def test_a_folder_whose_name_is_not_utf8_is_refused_by_name(tmp_path):
    make_study(tmp_path / "study", seeds=range(1)).rename(tmp_path / "\udcff")
    with pytest.raises(UserError, match=r"\\udcff.*not UTF-8; rename it"):
        rnnbench.load(tmp_path)


def test_lines_that_cannot_be_read_are_numbered(tmp_path, study):
    good = next(iter(records(study).values()))
    (tmp_path / "runs.jsonl").write_text(
        "\n".join(["{", json.dumps(good), "", '"text"', "[" * 100_000, json.dumps(good)[:300]])
    )
    with pytest.warns(UserWarning, match=r"runs.jsonl \(line 1, 4, 5, 6\)"):
        assert len(rnnbench.load(tmp_path / "runs.jsonl")) == 1
    (tmp_path / "noise").write_bytes(b"\x89PNG\n" * 50)
    with (
        pytest.warns(UserWarning, match="and 45 more"),
        pytest.raises(UserError, match="no finished run in"),
    ):
        rnnbench.load(tmp_path / "noise")


def test_no_run_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no finished run in '.*empty'"):
        rnnbench.load(tmp_path / "empty")
    with pytest.raises(UserError, match=r"no folder or file '.*nowhere'"):
        rnnbench.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no finished run"):
        rnnbench.load()


# Curves


def test_curves_are_those_of_the_folders(study, table):
    found = frame.curves(table)
    assert list(found.columns) == ["id", "step", "split", "column", "value"]
    run = table.iloc[1]
    rows = Folder(study / run["task"] / run["cell"] / run["id"]).curve()
    mine = found[found["id"] == run["id"]]
    assert [
        (r["step"], r["split"], c, v)
        for r in rows
        for c, v in r.items()
        if c not in ("step", "split")
    ] == [*mine[["step", "split", "column", "value"]].itertuples(index=False, name=None)]
    few = frame.curves(table, columns=["mse", "recall"], split="valid")
    both = found[found["column"].isin(["mse", "recall"]) & (found["split"] == "valid")].reset_index(
        drop=True
    )
    pd.testing.assert_frame_equal(few, both)


def test_a_missing_curve_is_named(tmp_path):
    study = make_study(
        tmp_path / "demo", cells=["gru"], tasks=["adding"], seeds=range(3), rates=[5e-3]
    )
    table = rnnbench.load(study)
    (study / "adding" / "gru" / table["id"][0] / "curve.csv").unlink()
    (study / "adding" / "gru" / table["id"][1] / "curve.csv").write_text(
        "step,split,mse\n10,valid,0.1\n20,valid,0.x"
    )
    with pytest.warns(UserWarning, match=f"{table['id'][0]} in .*{table['id'][1]} in "):
        assert set(frame.curves(table)["id"]) == {table["id"][2]}
    assert frame.curves(table[:0]).empty


# Commands


def test_the_command_is_what_was_typed(table):
    row = table[(table["cell"] == "gru") & (table["task"] == "copy")].iloc[0]
    words = shlex.split(row["command"])
    assert (
        words[:4] == ["rnnbench", "train", "cell=gru", "task=copy"]
        and run_id(compose(words[2:])) == row["id"]
    )


@pytest.mark.parametrize(
    "overrides",
    [
        ["cell=lstm", "task=adding"],
        [
            "cell=irnn",
            "task=copy",
            "task.length=7",
            "optim=sgd",
            "optim.lr=3e-4",
            "optim.clip_norm=null",
            "optim.schedule=cosine",
            "debug=tiny",
        ],
        [
            "cell=gru",
            "task=charlm",
            "cell.init=identity:0.5",
            "cell.forget_bias=-1",
            "model.match=params:2000",
            "engine=loop",
            "train.patience=3",
        ],
        [
            "cell=gru",
            "task=charlm",
            "task.corpus='/tmp/some, [odd] text'",
            "model.layers=2",
            "model.dropout=0.5",
            "study=x-1",
        ],
        ["cell=slstm", "task=smnist", "task.permute=true", "cell.constants.beta=0.5", "seed=7"],
    ],
)
def test_a_command_from_settings_is_the_same_run(overrides):
    run = compose(overrides)
    words = shlex.split(command(asdict(run)))
    again = compose(words[2:])
    assert run_id(again) == run_id(run) and again.study == run.study and again.engine == run.engine
    assert len(words) <= len(overrides) + 18


def test_a_cell_of_ones_own_is_repeated_from_its_file(tmp_path):
    (tmp_path / "mine.py").write_text("def mine(W, R, p, b, x, h):\n    return W.h @ x\n")
    run = compose(
        [
            f"cell.step={tmp_path}/mine.py:mine",
            "task=adding",
            "cell.forget=+f",
            "cell.init=paper",
            "cell.paper.W='scaled 2'",
        ]
    )
    assert run_id(compose(shlex.split(command(asdict(run)))[2:])) == run_id(run)


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "it's",
        "back\\",
        "\\'",
        "a,b",
        "[x]",
        "null",
        "True",
        "1e3",
        "-z",
        "+f",
        "a=b",
        "$x",
        "",
        "é",
        "x:1",
    ],
)
def test_texts_survive_hydra(text):
    run = compose(["cell=gru", "task=charlm"])
    changed = replace(run, task=run.task | {"corpus": text})
    assert compose(shlex.split(command(asdict(changed)))[2:]).task["corpus"] == text
    assert written([1, None, True, text]).startswith("[1,null,true,")


# Costs


def test_importing_is_cheap_and_never_brings_torch(study):
    code = (
        "import sys, rnnbench\nassert 'pandas' not in sys.modules and 'numpy' not in sys.modules\n"
        "from rnnbench import load\nfrom rnnbench.runs import collect, frame\n"
        "from rnnbench.stats import ranks, statistics, survival\n"
        f"frame.curves(load({str(study)!r}))\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert rnnbench.load is frame.load
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        rnnbench.lode  # noqa: B018


def test_loading_warns_of_nothing_when_all_is_well(study):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame.curves(rnnbench.load(study, study / "adding"))


def test_nested_settings_are_values_that_a_table_can_group_by():
    given = {"a": {"b": [1, [2, {"c": 3}]]}, "d": None}
    assert dotted(given) == {"a.b": (1, (2, "{'c': 3}")), "d": None}
