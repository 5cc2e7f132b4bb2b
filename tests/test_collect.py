"""A study in one file: equal runs make equal bytes, files merge, and folders come back from them so
that nothing runs twice.
"""

import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from synthetic import invent, leave, make_study, settings

import rnnbench
from rnnbench.errors import UserError
from rnnbench.runs.collect import POINTS, collect, restore
from rnnbench.runs.frame import curves
from rnnbench.runs.records import Folder, find


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(
        tmp_path_factory.mktemp("runs") / "demo", cells=["gru", "irnn"], seeds=range(3)
    )


def test_one_sorted_line_per_run(study, tmp_path):
    count = collect(study, tmp_path / "runs.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()]
    assert count == len(lines) == len([*study.rglob("record.json")]) and [
        r["id"] for r in lines
    ] == sorted(r["id"] for r in lines)
    for line in lines:
        record = Folder(study / line["task"] / line["cell"] / line["id"]).record()
        record.pop("checksums", None)
        assert {
            key: value
            for key, value in line.items()
            if key not in ("curve", "overrides", "checksum")
        } == record


def test_the_file_does_not_say_where_the_runs_lay(tmp_path):
    """So that it can be committed, and equal runs of two machines make equal bytes."""
    record, rows = invent(
        settings("gru", "adding", "demo", 0, 5e-3, 5), 0.8, np.random.default_rng(0)
    )
    for home in ("here", "there"):
        paths = {
            "results": f"/home/{home}/results",
            "data": f"/home/{home}/data",
            "mirror": f"/mnt/{home}",
        }
        folder = leave(
            tmp_path / home / "demo",
            record | {"settings": record["settings"] | {"paths": paths}},
            rows,
        )
        (folder.path / "overrides.yaml").write_text(
            f"[cell=gru, paths.results={paths['results']}, +paths.mirror={paths['mirror']}]"
        )
        collect(tmp_path / home, tmp_path / f"{home}.jsonl")
    text = (tmp_path / "here.jsonl").read_text()
    assert (
        text == (tmp_path / "there.jsonl").read_text()
        and "/home" not in text
        and "/mnt" not in text
    )
    assert json.loads(text)["overrides"] == ["cell=gru"]
    assert restore(tmp_path / "here.jsonl", tmp_path / "back") == 1


def test_equal_runs_make_equal_bytes(study, tmp_path):
    again = make_study(tmp_path / "demo", cells=["gru", "irnn"], seeds=range(3))
    collect(study, tmp_path / "a.jsonl")
    collect(again, tmp_path / "b.jsonl")
    first = (tmp_path / "a.jsonl").read_bytes()
    assert first == (tmp_path / "b.jsonl").read_bytes()
    collect(study, tmp_path / "a.jsonl")  # into what is there
    assert first == (tmp_path / "a.jsonl").read_bytes()
    restore(tmp_path / "a.jsonl", tmp_path / "elsewhere")
    collect(tmp_path / "elsewhere", tmp_path / "c.jsonl")
    assert first == (tmp_path / "c.jsonl").read_bytes()


def test_the_frame_is_the_same_from_the_file(study, tmp_path):
    collect(study, tmp_path / "runs.jsonl")
    here, there = rnnbench.load(study), rnnbench.load(tmp_path / "runs.jsonl")
    pd.testing.assert_frame_equal(here.drop(columns="folder"), there.drop(columns="folder"))
    assert set(there["folder"]) == {str(tmp_path / "runs.jsonl")}
    pd.testing.assert_frame_equal(curves(here), curves(there), rtol=1e-6)
    assert len(rnnbench.load(study, tmp_path / "runs.jsonl")) == len(here)
    partly = rnnbench.load(study / "adding", tmp_path / "runs.jsonl")
    assert partly["folder"].nunique() == (partly["task"] == "adding").sum() + 1
    pd.testing.assert_frame_equal(curves(partly), curves(here), rtol=1e-6)


def test_files_merge_by_collecting_and_by_concatenation(study, tmp_path):
    whole, out = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    collect(study, whole)
    assert (
        collect(study / "adding", out)
        < collect(study / "copy", out)
        == len(whole.read_bytes().splitlines())
    )
    assert out.read_bytes() == whole.read_bytes()
    out.write_bytes(whole.read_bytes() + b'{"schema": 1, "id": "to' + b"\n" + whole.read_bytes())
    with pytest.warns(UserWarning, match="parts.jsonl"):
        collect(study / "copy", out)
    assert out.read_bytes() == whole.read_bytes()
    out.write_text("")
    assert collect(study, out) == len(whole.read_bytes().splitlines())


def test_a_result_replaces_a_failure(tmp_path):
    run = settings("gru", "adding", "demo", 0, 5e-3, 5)
    record, rows = invent(run, 0.8, np.random.default_rng(0))
    failed = leave(tmp_path / "demo", record | {"status": "failed"}, [])
    collect(tmp_path / "demo", tmp_path / "runs.jsonl")
    restore(tmp_path / "runs.jsonl", tmp_path / "back")
    assert (
        Folder.record(Folder(tmp_path / "back" / "demo" / "adding" / "gru" / record["id"]))[
            "status"
        ]
        == "failed"
    )
    leave(tmp_path / "demo", record, rows)
    collect(tmp_path / "demo", tmp_path / "runs.jsonl")
    assert json.loads((tmp_path / "runs.jsonl").read_text())["status"] == "finished"
    assert (
        restore(tmp_path / "runs.jsonl", tmp_path / "back") == 1
        and restore(tmp_path / "runs.jsonl", tmp_path / "back") == 0
    )
    failed.record_path.write_text(json.dumps(record | {"status": "failed"}))
    collect(tmp_path / "demo", tmp_path / "runs.jsonl")
    assert json.loads((tmp_path / "runs.jsonl").read_text())["status"] == "finished"


def test_folders_come_back_whole(study, tmp_path):
    collect(study, tmp_path / "runs.jsonl")
    count = restore(tmp_path / "runs.jsonl", tmp_path / "results")
    originals = sorted(study.rglob("record.json"))
    assert count == len(originals)
    for path in originals:
        back = tmp_path / "results" / "demo" / path.parent.relative_to(study)
        assert sorted(p.name for p in back.iterdir()) == [
            "config.yaml",
            "curve.csv",
            "overrides.yaml",
            "record.json",
        ]
        before, now = Folder(path.parent).record(), Folder(back).record()
        assert now.pop("checksums").keys() == {"curve.csv"}
        assert before | {"checksums": None} == now | {"checksums": None}
        here, there = Folder(path.parent).curve(), Folder(back).curve()
        assert [list(row) for row in here] == [list(row) for row in there]
        assert all(
            row == pytest.approx(other, rel=1e-6)
            for row, other in zip([*map(numbers, here)], [*map(numbers, there)], strict=True)
        )
    pd.testing.assert_series_equal(
        rnnbench.load(tmp_path / "results")["command"], rnnbench.load(study)["command"]
    )


def numbers(row):
    return {key: value for key, value in row.items() if key != "split"}


def test_a_restored_study_is_found_by_its_settings(tmp_path):
    """What a sweep asks before it runs: Folder.of(settings).record()."""
    from dataclasses import replace

    run = settings("gru", "adding", "demo", 0, 5e-3, 5)
    leave(tmp_path / "demo", *invent(run, 0.8, np.random.default_rng(0)))
    collect(tmp_path / "demo", tmp_path / "runs.jsonl")
    elsewhere = replace(run, paths=replace(run.paths, results=str(tmp_path / "other machine")))
    assert Folder.of(elsewhere).record() is None
    restore(tmp_path / "runs.jsonl", tmp_path / "other machine")
    assert Folder.of(elsewhere).record()["status"] == "finished"


def test_names_that_lead_elsewhere_are_refused(study, tmp_path):
    collect(study, tmp_path / "runs.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()[:5]]
    for line, key, name in zip(
        lines, ("study", "cell", "task", "id"), ("../../up", "/tmp/x", "..", "a/b"), strict=False
    ):
        line[key] = name
        del line["checksum"]
    (tmp_path / "evil.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.warns(UserWarning, match="names no folder") as warned:
        assert restore(tmp_path / "evil.jsonl", tmp_path / "sub" / "results") == 1
    assert "a/b" in str(warned[0].message)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["results"] and not (
        tmp_path / "up"
    ).exists()


def test_long_curves_are_thinned_and_stay_so(tmp_path):
    run = settings("gru", "adding", "demo", 0, 5e-3, 1000)
    record, rows = invent(run, 0.8, np.random.default_rng(0))
    rows[-1]["mse"] = math.nan
    folder = leave(tmp_path / "demo", record, rows)
    collect(tmp_path / "demo", tmp_path / "runs.jsonl")
    curve = json.loads((tmp_path / "runs.jsonl").read_text())["curve"]
    steps = curve["valid"]["step"]
    assert list(curve) == ["train", "valid"] and len(steps) <= POINTS and len(steps) > POINTS - 5
    assert {100, 100_000, record["best"]["step"], record["solved_at"]} <= set(steps) and curve[
        "valid"
    ]["mse"][-1] is None
    assert np.diff(steps).max() <= 1100
    first = (tmp_path / "runs.jsonl").read_bytes()
    shutil.rmtree(folder.path)
    restore(tmp_path / "runs.jsonl", tmp_path)
    collect(tmp_path / "demo", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == first
    (tmp_path / "demo" / "adding" / "gru" / record["id"] / "curve.csv").unlink()
    with pytest.warns(UserWarning, match=f"no curve to read for run {record['id']}"):
        collect(tmp_path / "demo", tmp_path / "none.jsonl")
    assert json.loads((tmp_path / "none.jsonl").read_text())["curve"] is None
    assert (
        restore(tmp_path / "none.jsonl", tmp_path / "bare") == 1
        and collect(tmp_path / "none.jsonl", tmp_path / "none2.jsonl") == 1
    )


@pytest.mark.parametrize("paths", [None, 3, "x"])
def test_a_record_whose_paths_are_none_is_collected(tmp_path, paths):
    place = make_study(tmp_path / "s", ("lstm",), ("adding",), (0,), (1e-3,))
    (folder, record), *_ = find(place)
    record["settings"]["paths"] = paths
    folder.record_path.write_text(json.dumps(record))
    collect(place, tmp_path / "runs.jsonl")
    (line,) = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == record["id"]


def test_nothing_to_collect_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no finished run"):
        collect(tmp_path, tmp_path / "runs.jsonl")
    assert not (tmp_path / "runs.jsonl").exists()
    with pytest.raises(UserError, match="no folder or file"):
        restore(tmp_path / "runs.jsonl", tmp_path)
