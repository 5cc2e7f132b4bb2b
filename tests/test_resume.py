"""Killed at any moment and asked again, a run ends with the numbers of one that nobody
disturbed.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rnnbench.errors import Interrupted
from rnnbench.runs.records import Folder
from rnnbench.training.run import run_pack

# what two equal runs may differ in
PASSING = {"seconds", "throughput", "peak_memory_bytes", "provenance", "settings"}

# Each with something that a checkpoint must hold: optimiser buffers, schedule, patience, carried
# state, dropout, half-filled sums.
CASES = {
    "adam": ("cell=lstm", "task=adding", "task.length=6"),
    "rmsprop, plateau, dropout, noise": (
        *(
            "cell=gru",
            "task=adding",
            "task.length=6",
            "model.layers=2",
            "model.dropout=0.2",
            "train.input_noise=0.1",
            "train.weight_noise=0.05",
        ),
        *(
            "optim=rmsprop",
            "optim.momentum=0.5",
            "optim.lr=0.05",
            "optim.schedule=plateau",
            "optim.factor=0.5",
            "optim.wait=0",
        ),
    ),
    "carried state, nesterov, cosine": (
        "cell=mut1",
        "task=charlm",
        "optim=nesterov",
        "optim.schedule=cosine",
        "task.window=6",
    ),
    "early stopping": (
        "cell=tanh",
        "task=adding",
        "task.length=6",
        "optim=sgd",
        "optim.lr=1",
        "train.patience=2",
    ),
    "float64": (
        "cell=fgr",
        "task=memorize",
        "task.items=2",
        "task.alphabet=4",
        "model.dtype=float64",
    ),
}
SMALL = (
    "model.hidden=4",
    "train.batch=4",
    "train.steps=31",
    "train.eval_every=6",
    "train.eval_batch=20",
    "train.eval_limit=1",
)


def numbers(folder):
    """What must be equal: the record without its times, the curve without its clock, and the
    tensors.
    """
    record = {key: value for key, value in folder.record().items() if key not in PASSING}
    curve = [
        {key: value for key, value in row.items() if key != "seconds"} for row in folder.curve()
    ]
    last = torch.load(folder.last_path, weights_only=True)
    record["checksums"] = {"best.pt": record["checksums"]["best.pt"]}  # the others hold seconds
    return (
        record,
        curve,
        torch.load(folder.best_path, weights_only=True),
        last["parameters"],
        last["optimizer"],
    )


def assert_same(ours, theirs):
    (record, curve, *tensors), (wanted, wanted_curve, *wanted_tensors) = (
        numbers(ours),
        numbers(theirs),
    )
    assert record == wanted
    assert curve == wanted_curve
    for found, expected in zip(tensors, wanted_tensors, strict=True):
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def run_for(settings_for, tmp_path):
    def made(case, *more):
        text = tmp_path / "text.txt"
        text.write_text(
            "".join(f"{k * k} bottles hang on wall {chr(97 + k)};\n" for k in range(16))
        )
        corpus = (
            (f"task.corpus={text}",)
            if "task=charlm" in CASES[case]
            else ("task.valid_size=20", "task.test_size=20")
        )
        return settings_for(*CASES[case], *SMALL, *corpus, *more)

    return made


def elsewhere(run, place):
    return replace(
        run, paths=replace(run.paths, results=str(Path(run.paths.results).with_name(place)))
    )


@pytest.mark.parametrize("case", CASES)
def test_interrupted_again_and_again_is_uninterrupted(case, run_for, trained, silent):
    """Stopped before an evaluation, at one, after one, and in between; every time from a new
    process's point of view.
    """
    run = run_for(case)
    (whole,) = trained(run)
    torn = elsewhere(run, "torn")
    for stop in (1, 5, 6, 7, 12, 20):
        if stop < whole["steps"]:
            watch = silent(stop_after=stop)
            with pytest.raises(Interrupted):
                trained(torn, watch=watch)
            assert Folder.of(torn).record() is None
            assert torch.load(Folder.of(torn).last_path, weights_only=True)["step"] == stop
    watch = silent()
    trained(torn, watch=watch)
    assert len(watch.losses) < whole["steps"]  # it did go on, it did not begin anew
    assert_same(Folder.of(torn), Folder.of(run))


def test_a_pack_that_was_interrupted_goes_on_in_other_company(run_for, trained, silent):
    """Two runs stop at step 9; one is asked again alone, the other with a third run that is new."""
    runs = [run_for("adam", f"seed={seed}", "model.dtype=float64") for seed in range(3)]
    for run in runs:
        trained(run)
    torn = [elsewhere(run, "torn") for run in runs]
    with pytest.raises(Interrupted):
        trained(*torn[:2], watch=silent(stop_after=9))
    trained(torn[0])
    records = trained(torn[2], torn[1])
    assert [r["seed"] for r in records] == [2, 1]
    for run, undisturbed in zip(torn, runs, strict=True):
        ours, theirs = Folder.of(run), Folder.of(undisturbed)
        assert ours.record()["best"]["step"] == theirs.record()["best"]["step"]
        assert ours.record()["best"]["test"] == pytest.approx(
            theirs.record()["best"]["test"], rel=1e-10
        )
        for row, expected in zip(ours.curve(), theirs.curve(), strict=True):
            split, wanted = row.pop("split"), expected.pop("split")
            assert split == wanted and row | {"seconds": 0} == pytest.approx(
                expected | {"seconds": 0}, rel=1e-10
            )


def test_a_run_that_stopped_early_in_an_interrupted_pack_ends_alike(run_for, trained, silent):
    """Its companions were interrupted after it had been frozen."""
    shared = ("train.patience=2", "task.valid_size=20")
    runs = [run_for("adam", "optim.lr=1e-30", *shared), run_for("adam", "optim.lr=0.001", *shared)]
    trained(*runs)
    torn = [elsewhere(run, "torn") for run in runs]
    with pytest.raises(Interrupted):
        trained(*torn, watch=silent(stop_after=25))
    records = trained(*torn)
    assert records[0]["status"] == "stopped" and records[0]["steps"] == 18
    for ours, theirs in zip(torn, runs, strict=True):
        assert Folder.of(ours).record()["best"] == Folder.of(theirs).record()["best"]
        assert Folder.of(ours).record()["final"] == Folder.of(theirs).record()["final"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "text"])
def test_a_checkpoint_that_cannot_be_read_is_ignored_with_a_message(
    damage, run_for, trained, silent
):
    run = run_for("adam")
    trained(run)
    torn = elsewhere(run, "torn")
    with pytest.raises(Interrupted):
        trained(torn, watch=silent(stop_after=9))
    path = Folder.of(torn).last_path
    whole = path.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"not a checkpoint"}
    if damage == "foreign":
        torch.save({"state_dict": {"weight": torch.zeros(2)}}, path)
    else:
        path.write_bytes(content[damage])
    said, watch = [], silent()
    trained(torn, watch=watch, say=said.append)
    (line,) = [text for text in said if "ignoring" in text]
    assert str(path) in line and "starting anew" in line and "\n" not in line
    assert len(watch.losses) == 31
    assert_same(Folder.of(torn), Folder.of(run))


def test_no_pickle_is_loaded(run_for, trained, tmp_path):
    """A checkpoint that would run code when unpickled is ignored."""
    run = run_for("adam")
    path = Folder.of(run).last_path
    path.parent.mkdir(parents=True)

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    torch.save({"progress": Trap()}, path)
    said = []
    trained(run, say=said.append)
    assert any("ignoring" in text for text in said) and not (tmp_path / "sprung").exists()


# The program itself

LONG = (
    "cell=lstm task=adding task.length=10 model.hidden=8 train.batch=8 train.steps=600 "
    "train.eval_every=50 train.eval_limit=1 train.eval_batch=20"
)
LONG = [
    *LONG.split(),
    "task.valid_size=20",
    "task.test_size=20",
    "engine.device=cpu",
    "train.checkpoint_every=20",
    "study=long",
]


def started(place, *arguments):
    command = [sys.executable, "-W", "error", "-m", "rnnbench.cli", *arguments]
    return subprocess.Popen(
        command,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_checkpoint(process, place, timeout=60):
    until = time.monotonic() + timeout
    while not (found := list(Path(place).rglob("last.pt"))):
        assert process.poll() is None and time.monotonic() < until, (
            f"no checkpoint: {process.communicate()[0]}"
        )
        time.sleep(0.01)
    return Folder(found[0].parent)


@pytest.fixture
def undisturbed(settings_for, trained):
    run = settings_for(*LONG)
    trained(run)
    return Folder.of(run)


def test_killed_and_asked_again(undisturbed, tmp_path):
    arguments = ["train", *LONG, "paths.results=killed"]
    process = started(tmp_path, *arguments)
    folder = wait_for_checkpoint(process, tmp_path / "killed")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert folder.record() is None, "the run had ended before it could be killed"
    reached = torch.load(folder.last_path, weights_only=True)["step"]
    assert 0 < reached < 600 and reached % 20 == 0
    process = started(tmp_path, *arguments)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"continued from step {reached}" in output
    assert folder.path.name == undisturbed.path.name
    assert_same(folder, undisturbed)


def test_ctrl_c_saves_and_prints_the_command_that_goes_on(undisturbed, tmp_path):
    """And a run that has ended is not repeated."""
    process = started(tmp_path, "train", *LONG, "paths.results=a folder")
    folder = wait_for_checkpoint(process, tmp_path / "a folder")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output and folder.record() is None
    reached = torch.load(folder.last_path, weights_only=True)["step"]
    (command,) = [
        line.strip() for line in output.splitlines() if line.strip().startswith("rnnbench train")
    ]
    process = started(tmp_path, *shlex.split(command)[1:])
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"continued from step {reached}" in output
    assert_same(folder, undisturbed)

    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    process = started(tmp_path, *shlex.split(command)[1:])
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "is finished already" in output
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before


def test_run_pack_has_no_second_code_path(run_for, silent):
    """A single run is a pack of one: its record says so."""
    (record,) = run_pack([run_for("adam")], [[]], silent(), print)
    assert record["replicas"] == 1
