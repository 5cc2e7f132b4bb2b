"""A result is a record: its identity, its files, and that they are whole or not there at all."""

import dataclasses
import errno
import gzip
import json
import math
import os
import resource
import stat
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from rnnbench.catalogue import file_digest
from rnnbench.compose import SECTIONS
from rnnbench.errors import UserError
from rnnbench.runs import records
from rnnbench.runs.checksums import check_json
from rnnbench.runs.records import Folder, find, finite, run_id, write
from rnnbench.settings import typed

TINY = (
    "cell=gru",
    "task=adding",
    "task.length=6",
    "debug=tiny",
    "model.hidden=3",
    "train.steps=4",
    "train.eval_every=2",
    "study=mine",
)

CELL = """
from torch import tanh
def mine(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ h + b.h){}
"""


def turned(value):
    """The same value with the keys of every mapping in the opposite order."""
    return (
        {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value
    )


# Identity


def test_the_identity_is_that_of_this_hash(settings_for):
    """Written down: an id that changes makes every finished run be repeated. Change it
    knowingly.
    """
    settings = settings_for("cell=lstm", "task=adding")
    assert len(run_id(settings)) == 12 and set(run_id(settings)) <= set("0123456789abcdef")
    canonical = records.canonical(settings)
    assert set(canonical) == {"cell", "task", "model", "optim", "train", "seed"}
    assert set(canonical["cell"]) == {
        "step",
        "forget",
        "write",
        "init",
        "forget_bias",
        "paper",
        "constants",
    }
    assert set(canonical["task"]) == {
        "type",
        "length",
        "markers",
        "target",
        "valid_size",
        "test_size",
    }
    assert {f.name for f in dataclasses.fields(settings.train)} - set(canonical["train"]) == {
        "checkpoint_every",
        "epochs",  # the budget is in steps
        "weight_noise",  # there is none
        "probe_every",
    }
    later = {key for section, key, _ in records.LATER if section == "model"}
    assert {f.name for f in dataclasses.fields(settings.model)} == set(canonical["model"]) | later
    own = {"constants", "digest"}  # of an optimiser of one's own; this is none
    assert {f.name for f in dataclasses.fields(settings.optim)} == set(canonical["optim"]) | own


def test_the_identity_does_not_depend_on_order_paths_engine_or_labels(settings_for):
    settings = settings_for("cell=lstm", "task=adding")
    same = [
        settings_for("cell=lstm", "task=adding", "study=other"),
        settings_for(
            "task=adding", "cell=lstm", "engine=loop", "engine.threads=2", "engine.device=cpu"
        ),
        settings_for("cell=lstm", "task=adding", "train.checkpoint_every=7"),
        # defaults spelt out
        settings_for(
            "cell=lstm",
            "task=adding",
            "seed=0",
            f"optim.lr={settings.optim.lr}",
            "optim.clip_norm=1",
            "task.length=100",
        ),
        replace(
            settings,
            paths=replace(settings.paths, results="/elsewhere", data="/there", mirror="/mirror"),
        ),
        replace(
            settings,
            task=turned(settings.task),
            cell=replace(settings.cell, paper=turned(settings.cell.paper)),
        ),
    ]
    assert {run_id(s) for s in same} == {run_id(settings)}
    assert list(same[-1].task) != list(settings.task)


def test_cells_that_are_the_same_are_the_same_run(settings_for):
    assert run_id(settings_for("cell=lstm_b", "task=adding")) == run_id(
        settings_for("cell=lstm", "task=adding", "cell.forget_bias=1")
    )
    assert Folder.of(settings_for("cell=lstm_b", "task=adding")).path.parent.name == "lstm_b"


def test_the_identity_changes_with_whatever_decides_numbers(settings_for):
    variants = [
        (),
        ("seed=1",),
        ("optim.lr=0.002",),
        ("cell=gru",),
        ("task.length=101",),
        ("task.target=0.02",),
        ("optim=sgd",),
    ]
    variants += [
        ("model.hidden=65",),
        ("model.layers=2",),
        ("model.dtype=float64",),
        ("cell.forget_bias=1",),
        ("cell.init=glorot",),
    ]
    variants += [
        ("train.batch=51",),
        ("train.eval_every=99",),
        ("train.eval_batch=99",),
        ("train.eval_limit=1",),
        ("train.input_noise=0.1",),
        ("train.weight_noise=0.1",),
    ]
    variants += [
        ("train.patience=3",),
        ("train.stop_at_target=true",),
        ("optim.clip_norm=null",),
        ("optim.clip_value=1",),
        ("model.match=params:5000",),
    ]
    ids = [run_id(settings_for("cell=lstm", "task=adding", *more)) for more in variants]
    assert len(set(ids)) == len(variants)


def test_the_identity_changes_with_a_default(settings_for):
    """Two versions of rnnbench with other defaults make other runs of the same command."""
    settings = settings_for("cell=lstm", "task=adding")
    assert run_id(settings) != run_id(replace(settings, optim=replace(settings.optim, eps=1e-7)))


COMMITTED = sorted((Path(__file__).parents[1] / "results").glob("**/runs.jsonl.gz"))


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.parent.name)
def test_committed_records_keep_their_ids(path, settings_for):
    usual = settings_for("cell=gru", "task=adding")
    for line in gzip.decompress(path.read_bytes()).splitlines():
        record = json.loads(line)
        given = record["settings"]
        parts = {key: typed(SECTIONS[key], given[key], key) for key in SECTIONS.keys() & given}
        settings = replace(usual, **parts, task=given["task"], seed=given["seed"])
        assert run_id(settings) == record["id"]


def test_a_cell_of_ones_own_is_its_content(settings_for, tmp_path):
    def identity(place, content):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        settings = settings_for("cell=own", f"cell.step={path}:mine", "task=adding")
        # composed settings are cached here
        return run_id(
            replace(settings, cell=replace(settings.cell, digest=file_digest(f"{path}:mine")))
        )

    first = identity("a/one.py", CELL.format(""))
    assert identity("b/two.py", CELL.format("")) == first
    assert identity("a/one.py", CELL.format(" * 2")) != first


# Files


def test_the_files_of_a_run_are_those_of_the_design(settings_for, trained):
    run = settings_for(*TINY, "train.checkpoint_every=1")
    (record,) = trained(run)
    folder = Folder.of(run)
    assert folder.path.relative_to(run.paths.results).parts == (
        "mine",
        "adding",
        "gru",
        run_id(run),
    )
    files = {
        "record.json",
        "config.yaml",
        "overrides.yaml",
        "curve.csv",
        "tensorboard",
        "best.pt",
        "last.pt",
    }
    assert {path.name for path in folder.path.iterdir()} == files
    best, last = (
        torch.load(path, weights_only=True) for path in (folder.best_path, folder.last_path)
    )
    assert {name: tuple(tensor.shape) for name, tensor in best.items()} == {
        "0.W": (2, 9),
        "0.R0": (3, 6),
        "0.R1": (3, 3),
        "0.b": (9,),
        "readout.W": (3, 1),
        "readout.b": (1,),
    }
    assert last["step"] == 4 and last["progress"]["status"] == "finished"
    assert OmegaConf.to_container(
        OmegaConf.load(folder.path / "config.yaml")
    ) == dataclasses.asdict(run)
    found = folder.record()
    assert found == check_json(json.loads(folder.record_path.read_text()))
    assert found.pop("checksums").keys() == {"best.pt", "last.pt", "curve.csv"}
    assert found == json.loads(json.dumps(record))


def test_what_was_typed_is_kept(settings_for, silent):
    from rnnbench.training.run import run_pack

    run = settings_for(*TINY)
    run_pack([run], [["cell=gru", "optim.lr=1e-3"]], silent(), print)
    assert OmegaConf.to_container(OmegaConf.load(Folder.of(run).path / "overrides.yaml")) == [
        "cell=gru",
        "optim.lr=1e-3",
    ]


def test_the_record_has_the_keys_of_the_design(settings_for, trained):
    (record,) = trained(settings_for(*TINY))
    promised = (
        "schema id study cell task seed status reason settings params steps best final "
        "primary baseline target solved_at seconds"
    )
    promised += " throughput peak_memory_bytes engine provenance flops last_fifth"
    assert set(promised.split()) <= record.keys()
    inner = {
        "best": {"step", "valid", "test"},
        "final": {"valid", "test"},
        "primary": {"name", "goal", "value"},
        "seconds": {"warmup", "train", "eval"},
        "throughput": {"sequences_per_s", "steps_per_s"},
    }
    assert {key: set(record[key]) for key in inner} == inner
    assert {"git", "versions", "cpu", "device"} <= record["provenance"].keys()
    assert (record["schema"], record["study"], record["cell"], record["task"], record["seed"]) == (
        2,
        "mine",
        "gru",
        "adding",
        0,
    )
    assert record["primary"] == {
        "name": "mse",
        "goal": "min",
        "value": record["best"]["test"]["mse"],
    }
    assert record["baseline"] == {"mse": 1 / 6} and record["target"] == 0.01
    assert record["params"] == 3 * (2 * 3 + 3 * 3 + 3) + 4
    products = 2 * 3 * 3 * (2 + 3) + 2 * 3  # three blocks of either kind, and the read-out
    assert products < record["flops"] < products + 3 * 20
    assert record["last_fifth"].keys() == {"improved", "gain"}
    assert record["peak_memory_bytes"] > 10**7  # a Python process, in bytes
    assert record["throughput"]["sequences_per_s"] == pytest.approx(
        4 * record["throughput"]["steps_per_s"]
    )
    # the first step warms up
    assert record["throughput"]["steps_per_s"] == pytest.approx(3 / record["seconds"]["train"])


def test_records_of_schema_1_are_read_for_ever(tmp_path):
    """As the first version wrote them; what they do not say is None."""
    old = LEAST | {"status": "finished"}
    folder = Folder(tmp_path)
    folder.write_record(old)
    found = folder.record()
    assert found["flops"] is None and found["last_fifth"] is None
    assert {key: found[key] for key in old} == old
    assert records.upgraded(found) == found
    folder.write_record(old | {"schema": 3})
    assert Folder(tmp_path).record() is None


def test_a_curve_goes_and_comes_back(tmp_path):
    rows = [
        {
            "step": 10,
            "split": "train",
            "loss": 0.1 + 0.2,
            "lr": 1e-30,
            "seconds": 12345.678901234567,
        },
        {"step": 10, "split": "valid", "loss": float("inf"), "0.z.mean": 1 / 3, "mse": -0.0},
        {"step": 20, "split": "train", "loss": 5e-324, "lr": 2.0, "seconds": 1.0},
    ]
    folder = Folder(tmp_path)
    folder.write_curve(rows)
    assert folder.curve() == rows and folder.curve_path.read_text().count("\n") == 4
    assert [type(v) for v in folder.curve()[0].values()] == [int, str, float, float, float]
    folder.write_curve([{"step": 1, "split": "valid", "loss": float("nan")}])
    (row,) = folder.curve()
    assert math.isnan(row["loss"]) and row["step"] == 1


def test_a_record_has_null_where_json_has_no_word(tmp_path):
    value = {
        "a": float("nan"),
        "b": [1.0, float("inf"), {"c": -float("inf")}],
        "d": (2, None, True, "x"),
        "e": 0.0,
    }
    Folder(tmp_path).write_record({"schema": 1, "status": "diverged"} | value)
    text = (tmp_path / "record.json").read_text()
    found = json.loads(text, parse_constant=pytest.fail)
    assert found.pop("checksum")
    assert found == {
        "schema": 1,
        "status": "diverged",
        "a": None,
        "b": [1.0, None, {"c": None}],
        "d": [2, None, True, "x"],
        "e": 0.0,
    }
    assert math.isnan(value["a"]) and finite(3) == 3


# Whole or not at all


def full_disk(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("owner", "call"), [(Path, "replace"), (os, "fsync")])
@pytest.mark.parametrize(
    ("failure", "raised"), [(full_disk, UserError), (interrupted, KeyboardInterrupt)]
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    owner, call, failure, raised, tmp_path, monkeypatch
):
    path = tmp_path / "record.json"
    write(path, "old")
    with monkeypatch.context() as patched:
        patched.setattr(owner, call, failure)
        with pytest.raises(raised) as error:
            write(path, "new")
        with pytest.raises(raised):
            write(tmp_path / "another.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"] and path.read_text() == "old"
    if raised is UserError:
        assert (
            str(error.value)
            == f"cannot write {path}: No space left on device; free space, then ask again"
        )
    write(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_real_limit_of_the_system_is_one_line(tmp_path):
    """No file may grow beyond 1000 bytes: the write itself fails half-way, in the kernel."""
    path = tmp_path / "best.pt"
    write(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(UserError, match="File too large") as error:
            write(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["best.pt"] and path.read_bytes() == b"old"


def test_a_place_that_cannot_be_a_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*choose another folder"):
        write(tmp_path / "file" / "record.json", "x")


def test_files_have_the_permissions_of_the_user(tmp_path):
    """What a colleague may read of other files, they may read of results."""
    (tmp_path / "plain").write_text("")
    write(tmp_path / "written", "")
    assert stat.S_IMODE((tmp_path / "written").stat().st_mode) == stat.S_IMODE(
        (tmp_path / "plain").stat().st_mode
    )


def test_a_disk_that_is_full_ends_a_run_in_one_line_and_without_record(
    settings_for, trained, monkeypatch
):
    run = settings_for(*TINY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(UserError, match="No space left on device"):
            trained(run)
    assert Folder.of(run).record() is None
    assert trained(run)[0]["status"] == "finished"


# Reading


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"schema": 1, "status": "fini',
        b"[1, 2]",
        b"null",
        b'{"schema": 99, "status": "finished"}',
        b'{"schema": 1}',
        b"\xff\xfe\x00",
        b'"text"',
    ],
)
def test_a_torn_or_foreign_record_is_none(content, tmp_path):
    (tmp_path / "record.json").write_bytes(content)
    assert Folder(tmp_path).record() is None


def test_no_record_is_none(tmp_path):
    assert Folder(tmp_path).record() is None
    (tmp_path / "record.json").mkdir()
    assert Folder(tmp_path).record() is None


LEAST = {
    "schema": 1,
    "id": "0123456789ab",
    "study": "s",
    "cell": "c",
    "task": "t",
    "seed": 0,
    "settings": {
        "cell": {"name": "c", "step": "m.c", "forget_bias": None},
        "task": {"name": "t", "type": "m.T"},
        "model": {"hidden": 2, "layers": 1},
        "optim": {"lr": 0.1},
        "train": {"steps": 1, "batch": 1},
        "seed": 0,
    },
    "steps": 1,
    "best": None,
    "final": {"valid": {}, "test": {"mse": 1.0}},
    "primary": {"name": "mse", "goal": "min", "value": 1.0},
    "baseline": {"mse": 1.0},
    "target": None,
    "solved_at": None,
    "seconds": {"train": 1.0},
    "hidden": 2,
    "params": 9,
    "replicas": 1,
    "engine": "loop",
    "provenance": {},
}


def test_find_lists_what_has_ended(tmp_path):
    for name, content in {
        "b": json.dumps(LEAST | {"status": "finished"}),
        "a": json.dumps(LEAST | {"status": "diverged"}),
        "torn": "{",
        "empty": "",
    }.items():
        write(tmp_path / "study" / name / "record.json", content)
    assert [(folder.path.name, record["status"]) for folder, record in find(tmp_path)] == [
        ("a", "diverged"),
        ("b", "finished"),
    ]
    assert [folder.path for folder, _ in find(tmp_path / "study" / "a")] == [
        tmp_path / "study" / "a"
    ]
    with pytest.raises(UserError, match=r"no readable record\.json"):
        find(tmp_path / "study" / "torn")
    with pytest.raises(UserError, match=r"no folder '.*nowhere'.*results/runs"):
        find(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"status": None}, "its status is None"),
        ({"settings": {}}, "its settings is {}"),
        ({"settings": LEAST["settings"] | {"optim": {}}}, "its settings is "),
        ({"settings": LEAST["settings"] | {"x": [{"y": 10**30}]}}, "its settings is "),
        ({"seed": True}, "its seed is True"),
        ({"replicas": None}, "its replicas is None"),
        ({"provenance": {"versions": []}}, "its provenance is {'versions': []}"),
        ({"steps": 10**30}, "its steps is 1000"),
        ({"seconds": 3}, "its seconds is 3"),
        ({"primary": {"name": "mse", "goal": "up", "value": 1}}, "its primary is"),
        ({"primary": {"name": "nll", "goal": "min", "value": 1}}, "it has no score 'nll'"),
        ({"final": {"valid": {}, "test": {"mse": "good"}}}, "its final is"),
        ({"target": math.inf}, "its target is inf"),
    ],
)
def test_what_does_not_look_like_a_record_is_none(change, told, tmp_path, capsys):
    (tmp_path / "record.json").write_text(json.dumps(LEAST | {"status": "finished"} | change))
    assert Folder(tmp_path).record() is None
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "label", ["", ".", "..", "a/b", "a b", "-x", "../x", "a\nb", "x\n", ".hidden"]
)
def test_labels_are_names_of_folders(label):
    with pytest.raises(UserError, match="names a folder"):
        records.checked_label("study", label)


def test_good_labels_pass():
    assert [
        records.checked_label("study", label) for label in ("a", "greff-2017", "v1.2_x", "日本")
    ] == ["a", "greff-2017", "v1.2_x", "日本"]
