"""Whatever is typed: it works, or one line says what is wrong, what was expected and what to do;
and nothing is written.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from rnnbench import cli
from rnnbench.catalogue import choices
from rnnbench.runs.records import find

MINE = """
from torch import sigmoid, tanh

def mine(W, R, b, x, h, *, beta=1.0):
    f = sigmoid(W.f @ x + R.f @ h + b.f)
    return f * h + beta * (1 - f) * tanh(W.n @ x + R.n @ h + b.n)
"""
TINY = (
    "task=adding debug=tiny train.steps=2 train.eval_every=1 task.length=5 task.valid_size=20 "
    "task.test_size=20"
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in, with an empty cache and no mirror."""
    for name in ("RNNBENCH_DATA", "RNNBENCH_MIRROR", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def rnnbench(place, capsys):
    """rnnbench("train cell=gru") → code, out, err."""

    def run(line):
        arguments = list(sys.argv)
        try:
            code = cli.main(shlex.split(line))
        except SystemExit as stop:  # argparse, after --help
            code = stop.code or 0
        assert sys.argv == arguments and "HYDRA_FULL_ERROR" not in os.environ
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


@pytest.fixture
def refused(rnnbench, place):
    """The one line that refuses a command; nothing is written, neither before nor after."""

    def run(line):
        before = sorted(place.rglob("*"))
        done = rnnbench(line)
        assert done.code == 2, done.out + done.err
        assert done.err.startswith("rnnbench: ") and done.err.count("\n") == 1, done.err
        assert done.out == "" or done.out.startswith(("fetching", "cannot fetch"))
        assert not re.search(r"Traceback|HYDRA|Hydra|omegaconf|DictConfig|Error\b(?!:)", done.err)
        assert sorted(place.rglob("*")) == before
        return done.err.removeprefix("rnnbench: ").rstrip("\n")

    return run


# Names


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "train cell=lsmt",
            "unknown cell 'lsmt'; did you mean 'lstm'? (56 cells: rnnbench list cells)",
        ),
        (
            "train task=coppy",
            f"unknown task 'coppy'; did you mean 'copy'? ({len(choices('task')) - 1} tasks: ",
        ),
        (
            "train optim=adamm",
            "unknown optim 'adamm'; did you mean 'adam'? (known: adam, nesterov, rmsprop, sgd)",
        ),
        ("train engine=warp", "unknown engine 'warp' (known: auto, loop, native, torch)"),
        ("train debug=tinny", "unknown debug 'tinny'; did you mean 'tiny'? (known: tiny)"),
        ("train cell= debug=tiny", "unknown cell '' (56 cells: rnnbench list cells)"),
        (
            "train -m cell=lstm,lsmt debug=tiny",
            "unknown cell 'lsmt'; did you mean 'lstm'? (56 cells: rnnbench list cells)",
        ),
        (
            "show cell=lsmt",
            "unknown cell 'lsmt'; did you mean 'lstm'? (56 cells: rnnbench list cells)",
        ),
        ("qqqq", "unknown command 'qqqq' (known: "),
        ("list foo", "unknown listing 'foo' (known: cells, studies, tasks)"),
        ("list cells task=coppy", "unknown task 'coppy'; did you mean 'copy'?"),
        ("data frob", "unknown action 'frob' (known: check, fetch, list)"),
        ("data fetch nothing", "unknown data file 'nothing' (13 data files: rnnbench data list)"),
        ("curves nowhere", "no folder 'nowhere'"),
        ("curves .", "no finished run under '.'"),
        ("show", "the following arguments are required: cell=NAME; see rnnbench show --help"),
        ("", "the following arguments are required: COMMAND; see rnnbench --help"),
        ("list", "are required: cells|tasks|studies; see rnnbench list --help"),
        ("judge", "are required: CELL, --against; see rnnbench judge --help"),
        ("show cell=gru --foo", "unrecognized arguments: --foo"),
        ("train --foo", "unrecognized arguments: --foo; see rnnbench train --help"),
        ("train --config-dir nowhere", "nowhere' not found"),
        ("train --config-name nothing", "no configuration 'nothing'; leave --config-name out"),
    ],
)
def test_unknown_names(line, said, refused):
    assert said in refused(line)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("optim.lrr=1", "unknown key 'optim.lrr'; did you mean 'optim.lr'? ("),
        ("model.hiden=3", "unknown key 'model.hiden'; did you mean 'model.hidden'? ("),
        ("task.lenth=3", "unknown key 'task.lenth'; did you mean 'task.length'? ("),
        ("foo=1", "unknown key 'foo' ("),
        ("hydra.foo=1", "unknown key 'hydra.foo' ("),
        ("+foo=1", "unknown key 'foo' ("),
        ("+model.hiden=1", "unknown key 'model.hiden'; did you mean 'model.hidden'?"),
        ("+task.lenth=1", "unknown key 'task.lenth'; did you mean 'task.length'?"),
        (
            "optim.momentum=0.9",
            "optim.momentum has no effect with optim=adam; it belongs to optim=nesterov or "
            "rmsprop or sgd",
        ),
        (
            "+optim.momentum=0.9",
            "optim.momentum has no effect with optim=adam; remove it or choose nesterov or rmsprop "
            "or sgd",
        ),
        (
            "task.permute=true",
            "task.permute has no effect with task=copy; it belongs to task=smnist",
        ),
        ("cell.constants.beta=1", "gru: no constant 'beta'; keyword-only arguments: none"),
        (
            "cell.paper.Q=glorot cell.init=paper",
            "cell.paper names Q, which cell 'gru' does not have",
        ),
        ("+task.name=mine", "task.name follows from what is chosen; leave it out"),
        ("+cell.digest=00", "cell.digest follows from what is chosen; leave it out"),
        ("~optim.lr", "optim.lr has no value; give it one"),
        ("~optim", "~optim takes away what every run needs; choose another with optim=…"),
        ("~cell", "~cell takes away what every run needs"),
        ("~seed", "~seed takes away what every run needs"),
    ],
)
def test_unknown_keys(typed, said, refused):
    assert said in refused(f"train debug=tiny {typed}")


# Values


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("optim.lr=abc", "optim.lr must be a number, got 'abc'"),
        ("optim.lr=null", "optim.lr must be a number, got null"),
        ("optim.clip_norm=abc", "optim.clip_norm must be a number or null, got 'abc'"),
        ("train.steps=1.5", "train.steps must be a whole number, got '1.5'"),
        ("train.stop_at_target=maybe", "train.stop_at_target must be true or false, got 'maybe'"),
        ("model.hidden=[1]", "model.hidden must be a whole number, got '[1]'"),
        ("task.length=abc", "task.length must be a whole number, got 'abc'"),
        ("cell=janet cell.constants.beta=abc", "cell.constants.beta must be a number, got 'abc'"),
        ("seed=abc", "seed must be a whole number, got 'abc'"),
        ("seed=1.5", "seed must be a whole number, got '1.5'"),
        ("cell.paper=3", "cell.paper must be a dictionary {name: value}, got '3'"),
        ("seed=-1", "seed must be at least 0, got -1"),
        ("optim.lr=-1", "optim.lr must be at least 1e-30, got -1"),
        ("optim.lr=nan", "optim.lr must be a finite number, got nan"),
        ("optim.lr=inf", "optim.lr must be a finite number, got inf"),
        ("optim.beta1=1", "optim.beta1 must be between 0 and 1, got 1"),
        ("model.hidden=0", "model.hidden must be at least 1, got 0"),
        ("train.eval_every=0", "train.eval_every must be at least 1, got 0"),
        ("engine.threads=0", "engine.threads must be at least 1, got 0"),
        ("task.length=0", "task.length must be at least 1, got 0"),
        ("model.hidden=1000000000", "use fewer units"),
        (f"model.hidden={10**22}", "model.hidden must be a whole number up to 1e+15, got 1e+22"),
        (f"train.batch={10**12}", "use smaller batches"),
        (f"task.length={10**13}", "shorter sequences"),
        (
            "model.dropout=0.5",
            "model.dropout acts between layers; with model.layers=1 it has no effect",
        ),
        (
            "model.match=params:3",
            "model.match=params:3: one unit alone has 54 parameters on this task; ask for at "
            "least that",
        ),
        (
            "model.match=20000",
            "model.match must be null, params:N or flops:N with N between 1 and 1e+12, got '20000'",
        ),
        (
            "model.match=flops:3",
            "model.match=flops:3: one unit alone has 98 FLOPs a step on this task; ask for at "
            "least that",
        ),
        ("model.dtype=float16", "unknown model.dtype 'float16'; did you mean 'float64'?"),
        (
            "optim.schedule=linear",
            "unknown optim.schedule 'linear'; did you mean 'cosine'? (known: constant, cosine, "
            "plateau, step)",
        ),
        ("optim.schedule=step", "optim.schedule=step needs optim.every"),
        (
            "optim.factor=0.5",
            "optim.factor has no effect with optim.schedule=constant; remove it or choose step or "
            "plateau",
        ),
        ("train.input_noise=1", "train.input_noise needs real-valued inputs"),
        (
            "train.steps=10 train.epochs=2",
            "train.steps=10 and train.epochs=2 both say how long to train: leave one of them out",
        ),
        ("cell.init=foo", "unknown initialisation 'foo'"),
        ("cell.init=chrono:abc", "after the colon stands a positive number"),
        ("cell=mgu cell.init=paper", "cell 'mgu' states no initialisation of its own"),
        (
            "cell=tanh cell.forget_bias=1",
            "cell.forget_bias=1 has no effect: no gate of cell 'tanh' decides what is kept; "
            "remove it",
        ),
        ("cell.forget=+q cell.forget_bias=1", "'+q' (known: n, r, z)"),
        ("engine.device=tpu", "engine.device must be auto, cpu, cuda or cuda:N, got 'tpu'"),
        ("engine.name=warp", "unknown engine 'warp' (known: auto, loop, native, torch)"),
        ("task=charlm task.corpus=nothing.txt", "there is no file 'nothing.txt'"),
        ("study=../x", "study names a folder: letters, digits, '.', '-' and '_', got '../x'"),
        ("study=", "study names a folder"),
        ("paths.results=null", "paths.results must be a text, got null"),
        ("task.length=[1,", "cannot read 'task.length=[1,': write key=value"),
        ("=3", "cannot read '=3': write key=value"),
        ("foo", "cannot read 'foo': write key=value"),
        ("gru", "cannot read 'gru': did you mean cell=gru?"),
        (
            "cell=lstm,gru",
            "cell=lstm,gru names several values; rnnbench train -m runs every combination",
        ),
    ],
)
def test_impossible_values(typed, said, refused):
    assert said in refused(f"train debug=tiny {typed}")


def test_a_task_that_names_no_longest_lag(refused, monkeypatch):
    monkeypatch.setattr("rnnbench.tasks.adding.Adding.horizon", None)
    assert "write cell.init=chrono:100 for 100 steps" in refused(
        "train task=adding cell.init=chrono debug=tiny"
    )


def test_no_cuda(refused, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "sees no CUDA device; use engine.device=cpu" in refused(
        "train engine.device=cuda debug=tiny"
    )


# Places and data


@pytest.mark.parametrize("results", ["/proc/x", "a_file", "a_file/x", "/dev/full"])
def test_results_that_cannot_be_written(results, refused, place):
    (place / "a_file").write_text("in the way")
    assert (
        "cannot write" in (said := refused(f"train {TINY} paths.results={results}"))
        and "paths.results" in said
    )


def test_data_that_cannot_be_had(refused, place, monkeypatch):
    """Offline: what is missing, where it was looked for, how it is known, where it belongs."""
    monkeypatch.setattr(
        "rnnbench.data.urlopen",
        lambda *_, **__: (_ for _ in ()).throw(OSError(0, "Network is unreachable")),
    )
    said = refused(
        f"train task=chorales debug=tiny paths.data={place.parent}/cache paths.mirror=/nowhere"
    )
    for part in (
        "polyphonic/JSB_Chorales.mat",
        "/nowhere/polyphonic",
        "https://",
        "SHA-256",
        f"at {place.parent}/cache",
        "RNNBENCH_MIRROR",
    ):
        assert part in said
    said = refused(f"data fetch ptb --data {place.parent}/cache")
    assert "3 of 3 data files could not be fetched" in said


@pytest.mark.parametrize("where", ["cache", "mirror"])
def test_data_that_are_corrupt(where, refused, place):
    (place / where / "polyphonic").mkdir(parents=True)
    (place / where / "polyphonic" / "JSB_Chorales.mat").write_text("torn")
    (place / "cache" / "polyphonic").mkdir(parents=True, exist_ok=True)
    said = refused("train task=chorales debug=tiny paths.data=cache paths.mirror=mirror")
    assert "is corrupt: expected SHA-256" in said and f"{where}/polyphonic/JSB_Chorales.mat" in said


def test_a_batch_beyond_the_data_is_refused_before_anything_is_written(refused, place):
    (place / "text.txt").write_text("abcdefgh" * 50)
    assert "lower train.batch or task.window" in refused(
        "train task=charlm task.corpus=text.txt task.window=1000 debug=tiny"
    )


@pytest.mark.parametrize("failing", ["last.pt", "curve.csv", "record.json"])
def test_a_full_disk(failing, rnnbench, monkeypatch):
    real = Path.open

    def full(path, mode="r", *args, **kwargs):
        if failing in path.name and mode[0] != "r":
            raise OSError(28, "No space left on device")
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "open", full)
    done = rnnbench(f"train {TINY}")
    assert done.code == 2 and done.err.count("\n") == 1
    assert re.match(
        rf"rnnbench: cannot write .*{failing}: No space left on device; free space", done.err
    )


def test_a_disk_that_is_full_for_tensorboard(rnnbench, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.record_writer.RecordWriter.write", full)
    done = rnnbench(f"train {TINY}")
    assert (
        done.code == 2
        and done.err.count("\n") == 1
        and "No space left on device; free space" in done.err
    )


# A cell of one's own


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("missing.py:f", "cell.step: no file 'missing.py' in "),
        ("mine.py:mein", "cell.step: unknown name in mine.py: 'mein'; did you mean 'mine'?"),
        ("mine.py", "cell.step must be mine.py:name, got 'mine.py'"),
        ("syntax.py:f", "cell.step: syntax.py:1: SyntaxError"),
        (
            "nonsense",
            "cell.step must be package.module.name or path/to/file.py:name, got 'nonsense'",
        ),
        (
            "no.such.module.f",
            "no package 'no' is installed; for a file of yours write path/to/file.py:name",
        ),
        ("rnnbench.cells.gru.gruu", "did you mean 'gru'?"),
        ("math.tanh", "is not a cell"),
        ("os.path.join", "is not a cell"),
        ("123", "cell=own needs cell.step=path/to/file.py:function, got 123"),
        ("null", "cell=own needs cell.step=path/to/file.py:function"),
        ("wrong.py:left", "wrong.py:4 left: left of @ must be W.name or R.name"),
        ("wrong.py:placed", "wrong.py:8 placed: h[0] is changed in place; write h = …"),
        ("wrong.py:branching", "wrong.py:12 branching: cannot branch on a tensor"),
        ("wrong.py:twice", "wrong.py:17 twice: W.a is used a second time"),
        ("wrong.py:stateless", "wrong.py:19 stateless: a cell takes x and at least one state"),
    ],
)
def test_a_slip_in_a_cell_of_ones_own(step, said, refused, place):
    (place / "mine.py").write_text(MINE)
    (place / "syntax.py").write_text("def f(:\n")
    (place / "wrong.py").write_text(
        "from torch import tanh\n\n"
        "def left(W, R, b, x, h):\n    return tanh(W.a @ x + h @ h)\n\n"
        "def placed(W, R, b, x, h):\n    a = tanh(W.a @ x)\n    h[0] = a\n    return h\n\n"
        "def branching(W, R, b, x, h):\n    return h if h > 0 else tanh(W.a @ x)\n\n"
        "def twice(W, R, b, x, h):\n    a = tanh(W.a @ x)\n    b = tanh(\n        W.a @ x)\n    "
        "return a * b * h\n"
        "def stateless(W, x):\n    return tanh(W.a @ x)\n"
    )
    assert said in refused(f"train cell.step={step} debug=tiny task=adding")


def test_no_step(refused):
    assert (
        refused("train cell=own debug=tiny") == "cell=own needs cell.step=path/to/file.py:function"
    )


def test_a_cell_of_ones_own_trains(rnnbench, place):
    """From any folder; an edited file is another run, and the old record stays; constants are typed
    as everything else.
    """
    (place / "mine.py").write_text(MINE)
    line = f"train cell.step=mine.py:mine cell.forget=+f cell.forget_bias=2 {TINY}"
    for times in (1, 2):
        assert rnnbench(line).code == 0
        assert len(find("results/runs/debug/adding/mine")) == 1, times
    assert rnnbench(f"{line} cell.constants.beta=0.5").code == 0
    (place / "mine.py").write_text(MINE.replace("tanh(W", "sigmoid(W"))
    assert rnnbench(line).code == 0
    found = find("results/runs/debug/adding/mine")
    assert (
        len({record["settings"]["cell"]["digest"] for _, record in found}) == 2 and len(found) == 3
    )
    assert [record["settings"]["cell"]["constants"] for _, record in found].count(
        {"beta": 0.5}
    ) == 1
    assert (
        "no constant 'gamma'; keyword-only arguments: ['beta']"
        in rnnbench(f"{line} cell.constants.gamma=1").err
    )


# What works


def test_a_run(rnnbench, place):
    """The summary fits 80 columns; asked again, the result is shown and nothing is done."""
    done = rnnbench(f"train cell=lstm {TINY}")
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    assert re.search(r"^metric +test +valid +without memory$", done.out, re.M)
    folder, _ = find("results/runs")[0]
    assert f"saved in   {folder.path}" in done.out
    assert sorted(path.name for path in place.iterdir()) == ["results"]
    before = folder.record_path.stat().st_mtime_ns
    again = rnnbench(f"train cell=lstm {TINY}")
    assert (
        again.code == 0 and f"is finished already; to repeat it: rm -r {folder.path}" in again.out
    )
    assert folder.record_path.stat().st_mtime_ns == before
    assert done.out.split("\n\n", 1)[1] in again.out
    assert (
        rnnbench("curves results/runs/debug").code == 0
        and Path("results/runs/debug/curves.png").exists()
    )


FINAL = {"test": {"loss": 1.0, "mse": 1.0, "nll": 9.0}, "valid": {"mse": 1.0, "nll": 9.0}}


def test_published_numbers_have_lines_of_their_own(capsys, place):
    from rnnbench.console import summary

    record = {
        "cell": "gru",
        "task": "chorales",
        "seed": 0,
        "status": "diverged",
        "reason": "loss not finite at step 3",
    }
    record |= {
        "best": None,
        "final": FINAL,
        "primary": {"name": "nll"},
        "baseline": {"nll": 11.09},
        "solved_at": None,
        "steps": 3,
        "hidden": 8,
    }
    record |= {
        "params": 100,
        "seconds": {"warmup": 1.0, "train": 7199.0, "eval": 90.0},
        "settings": {"task": {"dataset": "jsb"}},
    }
    summary(record, "there")
    said = capsys.readouterr().out
    assert "gru on chorales, seed 0: diverged (loss not finite at step 3)" in said
    assert re.search(r"^published  nll 8\.43 to 8\.54: .*Chung", said, re.M)
    assert "2 h 00 min training, 1 min 30 s evaluation" in said
    assert max(map(len, said.splitlines())) <= 80


def test_flags_and_overrides_in_any_order(rnnbench):
    done = rnnbench("train seed=1 --cfg job cell=lstm")
    assert done.code == 0 and "seed: 1" in done.out and "rnnbench.cells.lstm.lstm" in done.out


def test_help_names_every_choice(rnnbench):
    said = rnnbench("train --help").out
    for group in ("cell", "task", "optim", "engine", "debug"):
        for name in set(choices(group)) - {"own"}:
            assert re.search(rf"\b{name}\b", said), name
    assert not re.search(r"\bown,|\bstudy=\b,", said) and "exit codes" in said
    assert len(said.splitlines()) <= 60 and max(map(len, said.splitlines())) <= 86


def test_keys_in_the_help_exist(rnnbench, place):
    """Every key=value line of the help can be typed."""
    config = (
        rnnbench("train --cfg job task=charlm").out + rnnbench("train --cfg job task=adding").out
    )
    said = rnnbench("train --help").out
    keys = re.findall(r"^ {2,4}([a-z]+\.[a-z_]+)=", said, re.M)
    assert len(keys) > 10
    for key in keys:
        assert re.search(rf"^  {key.split('.')[1]}:", config, re.M), key


@pytest.mark.parametrize("verb", ["", "list", "show", "data", "curves"])
def test_every_verb_has_help(verb, rnnbench):
    done = rnnbench(f"{verb} --help")
    assert done.code == 0 and "usage" in done.out


def test_hydra_help():
    """In a process of its own: Hydra leaves a log behind that writes to this one's output."""
    done = run("from rnnbench import cli; cli.main(['train', '--hydra-help'])")
    assert done.returncode == 0 and "--multirun" in done.stdout


def test_lists_and_equations(rnnbench):
    assert "mut1" in rnnbench("list cells model.hidden=10").out
    assert "copy" in rnnbench("list tasks").out
    assert "zₜ = σ(" in rnnbench("show cell=gru").out
    assert "\\sigma" in rnnbench("show cell=gru --latex").out
    verified = rnnbench("show cell=gru --verify")
    assert verified.code == 0 and "✓" in verified.out and "✗" not in verified.out
    done = rnnbench("data list")
    assert done.code == 0 and "absent" in done.out


def test_data_check_finds_what_is_corrupt(rnnbench, place):
    (place / "cache" / "ptb").mkdir(parents=True)
    (place / "cache" / "ptb" / "ptb.test.txt").write_text("torn")
    done = rnnbench("data check --data cache")
    assert done.code == 2 and "corrupt (found SHA-256" in done.out


# Several runs, one after the other: Hydra's own sweeper and launcher (ours: test_sweep.py)

BASIC = "-m hydra/sweeper=basic hydra/launcher=basic"


def test_every_combination_is_run(rnnbench, place):
    done = rnnbench(f"train {BASIC} cell=lstm,gru seed=0,1 {TINY}")
    assert (done.code, done.err) == (0, "")
    assert sorted((r["cell"], r["seed"]) for _, r in find("results/runs/debug")) == [
        ("gru", 0),
        ("gru", 1),
        ("lstm", 0),
        ("lstm", 1),
    ]
    assert not list(place.rglob("multirun.yaml")) and [path.name for path in place.iterdir()] == [
        "results"
    ]


def test_the_first_that_fails_does_not_hide_the_rest(rnnbench):
    done = rnnbench(f"train model.hidden=-1,4 {TINY} {BASIC}")
    assert done.code == 3 and len(find("results/runs/debug")) == 1
    first, last = done.err.splitlines()
    assert first.startswith("rnnbench: model.hidden=-1") and first.endswith(
        "model.hidden must be at least 1, got -1"
    )
    assert last.startswith("rnnbench: 1 of 2 runs are done")


def test_a_sweep_that_is_refused_as_a_whole(rnnbench, place):
    done = rnnbench(f"train {BASIC} study=../x model.hidden=-1,-2 {TINY}")
    assert done.code == 2 and done.err.count("\n") == 3 and not list(place.iterdir())


def test_our_own_fault(rnnbench, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("rnnbench.training.train.run_pack", broken)
    done = rnnbench(f"train {TINY}")
    assert done.code == 1 and "ZeroDivisionError: of ours" in done.err
    assert done.err.splitlines()[-1].startswith(
        "rnnbench: this is a bug in rnnbench; please report the traceback"
    )
    done = rnnbench(f"train {BASIC} seed=0,1 {TINY}")
    assert done.code == 1 and done.err.count("ZeroDivisionError: of ours") == 2


def test_ctrl_c_stops_all_runs(place):
    """And prints the command that goes on."""
    line = (
        f"train {BASIC} cell=lstm,gru task=adding debug=tiny train.steps=100000 "
        f"train.checkpoint_every=5"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "rnnbench.cli", *line.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=place,
    )
    until = time.monotonic() + 60
    while not list(place.rglob("last.pt")) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == f"rnnbench: interrupted; all is saved; to go on:\n  rnnbench {line}\n"
    assert "gru on adding" not in out and len(list(place.rglob("last.pt"))) == 1


# At the door


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


def test_help_loads_nothing_heavy():
    done = run(
        "import sys; from rnnbench import cli\ntry: cli.main(['--help'])\nexcept SystemExit: "
        "print(sorted(sys.modules))"
    )
    assert done.returncode == 0 and "'argparse'" in done.stdout
    assert not re.search(r"'(torch|numpy|hydra|omegaconf|rich|pandas|matplotlib)'", done.stdout)


def test_training_loads_what_it_needs_and_no_more(tmp_path):
    line = f"train {TINY} paths.results={tmp_path}/runs"
    done = run(
        f"import sys; from rnnbench import cli; print(cli.main({line.split()!r})); "
        f"print(sorted(sys.modules))"
    )
    assert "\n0\n" in done.stdout and "'torch'" in done.stdout, done.stderr
    assert not re.search(
        r"'(torchvision|matplotlib|pandas|sklearn|statsmodels|optuna|tensorflow|jinja2\.\w+)'",
        done.stdout,
    )
    assert done.stderr == ""


def test_refusals_do_not_wait_for_torch():
    done = run(
        "import sys; from rnnbench import cli; print(cli.main(['train', 'cell=lsmt'])); "
        "print('torch' in sys.modules)"
    )
    assert done.stdout == "2\nFalse\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("rnnbench train cell=ls", {"cell=lstm", "cell=lstm_b", "cell=lstm_vanilla"}),
        ("rnnbench train cell=gru task=co", {"task=copy"}),
        ("rnnbench train -m optim=", {"optim=adam", "optim=sgd"}),
        ("rnnbench show model.hid", {"model.hidden="}),
        ("rnnbench tr", {"train"}),
        ("rnnbench ", {"train", "list", "show", "data", "curves"}),
    ],
)
def test_tab_completion(typed, offered, rnnbench, monkeypatch):
    monkeypatch.setenv("COMP_LINE", typed)
    monkeypatch.setenv("COMP_POINT", str(len(typed)))
    done = rnnbench("-sc query=bash")
    assert done.code == 0 and offered <= set(done.out.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completion_installs_for_this_command(shell, rnnbench):
    done = rnnbench(f"-sc install={shell}")
    assert done.code == 0 and "rnnbench" in done.out and "rnnbench train" not in done.out
