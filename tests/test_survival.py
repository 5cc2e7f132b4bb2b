"""A sweep survives: killed anywhere, stopped, joined by another, or with runs that fail, asking
again does what is missing.

Every test starts the command as a person does, in a process group of its own.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest

from rnnbench.runs.lock import holder
from rnnbench.runs.records import Folder, find

RUNS = (
    "cell=gru task=adding seed=0,1,2,3,4,5 task.length=5 task.valid_size=20 task.test_size=20 "
    "model.hidden=4 train.batch=4 study=s"
)
RHYTHM = "train.steps=500 train.eval_every=250 train.checkpoint_every=20 model.dtype=float64"
FRAGILE = """
import os
from pathlib import Path
from torch import tanh

def cell(W, R, b, x, h):
    if {when}:
        {act}
    return tanh(W.z @ x + R.z @ h + b.z)
"""


@pytest.fixture
def sweep(tmp_path):
    """sweep("workers=2") starts it; .wait() → code, out, err."""
    started = []

    def start(*extra, runs=RUNS, rhythm=RHYTHM):
        line = ["train", "-m", *runs.split(), *rhythm.split(), *extra]
        process = subprocess.Popen(
            [sys.executable, "-m", "rnnbench.cli", *line],
            cwd=tmp_path,
            env=os.environ | {"COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)

        def wait():
            out, err = process.communicate(timeout=300)
            return SimpleNamespace(code=process.returncode, out=out, err=err)

        return SimpleNamespace(process=process, pid=process.pid, wait=wait, line=line)

    yield start
    for process in started:
        kill_group(process.pid)
        if process.stdout and not process.stdout.closed:
            process.communicate()


def kill_group(pid, how=signal.SIGKILL):
    with suppress(ProcessLookupError):
        os.killpg(pid, how)


def until(true, seconds=300):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def records(tmp_path):
    return sorted((tmp_path / "results/runs/s").glob("*/*/*/record.json"))


def stamps(tmp_path):
    return {path: path.stat().st_mtime_ns for path in records(tmp_path)}


def kill_a_worker(tmp_path):
    """Kill a process in the middle of a run: it is stopped first, so that the run cannot end in
    between. False: nobody was there.
    """
    for path in (tmp_path / "results/runs/s").glob("*/*/*/last.pt"):
        run = Folder(path.parent)
        with suppress(ProcessLookupError):
            if worker := holder(run):
                pid = int(worker.split()[1])
                os.kill(pid, signal.SIGSTOP)
                if holder(run) == worker and not (path.parent / "record.json").exists():
                    os.kill(pid, signal.SIGKILL)
                    return True
                os.kill(pid, signal.SIGCONT)
    return False


def results(tmp_path):
    """seed → what must be equal however the sweep got there."""
    found = [record for _, record in find(tmp_path / "results/runs/s")]
    return {r["seed"]: (r["status"], r["steps"], r["best"], r["final"]) for r in found}


def same(one, other):
    assert one.keys() == other.keys()
    for seed in one:
        assert one[seed][:2] == other[seed][:2]
        for a, b in zip(one[seed][2:], other[seed][2:], strict=True):
            for split in ("valid", "test"):
                assert a[split] == pytest.approx(b[split], rel=1e-10)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The results of the sweep when nothing happens to it: one pack in this process."""
    from rnnbench.compose import compose
    from rnnbench.training.run import run_pack
    from tests.conftest import Silent

    place = tmp_path_factory.mktemp("undisturbed")
    common = [o for o in f"{RUNS} {RHYTHM}".split() if not o.startswith("seed=")]
    runs = [
        compose([*common, f"seed={seed}", f"paths.results={place}/results/runs"])
        for seed in range(6)
    ]
    run_pack(runs, [[]] * 6, Silent(), print)
    return results(place)


@pytest.mark.parametrize("whole", [True, False], ids=["group", "parent"])
def test_stop_it_kill_it_and_ask_again(sweep, tmp_path, undisturbed, whole):
    """Ctrl-C (at a terminal it reaches the whole group), then kill -9, then the end: each time only
    what is missing runs.
    """

    def disturbed(how):
        before = stamps(tmp_path)
        running = sweep("workers=1", "pack=1")
        until(lambda: len(records(tmp_path)) > len(before))
        kill_group(running.pid, how) if whole else os.kill(running.pid, how)
        done = running.wait()
        assert before.items() <= stamps(tmp_path).items()
        return done, f"rnnbench {' '.join(running.line)}"

    stopped, command = disturbed(signal.SIGINT)
    assert stopped.code == 130 and "stopping: workers save and end" in stopped.out
    assert (
        stopped.err == f"rnnbench: interrupted; what was running is saved; to go on:\n  {command}\n"
    )
    assert list((tmp_path / "results/runs/s").glob("*/*/*/last.pt"))
    disturbed(signal.SIGKILL)
    before = stamps(tmp_path)
    assert len(before) < 6
    again = sweep("workers=1", "pack=1").wait()
    assert (again.code, again.err) == (0, "") and "ended before" in again.out
    assert before.items() <= stamps(tmp_path).items()
    same(results(tmp_path), undisturbed)


def test_a_killed_worker(sweep, tmp_path, undisturbed):
    first = sweep("workers=2", "pack=2")
    until(lambda: kill_a_worker(tmp_path))
    done = first.wait()
    assert (done.code, done.err) == (0, "") and "a worker died" in done.out
    same(results(tmp_path), undisturbed)


def test_two_sweeps_at_once(sweep, tmp_path, undisturbed):
    one, two = sweep("workers=1", "pack=2"), sweep("workers=1", "pack=2")
    codes = one.wait(), two.wait()
    assert [(c.code, c.err) for c in codes] == [(0, "")] * 2
    same(results(tmp_path), undisturbed)
    for folder, record in find(tmp_path / "results/runs/s"):
        assert len(list(folder.board_path.iterdir())) == 1 and len(folder.curve()) == 4
        assert record["status"] == "finished"


def test_a_run_that_fails(sweep, tmp_path):
    """Is recorded with its traceback and takes nobody with it; retry and fail_fast decide what
    follows.
    """
    (tmp_path / "mine.py").write_text(
        FRAGILE.format(when="not Path('mended').exists()", act="raise RuntimeError('of mine')")
    )
    both = RUNS.replace("cell=gru", "cell.step=mine.py:cell,rnnbench.cells.rnn.tanh")
    few = both.replace("seed=0,1,2,3,4,5", "seed=0,1")
    first = sweep("workers=1", runs=few).wait()
    assert first.code == 3 and "2 of 4 runs failed" in first.err and first.err.count("\n") == 1
    assert "RuntimeError: of mine" in first.out
    found = {(r["cell"], r["status"]) for _, r in find(tmp_path / "results/runs/s")}
    assert found == {("cell", "failed"), ("tanh", "finished")}
    failed = next(r for _, r in find(tmp_path / "results/runs/s") if r["status"] == "failed")
    first_line, *rest = failed["reason"].splitlines()
    assert first_line.endswith("mine.py:8 cell: RuntimeError: of mine") and rest[0].startswith(
        "Traceback"
    )

    before = stamps(tmp_path)
    left = sweep("retry=none", runs=few).wait()
    assert left.code == 3 and stamps(tmp_path) == before
    (tmp_path / "mended").touch()
    mended = sweep("workers=1", runs=few).wait()
    assert mended.code == 0 and len(records(tmp_path)) == 4


def test_a_run_that_kills_its_worker(sweep, tmp_path):
    """An optimiser setting cannot; a cell of one's own, or the system for want of memory, can."""
    (tmp_path / "mine.py").write_text(FRAGILE.format(when="True", act="os.kill(os.getpid(), 9)"))
    few = RUNS.replace("cell=gru", "cell.step=mine.py:cell,rnnbench.cells.rnn.tanh").replace(
        "seed=0,1,2,3,4,5", "seed=0"
    )
    done = sweep("workers=1", runs=few).wait()
    assert done.code == 3 and "1 of 2 runs failed" in done.err
    states = {r["cell"]: (r["status"], r["reason"]) for _, r in find(tmp_path / "results/runs/s")}
    assert states["tanh"][0] == "finished" and states["cell"][1].startswith(
        "its worker was killed 3 times"
    )


def test_fail_fast(sweep, tmp_path):
    (tmp_path / "mine.py").write_text(
        FRAGILE.format(when="True", act="raise RuntimeError('of mine')")
    )
    both = RUNS.replace("cell=gru", "cell.step=mine.py:cell,rnnbench.cells.rnn.tanh")
    done = sweep(
        "workers=1", "pack=1", "fail_fast=true", runs=both, rhythm="train.steps=100000"
    ).wait()
    assert done.code == 3 and "fail_fast stopped the sweep" in done.err
    assert {r["status"] for _, r in find(tmp_path / "results/runs/s")} == {"failed"}


BACKENDS = [
    pytest.param("ray", ["backend=ray"], id="ray"),
    pytest.param("distributed", ["backend=dask"], id="dask"),
    pytest.param("submitit", ["backend=submitit", "cluster.cluster=local"], id="submitit"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "options"), BACKENDS)
def test_clusters(sweep, tmp_path, undisturbed, module, options):
    """Two worker processes; one is killed in the middle; nothing is lost."""
    pytest.importorskip(module)  # `make install` installs it
    first = sweep(*options, "workers=2", "pack=2", rhythm=RHYTHM)
    until(lambda: kill_a_worker(tmp_path))
    done = first.wait()
    assert done.code == 0, done.err
    assert "a worker died" in done.out
    same(results(tmp_path), undisturbed)
    assert json.loads(records(tmp_path)[0].read_text())["replicas"] <= 2
    assert not re.search(r"Traceback|Error", done.err + done.out)


def test_what_workers_say_stays_with_them(sweep, tmp_path):
    noise = "print('noise', flush=True); os.write(2, b'more noise')"
    (tmp_path / "loud.py").write_text(FRAGILE.format(when="True", act=noise))
    done = sweep("workers=1", runs=RUNS.replace("cell=gru", "cell=loud.py:cell")).wait()
    assert (done.code, done.err) == (0, "") and "noise" not in done.out
    assert not list((tmp_path / "results/runs/s/.sweeps").glob("going*"))
