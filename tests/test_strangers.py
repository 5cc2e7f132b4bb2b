"""A stranger's runs execute nothing of theirs, reach nothing of theirs, and start nothing in a
spreadsheet.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from rnnbench.cli import main
from rnnbench.compose import compose
from rnnbench.errors import UserError
from rnnbench.formatting import inert
from rnnbench.runs.collect import collect, restore
from rnnbench.runs.records import Folder
from rnnbench.tools.opening import as_trained, trusting

EVIL = """
from pathlib import Path
Path("sprung").touch()
from torch import tanh

def evil(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ h + b.h)
"""
TINY = [
    "debug=tiny",
    "task=adding",
    "model.hidden=2",
    "train.steps=2",
    "train.eval_every=1",
    "train.batch=2",
    "task.length=5",
    "task.valid_size=4",
    "task.test_size=4",
    "engine=loop",
]
VERBS = "eval {}", "repeat {}", "probe {}", "sample {}", "export {} --to pt2", "repeat r.jsonl"


@pytest.fixture
def run(tmp_path, monkeypatch, silent):
    """A run of a cell in a file; importing it leaves a mark, which is not there yet."""
    from rnnbench.training.run import run_pack

    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL)
    settings = compose(["cell=evil.py:evil", *TINY, "paths.data=/nowhere", "paths.mirror=http://x"])
    run_pack([settings], [[]], silent(), print)
    (tmp_path / "sprung").unlink()
    sys.modules.pop("evil", None)

    for name in [n for n in sys.modules if "evil" in n]:
        del sys.modules[name]
    return Folder.of(settings)


@pytest.mark.parametrize("line", VERBS)
def test_verbs_run_no_code_of_a_record(run, tmp_path, capsys, line):
    collect(run.path, tmp_path / "r.jsonl")
    assert main(line.format(run.path).split()) == 2
    said = capsys.readouterr().err
    assert "cell.step=evil.py:evil" in said and "SHA-256 " in said and "--trust" in said
    assert not (tmp_path / "sprung").exists()


def test_a_folder_whose_name_is_a_word_is_named_once(run, tmp_path, capsys):
    run.path.rename(tmp_path / "run")
    assert main(["repeat", "run"]) == 2
    assert "rnnbench: run names code that is not rnnbench's and would run with" in " ".join(
        capsys.readouterr().err.split()
    )


@pytest.mark.parametrize("line", ["status {}", "report {} --out out"])
def test_other_verbs_never_do(run, tmp_path, line):
    assert main(line.format(run.path.parents[2]).split()) == 0
    assert not (tmp_path / "sprung").exists()


def test_trusted_code_runs(run, tmp_path):
    assert main(["eval", str(run.path), "--trust"]) == 0
    assert (tmp_path / "sprung").exists()


def test_a_task_is_code_too(run):
    values = json.loads(json.dumps(asdict(compose(TINY))))
    values["task"]["type"] = "os.system"
    run.record_path.unlink()
    run.write_config(values)
    with trusting(False), pytest.raises(UserError, match=r"task\.type=os\.system"):
        as_trained(run, None)


def test_places_of_another_machine_are_nothing_here(run, monkeypatch):
    monkeypatch.delenv("RNNBENCH_MIRROR", raising=False)
    monkeypatch.delenv("RNNBENCH_DATA", raising=False)
    _, settings = as_trained(run, run.record())
    assert settings.paths.mirror is None and settings.paths.data == "~/.cache/rnnbench"


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 2]\nb: *a\n",
        "a: " + "[" * 100 + "]" * 100,
        "a: ${oc.env:HOME}\n",
        "a: 1\n" * 300_000,
    ],
)
def test_unreasonable_settings_are_refused(run, text, capsys):
    run.record_path.unlink()
    (run.path / "config.yaml").write_text(text)
    before = time.monotonic()
    assert main(["eval", str(run.path)]) == 2
    said = capsys.readouterr().err
    assert "config.yaml" in said and "Traceback" not in said and time.monotonic() - before < 10


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "@SUM(1)", "+1+cmd|x", "-2+3", "\t=1"])
def test_no_cell_of_a_table_is_a_formula(text):
    assert inert(text) == f"'{text}"
    for harmless in ("+f", "-z", "-1.5", "lstm", 3, None, ""):
        assert inert(harmless) == harmless


def test_nothing_restored_is_no_success(run, tmp_path):
    collect(run.path, tmp_path / "r.jsonl")
    line = json.loads((tmp_path / "r.jsonl").read_text()) | {"study": "../up"}
    del line["checksum"]
    (tmp_path / "r.jsonl").write_text(json.dumps(line))
    with pytest.raises(UserError, match=r"nothing of .* can be put back"):
        restore(tmp_path / "r.jsonl", tmp_path / "back")
    assert main(["collect", "--restore", str(tmp_path / "r.jsonl")]) == 2


def test_the_end_of_a_connection_saves(tmp_path):
    words = ["train", *TINY, "train.steps=1000000", "train.eval_every=1000000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "rnnbench.cli", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.rglob("config.yaml")) and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGHUP)
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 130, said
    assert list(tmp_path.rglob("last.pt"))
