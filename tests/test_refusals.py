"""Every value is refused or used, and nothing that can be typed ends in a traceback."""

import json
import os
import shlex
import stat
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench import compose
from rnnbench.cli import main
from rnnbench.errors import UserError
from rnnbench.sweep import launch

TINY = "train debug=tiny train.steps=1 task.valid_size=1 task.test_size=1"
REFUSED = {  # after `train debug=tiny`: what the line has to name
    "model=null": "model",
    "paths=null": "paths",
    "optim=null": "optim=null",
    "task=null": "task=null",
    "cell=null": "cell=null",
    "engine=null": "engine=null",
    "train=null": "train=null",
    "cell.forget_bias=nan": "cell.forget_bias must be a finite number, got nan",
    "cell.forget_bias=-inf": "cell.forget_bias must be a finite number",
    "cell.forget=abc": "'abc'",
    "task.target=nan": "task.target must be a finite number, got nan",
    "optim.lr=0": "optim.lr must be at least",
    "optim.lr=1e400": "optim.lr must be a finite number",
    "optim.eps=1e9": "optim.eps must be between 0 and 1",
    "task=adding train.input_noise=1e300": "train.input_noise",
    "train.stop_at_target=-1": "train.stop_at_target must be true or false, got -1",
    "paths.results=": "paths.results must be a folder",
    "paths.results=http://x": "got 'http://x'",
    "train.steps=1e22": "train.steps must be a whole number up to 1e+15, got 1e+22",
    "task.length=1000000000000": "task=copy: one sequence of up to 1500000000",
    "task=adding task.length=1000000000000 --cfg job": "one sequence of up to 1000000000",
    "model.hidden=1e22": "model.hidden must be a whole number",
    "train.batch=1e22": "train.batch must be a whole number",
    "seed=1e22": "seed must be a whole number",
    "task.length=1e22": "task.length must be a whole number",
    "task.items=100000000000000000000000": "task.items must be a whole number",
    "optim.lr=-3 --cfg job": "optim.lr must be at least",
    f"study={'a' * 256}": "study names a folder: at most",
    "--resolve": "--resolve belongs to --cfg",
    "--experimental-rerun x": "rnnbench repeat",
    "hydra/launcher=results/runs": "unknown hydra/launcher 'results/runs'",
    "-sc": "-sc belongs before the verb",
    "+x=${x}": "got '+x=${x}'",
    "cell=gru optim.lr=${nothing}": "got 'optim.lr=${nothing}'",
    "-m optim.lr=interval(nan,inf) trials=3": "optim.lr: interval(nan, inf)",
    "-m workers=1e22": "workers must be a whole number",
}
OTHERS = {
    "-sc": "cannot complete",
    "-sc install=": "cannot complete",
    "-sc query=bash": "cannot complete",
    "data check nope": "'nope'",
    "repeat . --seed -1": "--seed must be at least 0, got -1",
}


@pytest.fixture
def refuses(tmp_path, monkeypatch, capsys):
    """The line that refuses a command, which wrote nothing."""
    monkeypatch.chdir(tmp_path)

    def run(line):
        code = main(shlex.split(line))
        said = capsys.readouterr().err
        assert code == 2 and said.startswith("rnnbench: ") and "Traceback" not in said, said
        assert not list(tmp_path.rglob("*"))
        return said

    return run


@pytest.mark.parametrize("typed", REFUSED)
def test_settings_that_cannot_be_are_refused(refuses, typed):
    assert REFUSED[typed] in refuses(f"train debug=tiny {typed}")


HINTS = {
    "model.units=32": "model.hidden",
    "units=32": "model.hidden",
    "lr=1": "optim.lr",
    "optim.learning_rate=1": "optim.lr",
    "hidden=3": "model.hidden",
    "batch_size=3": "train.batch",
    "cell=LSTM": "lstm",
    "task=Copy": "copy",
}


@pytest.mark.parametrize("typed", HINTS)
def test_what_others_call_it_is_understood(refuses, typed):
    assert f"did you mean '{HINTS[typed]}'?" in refuses(f"train debug=tiny {typed}")


@pytest.mark.parametrize("line", OTHERS)
def test_other_commands_that_cannot_be(refuses, line):
    assert OTHERS[line] in refuses(line)


def test_a_picture_needs_an_ending_that_is_one(tmp_path, monkeypatch, capsys):
    from synthetic import make_study

    study = make_study(tmp_path / "demo", cells=["gru"], seeds=range(1))
    assert main(["curves", str(study), "--out", str(tmp_path / "x.xyz")]) == 2
    assert "x.xyz" in capsys.readouterr().err and not (tmp_path / "x.xyz").exists()


def test_runs_that_failed_have_no_curve(tmp_path, capsys):
    from synthetic import make_study

    study = make_study(tmp_path / "demo", cells=["gru"], seeds=range(2))
    records = sorted(study.rglob("record.json"))
    lost = ("best", "final", "primary", "baseline", "target", "seconds", "steps")
    for record in records:  # one after another
        kept = json.loads(record.read_text()) | dict.fromkeys(lost)
        kept.pop("checksum", None)
        record.write_text(json.dumps(kept | {"status": "failed", "reason": "no"}))
        code = main(["curves", str(study), "--out", str(tmp_path / "x.png")])
        assert code == (2 if record == records[-1] else 0)
    assert "every run failed" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["collect", "curves", "export --to torch", "report", "bench"])
def test_what_is_no_file_stays(tmp_path, capsys, verb):
    """A device, a pipe; /dev/full has no end, and /dev/null is everybody's."""
    from synthetic import make_study

    study = make_study(tmp_path / "demo", cells=["gru"], seeds=range(1))
    for name in ("pipe", "pipe.png"):
        os.mkfifo(tmp_path / name)
        place = [] if verb == "bench" else [str(study)]
        assert main([*verb.split(), *place, "--out", str(tmp_path / name)]) == 2, name
        assert stat.S_ISFIFO((tmp_path / name).lstat().st_mode)
        assert "Traceback" not in capsys.readouterr().err


WHERE = {  # words behind a flag belong to those before it
    "report one --out made two": "'one'",
    "bench --repeats 1 nocell": "'nocell'",
    "eval one --json task.length=3 nowhere": "'one'",
    "data fetch --data made nofile": "'nofile'",
    "sample /proc": "/proc is no run",
    "train --info=nothing": "'nothing'",
    "judge lstm --against cell/lstm": "'cell/lstm'",
    "train ~nokey": "~nokey",
    "show ~": "~: there is no such key",
    "train optim.eps=\x89": "optim.eps=",
    "export --to torch": "--to torch",
    "status ~nobodyatall": "~nobodyatall",
    "train hydra.run.dir=x": "hydra.run.dir=x",
    "bench lstm --out \uda79x": r"got '\uda79x': half a character",
    "train cell=??? task=adding": "cell=??? is no value",
    "train optim=[]": "optim=[] takes away what every run needs",
    "train -m seed=range(1e9)": "seed=range(1e9) has 1e+09 values",
    "train -m cell=lstm model=glob(*)": "model=glob(*) matches nothing",
    "judge lstm --against {a:1}": "cell={a:1}: cell is chosen by a name",
}


@pytest.mark.parametrize("line", WHERE)
def test_a_line_is_read_to_its_end_and_named(refuses, line):
    assert WHERE[line] in refuses(line)


@pytest.mark.parametrize("kind", ["", "defaults"])
def test_what_hydra_shows_goes_into_a_pipe_that_nobody_reads(kind):
    words = [sys.executable, "-m", "rnnbench.cli", "train", "debug=tiny", "--info", *kind.split()]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as shown:
        shown.stdout.close()
        assert b"Traceback" not in shown.stderr.read()


@pytest.mark.parametrize("name", ["2026_11_26", "1e5", "true", "null", "007", "1.0", "0x10", "yes"])
def test_the_name_of_a_study_is_kept_to_the_letter(monkeypatch, name):
    assert compose.compose([f"study={name}"]).study == name
    made = []
    monkeypatch.setattr(launch, "launch", lambda jobs, options, command: made.extend(jobs))
    compose.run(["-m", f"study={name},other", "seed=0,1"], pytest.fail, pytest.fail)
    assert [job.settings.study for job in made] == [name, name, "other", "other"]


def test_names_may_be_as_long_as_folders_bear():
    assert compose.compose([f"study={'a' * 80}"]).study == "a" * 80


KEYS = """
cell cell.forget cell.forget_bias cell.init cell.step cell.constants.x task task.length task.type
task.target model model.hidden model.layers model.match model.dropout model.dtype optim optim.lr
optim.eps optim.schedule optim.clip_norm train train.steps train.batch train.patience
train.stop_at_target engine engine.threads engine.device paths paths.results seed study debug hydra
hydra.run lr ~cell +x ++x
"""
VALUES = """
null true nan -inf 1e22 -1 0 0.5 lstm gru adam tiny '' [] {} [1,2] {a:1} ${x} ${oc.env:X} x.py:f
a/b .. params:0 params:x 1_000 0x1 choice(1,2) range(3) interval(0,1) glob(*) cuda:9 float16 ???
"""
TYPED = st.tuples(
    st.sampled_from(KEYS.split()),
    st.sampled_from(VALUES.split())
    | st.text(st.characters(blacklist_categories=("Cs",)), max_size=6),
)


@settings(max_examples=int(os.environ.get("RNNBENCH_FUZZ", "150")))
@given(st.lists(TYPED, min_size=1, max_size=3))
def test_whatever_is_typed_is_read_or_refused_in_a_line(pairs):
    words = [f"{key}={value}" for key, value in pairs]
    try:
        compose.compose(words)
    except UserError as refused:
        assert str(refused)
