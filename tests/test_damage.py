"""Damage is noticed: a flipped bit or a missing end changes no result and gives no traceback."""

import _ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rnnbench.engine.native import build
from rnnbench.errors import Interrupted, UserError
from rnnbench.runs.checksums import Damaged, check_archive, check_yaml, seal_archive, seal_yaml
from rnnbench.runs.collect import collect, restore
from rnnbench.runs.frame import curves, load
from rnnbench.runs.records import Folder
from rnnbench.tools import kept
from rnnbench.tools.opening import open_run
from rnnbench.training.run import run_pack, tensors

TINY = (
    "debug=tiny task=adding cell=gru model.hidden=2 train.steps=6 train.eval_every=2",
    "train.eval_limit=1 train.batch=4 task.length=5 task.valid_size=10 task.test_size=10",
    "engine=loop model.dtype=float64",
)
TINY = tuple(word for line in TINY for word in line.split())
TRIES = 40  # of each file; `RNNBENCH_DAMAGE=1000` by hand


@pytest.fixture(scope="module")
def tries(pytestconfig) -> int:
    return int(os.environ.get("RNNBENCH_DAMAGE", TRIES))


def spoilt(data: bytes, rng: random.Random) -> bytes:
    """One bit flipped, or cut short."""
    at = rng.randrange(len(data))
    if rng.random() < 0.2:
        return data[:at]
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


@pytest.fixture
def run(settings_for):
    return settings_for(*TINY)


@pytest.fixture
def ended(run, trained):
    trained(run)
    return Folder.of(run)


@pytest.fixture
def half(run, silent):
    """A run that was stopped, and the record that it comes to."""
    whole = replace(run, paths=replace(run.paths, results=f"{run.paths.results}-whole"))
    (record,) = run_pack([whole], [[]], silent(), print)
    with pytest.raises(Interrupted):
        run_pack([run], [[]], silent(stop_after=4), print)
    return Folder.of(run), record


def scores(record) -> str:
    return json.dumps([record["best"], record["final"], record["steps"], record["solved_at"]])


def test_a_spoilt_checkpoint_changes_no_result(half, run, silent, tries, tmp_path):
    folder, expected = half
    shutil.copytree(folder.path, tmp_path / "kept")
    content, rng, anew = folder.last_path.read_bytes(), random.Random(1), 0
    for _ in range(tries):
        shutil.rmtree(folder.path)
        shutil.copytree(tmp_path / "kept", folder.path)
        bad = spoilt(content, rng)
        folder.last_path.write_bytes(bad)
        said = []
        (record,) = run_pack([run], [[]], silent(), said.append)
        assert scores(record) == scores(expected)
        assert any("last.pt" in text and "starting anew" in text for text in said)
        assert (folder.path / "last.pt.damaged").read_bytes() == bad
        anew += 1
    assert anew == tries


@pytest.mark.parametrize(
    "change",
    [
        {"step": 10**9},
        {"step": float("nan")},
        {"step": -1},
        {"step": True},
        {"progress": {}},
        {"progress": []},
        {"summed_steps": None},
        {"seconds": {}},
        {"seconds": {"warmup": None, "train": 1.0, "eval": 1.0}},
        {"parameters": {}},
        {"best": {"0.W": torch.zeros(3)}},
        {"optimizer": {"nothing": torch.zeros(1)}},
        {"sums": {"loss": 1.0, "norm": 1.0, "norm_before": 1.0}},
    ],
)
def test_a_crafted_checkpoint_is_put_aside(half, run, silent, change):
    folder, expected = half
    found = torch.load(folder.last_path, weights_only=True)
    folder.last_path.write_bytes(tensors(found | change))
    if not change.keys() & {"best", "optimizer", "sums"}:  # which nobody reads who looks at weights
        with pytest.raises(UserError, match=r"last\.pt"):
            open_run(folder.path, weights="last")
    said = []
    (record,) = run_pack([run], [[]], silent(), said.append)
    assert scores(record) == scores(expected) and "last.pt" in said[0], said
    assert (folder.path / "last.pt.damaged").exists()


def test_one_misfit_does_not_cost_the_others(half, run, silent):
    """Of a pack, only the run whose checkpoint does not fit starts anew."""
    folder, expected = half
    other = replace(run, seed=1)
    with pytest.raises(Interrupted):
        run_pack([other], [[]], silent(stop_after=4), print)
    found = torch.load(Folder.of(other).last_path, weights_only=True)
    Folder.of(other).last_path.write_bytes(tensors(found | {"parameters": {}}))
    said = []
    records = run_pack([run, other], [[], []], silent(), said.append)
    assert scores(records[0]) == scores(expected) and records[1]["seed"] == 1
    assert len(said) == 1 and not (folder.path / "last.pt.damaged").exists()


def test_spoilt_weights_are_not_used(ended, tries):
    content, rng = ended.best_path.read_bytes(), random.Random(2)
    for _ in range(tries):
        ended.best_path.write_bytes(spoilt(content, rng))
        with pytest.raises(UserError, match=r"best\.pt"):
            open_run(ended.path)
    ended.best_path.write_bytes(content)
    open_run(ended.path)


def test_the_weights_of_another_run_are_not_used(ended, run, trained):
    other = replace(run, seed=1)
    trained(other)
    shutil.copy(Folder.of(other).best_path, ended.best_path)
    with pytest.raises(UserError, match=r"best\.pt was damaged or edited"):
        open_run(ended.path)


def test_a_spoilt_record_is_no_result(ended, run, trained, tries, capfd):
    content, rng, expected = ended.record_path.read_bytes(), random.Random(3), ended.record()
    frame = load(ended.path)
    for _ in range(tries):
        ended.record_path.write_bytes(bad := spoilt(content, rng))
        found = Folder(ended.path).record()
        # the key of the checksum itself may be what was hit
        assert found is None or expected.items() <= found.items(), bad
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with suppress(UserError):
                assert load(ended.path).equals(frame), bad
    ended.record_path.write_bytes(content.replace(b'"seed": 0', b'"seed": 1', 1))
    with pytest.raises(UserError, match=r"record\.json was damaged or edited"):
        kept.record(ended)
    assert "record.json: it was damaged or edited" in capfd.readouterr().err
    trained(run)  # made anew
    assert ended.record() is not None and (ended.path / "record.json.damaged").exists()


def test_a_spoilt_config_is_named(ended, tries):
    path, rng = ended.path / "config.yaml", random.Random(4)
    content, record = path.read_bytes(), ended.record()
    expected = kept.config(ended, record)
    for _ in range(tries):
        path.write_bytes(bad := spoilt(content, rng))
        try:
            assert kept.config(ended, None) == expected, bad
        except UserError as refused:
            assert "config.yaml" in str(refused)


def test_a_spoilt_curve_is_no_curve(ended, tries):
    content, rng, frame = ended.curve_path.read_bytes(), random.Random(5), load(ended.path)
    for _ in range(tries):
        ended.curve_path.write_bytes(spoilt(content, rng))
        with pytest.warns(UserWarning, match="no curve to read"):
            assert curves(frame).empty


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
def test_a_spoilt_file_of_runs_changes_no_result(ended, run, tmp_path, tries, name):
    file, rng = tmp_path / name, random.Random(6)
    collect(ended.path, file)
    content, expected = file.read_bytes(), load(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(tries):
            file.write_bytes(spoilt(content, rng))
            try:
                assert load(file).equals(expected)
            except UserError as refused:
                assert "runs.jsonl" in str(refused)
    file.write_bytes(content[: len(content) // 2])
    if name.endswith(".gz"):  # put aside and made anew
        with pytest.warns(UserWarning, match=r"kept in .*\.damaged"):
            collect(ended.path, file)
        assert load(file).equals(expected)


def test_what_is_restored_is_whole(ended, tmp_path):
    collect(ended.path, tmp_path / "runs.jsonl")
    assert restore(tmp_path / "runs.jsonl", tmp_path / "back") == 1
    frame = load(tmp_path / "back")
    assert not curves(frame).empty
    kept.config(Folder(Path(frame["folder"][0])), None)


# Seals


def test_a_seal_covers_every_bit():
    for seal, check, whole in (
        (seal_archive, check_archive, tensors({"a": torch.zeros(3)})),
        (lambda data: data, check_archive, tensors({"a": torch.zeros(3)})),
        (seal_yaml, check_yaml, "a: 1\nb: [2, 3]\n"),
    ):
        data = whole if isinstance(whole, bytes) else seal(whole).encode()
        assert check(data) == data
        seen = 0
        for at in range(8 * len(data)):
            bad = bytearray(data)
            bad[at // 8] ^= 1 << at % 8
            try:
                check(bytes(bad))
            except Damaged:
                seen += 1
        hidden = 8 * len(data) - seen
        assert hidden == 0 or (
            check is check_yaml and hidden < 8 * len("# checksum 0123456789abcdef\n")
        )


def test_archives_without_a_seal_are_taken(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt")
    data = (tmp_path / "old.pt").read_bytes()
    assert check_archive(data) == data
    (tmp_path / "new.pt").write_bytes(seal_archive(data))
    assert torch.load(tmp_path / "new.pt", weights_only=True)["a"].tolist() == [1, 1]
    for cut in (0, 1, 100, len(data) - 1):
        with pytest.raises(Damaged):
            check_archive(data[:cut])


# The cache of compiled code

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler here")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with one small library in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.private_folder.cache_clear()
    build._say.cache_clear()
    build.library(SOURCE, ("-O0",))
    return build.cache_folder()


SOURCE = 'extern "C" int answer() { return 42; }'


@needs_compiler
def test_a_spoilt_library_is_compiled_anew(cache, capfd):
    rng = random.Random(7)
    for _ in range(5):
        (path,) = cache.glob("*.so")
        bad = spoilt(path.read_bytes(), rng)
        path.unlink()  # this process has it loaded
        path.write_bytes(bad)
        assert build.library(SOURCE, ("-O0",)).answer() == 42
        assert "compiled anew" in capfd.readouterr().err
        assert len(list(cache.glob("*.so"))) == 1
        build._say.cache_clear()


@needs_compiler
def test_a_thousand_spoilt_libraries(cache, tmp_path, monkeypatch, capfd, tries):
    """None is loaded; a compiler that copies the first one makes each anew, which is as good."""
    (path,) = cache.glob("*.so")
    whole = path.read_bytes()
    (tmp_path / "made.so").write_bytes(whole)
    body = f'for last; do :; done; [ "$1" = --version ] || cp {tmp_path}/made.so "$last"'
    copier = tmp_path / "c++"
    copier.write_text(f"#!/bin/sh\n{body}\n")
    copier.chmod(0o755)
    monkeypatch.setenv("CXX", str(copier))
    build.library(SOURCE, ("-O0",))
    path.unlink()
    rng = random.Random(8)
    for _ in range(tries):
        (path,) = cache.glob("*.so")
        path.unlink()  # this process has it loaded
        path.write_bytes(spoilt(whole, rng))
        path.chmod(0o700)
        build._say.cache_clear()
        assert build.library(SOURCE, ("-O0",)).answer() == 42
        assert "compiled anew" in capfd.readouterr().err
        assert next(cache.glob("*.so")).read_bytes() == whole


HERE = """
import sys
from pathlib import Path
from rnnbench.engine.native import build
from rnnbench.errors import UserError
try:
    print(build.library('extern "C" int answer() { return 42; }', ("-O0",)).answer())
except UserError as refused:
    print(refused)
"""


@needs_compiler
@pytest.mark.parametrize(
    ("options", "private", "answer", "said"),
    [
        ("noexec", True, "42", "nothing can be loaded from there"),
        ("noexec", False, "no folder to load compiled code from", "each process compiles anew"),
        ("ro", True, "42", "Read-only file system"),
        ("size=16k", True, "42", "No space left on device"),
    ],
)
def test_a_cache_folder_on_a_disk_that_is_none(tmp_path, options, private, answer, said):
    """Mounted for this process alone, where the system lets a user do that."""
    (disk := tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o {options} tmpfs {disk} && "
    if "size" in options:
        mount += f"head -c 12k /dev/zero > {disk}/full && "
    alone = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*alone, f"{mount} true"]).returncode:
        pytest.skip("this system lets nobody mount a disk for a process")
    (tmp_path / "here.py").write_text(HERE)
    environment = os.environ | {"XDG_CACHE_HOME": str(disk)}
    if not private:
        environment["TMPDIR"] = str(disk)
    words = [*alone, f"{mount} exec {sys.executable} {tmp_path}/here.py"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert answer in done.stdout and said in done.stderr and done.stderr.count("\n") == 1, done


@needs_compiler
def test_a_library_that_others_can_write_is_compiled_anew(cache, capfd):
    (path,) = cache.glob("*.so")
    path.chmod(0o777)
    cache.chmod(0o777)
    assert build.library(SOURCE, ("-O0",)).answer() == 42
    assert "compiled anew" in capfd.readouterr().err
    assert not cache.stat().st_mode & 0o022 and not next(cache.glob("*.so")).stat().st_mode & 0o022


@needs_compiler
def test_a_folder_of_another_owner_is_not_used(cache, monkeypatch, capfd):

    monkeypatch.setattr(build.os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(UserError, match="engine=loop"):  # nor is the private one, which is ours
        build.library(SOURCE, ("-O0",))
    assert "belongs to another user" in capfd.readouterr().err


@needs_compiler
@pytest.mark.parametrize("home", ["nowhere", "file"])
def test_without_a_cache_folder_a_private_one_serves(tmp_path, monkeypatch, capfd, home):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    build._say.cache_clear()
    if home == "file":
        (tmp_path / "home").write_text("no folder")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
    else:
        monkeypatch.setattr(Path, "home", classmethod(_homeless))
    assert build.library(SOURCE, ("-O0",)).answer() == 42
    assert capfd.readouterr().err.count("each process compiles anew") == 1


def _homeless(cls):
    raise RuntimeError("Could not determine home directory.")


LIARS = {
    "nothing": "exit 0",
    "garbage": 'for last; do :; done; [ "$1" = --version ] || echo garbage > "$last"',
    "empty": 'for last; do :; done; [ "$1" = --version ] || : > "$last"',
    "half": 'for last; do :; done; [ "$1" = --version ] || head -c 900 /bin/sh > "$last"',
    "another": f'for last; do :; done; [ "$1" = --version ] || cp {_ctypes.__file__} "$last"',
    "dies": "kill -9 $$",
    "no program": None,
}


@pytest.mark.parametrize("liar", LIARS)
def test_a_compiler_that_lies_is_told_and_auto_takes_loop(
    tmp_path, monkeypatch, settings_for, pack_of, liar
):
    from rnnbench.engine import loop, native

    script = tmp_path / "c++"
    body = LIARS[liar]
    script.write_bytes(b"\0" if body is None else f"#!/bin/bash\n{body}\n".encode())
    script.chmod(0o755)
    monkeypatch.setenv("CXX", str(script))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_kernels", {})
    build._version.cache_clear()
    pack = pack_of(settings_for("debug=tiny", "cell=gru"))
    assert (
        pack.unroll is loop.unroll and pack.engine.startswith("loop (") and "\n" not in pack.engine
    )
    assert str(script) in pack.engine
