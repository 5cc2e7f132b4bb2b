"""Planning a sweep, without a process or a device: what was typed becomes runs, runs become packs,
and nothing is lost on the way.
"""

import json
import os
import socket
import subprocess
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, replace

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy import stats

from rnnbench import compose, settings
from rnnbench.errors import UserError
from rnnbench.runs.lock import claim, holder
from rnnbench.runs.records import Folder, run_id
from rnnbench.settings import shape
from rnnbench.sweep import launch, manifest, status
from rnnbench.sweep.packs import packs
from rnnbench.sweep.planning import Job
from rnnbench.sweep.progress import SweepProgress
from rnnbench.sweep.work import Orders, work
from rnnbench.training.run import load_task

TINY = (
    "task=adding debug=tiny task.length=5 task.valid_size=20 task.test_size=20 train.steps=4 "
    "train.eval_every=2 model.dtype=float64"
)


@pytest.fixture
def planned(monkeypatch):
    """planned("cell=gru seed=0,1") → the jobs that would be launched; .composed counts what Hydra
    had to compose.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    assert ConfigStore.instance()
    made, composed = [], []
    compose_one = ConfigLoaderImpl.load_sweep_config

    def counted(self, *arguments):
        composed.append(arguments)
        return compose_one(self, *arguments)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    monkeypatch.setattr(
        launch, "launch", lambda jobs, options, command: made.append((jobs, options, command))
    )

    def plan(line):
        made.clear()
        composed.clear()
        compose.run(["-m", *line.split()], pytest.fail, pytest.fail)
        plan.options, plan.command, plan.composed = made[0][1], made[0][2], len(composed)
        return made[0][0]

    return plan


def lr(jobs):
    return [job.settings.optim.lr for job in jobs]


# Grids


def test_every_combination_the_last_key_fastest(planned):
    jobs = planned("cell=lstm,gru seed=0,1,2 task=adding")
    assert [(j.settings.cell.name, j.settings.seed) for j in jobs] == [
        (c, s) for c in ("lstm", "gru") for s in range(3)
    ]
    assert jobs[1].overrides == ("cell=lstm", "seed=1", "task=adding")


def test_a_job_is_what_it_would_be_alone(planned):
    """Values put in as data, and groups composed once, come to what Hydra composes from the same
    overrides.
    """
    line = (
        "cell=lstm,mut1 task=adding,charlm optim=adam,sgd optim.lr=1e-3,0.5 train.batch=7,9 "
        "seed=range(2) model.match=params:5000 debug=tiny"
    )
    jobs = planned(line)
    assert len({run_id(job.settings) for job in jobs}) == len(jobs) == 64
    for job in jobs[::7]:
        assert job.settings == compose.compose(list(job.overrides))


@pytest.mark.parametrize(
    "typed",
    [
        "cell.constants.beta=0.5,1",
        "~task.target task.length=5,6",
        "model={hidden:3},{hidden:4}",
        "cell.init=paper +cell.paper.x=constant,glorot",
    ],
)
def test_unusual_keys(planned, typed):
    for job in planned(f"cell=slstm task=adding {typed}"):
        assert job.settings == compose.compose(list(job.overrides))


def test_a_value_that_follows_another(planned):
    jobs = planned("task=adding train.batch=10,20 train.eval_batch=${train.batch}")
    assert [job.settings.train.eval_batch for job in jobs] == [10, 20]


def test_identity_is_in_the_settings_not_in_how_they_were_typed(planned):
    def ids(line):
        return [run_id(job.settings) for job in planned(line)]

    assert (
        ids("cell=gru seed=3 optim.lr=0.01")
        == ids("optim.lr=1e-2 seed=3 cell=gru")
        == ids("optim.lr=0.0100 cell=gru seed=3")
    )
    assert ids("train.input_noise=0") == ids("train.input_noise=0.0") == ids("")
    assert ids("optim.lr=0.01,1e-2") == ids("optim.lr=0.01") * 2


def test_changing_a_default_changes_identity(planned):
    (job,) = planned("cell=gru")
    changed = replace(job.settings, optim=replace(job.settings.optim, beta2=0.99))
    assert run_id(changed) != run_id(job.settings)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("backend=rya", "unknown backend 'rya'; did you mean 'ray'?"),
        ("retry=never", "unknown retry 'never'"),
        ("workers=two", "workers must be a whole number or null, got 'two'"),
        ("workers=0", "workers must be at least 1, got 0"),
        ("fail_fast=maybe", "fail_fast must be true or false, got 'maybe'"),
        ("optim.lr=interval(0,1) sampler=sobol", "unknown sampler 'sobol'"),
        (
            "optim.lr=interval(0,1) trials=0",
            "hydra.sweeper.trials must be between 1 and 1e+06, got 0",
        ),
        (
            "optim.lr=tag(log,interval(0,1)) trials=3",
            "optim.lr: interval(0.0, 1.0) must go from a smaller to a larger number, both above 0",
        ),
        ("trials=3", "a random search needs something to draw"),
        (
            "optim.lr=interval(0,1)",
            "optim.lr=interval(0,1) has no list of values; draw from it with trials=20",
        ),
        ("trials=3 hydra/sweeper=grid", "unknown key 'trials'"),
        ("seed=0,x", "seed=x: seed must be a whole number, got 'x'"),
        ("cell=gru,lsmt", "unknown cell 'lsmt'; did you mean 'lstm'?"),
        ("model.hidden=4,-1 seed=0,1", "model.hidden=-1 seed=0: model.hidden must be at least 1"),
    ],
)
def test_refusals(planned, typed, said):
    with pytest.raises(UserError) as refused:
        planned(f"task=adding {typed}")
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_names_of_a_sweep_without_one():
    with pytest.raises(UserError, match="workers belongs to a sweep: rnnbench train -m"):
        compose.run(["workers=2"], pytest.fail, pytest.fail)


def test_short_names(planned):
    planned(
        "workers=3 backend=submitit pack=16 retry=none fail_fast=true cluster.cluster=local "
        "cluster.mem_gb=4"
    )
    options = planned.options
    assert asdict(options) == {
        "backend": "submitit",
        "workers": 3,
        "pack": 16,
        "retry": "none",
        "fail_fast": True,
        "cluster": {"cluster": "local", "mem_gb": 4},
    }
    assert planned.command.startswith("rnnbench train -m workers=3 backend=submitit")


def test_thousands_of_jobs_are_planned_with_a_composition_per_choice_of_groups(planned):
    jobs = planned(
        "cell=lstm,gru,lstm_b,mut1,tanh task=adding,copy seed=range(100) "
        "optim.lr=1e-3,1e-2,2e-3,3e-3,4e-3"
    )
    assert len(jobs) == 5000 and planned.composed == 10
    jobs = planned(
        "cell=lstm,gru task=adding trials=500 optim.lr=tag(log,interval(1e-6,1e-2)) "
        "model.hidden=choice(32,64)"
    )
    assert len(jobs) == 1000 and planned.composed == 2


# Random search

SEARCH = (
    "task=adding trials=200 optim.lr=tag(log,interval(1e-6,1e-2)) "
    "train.input_noise=interval(0,1) model.hidden=choice(32,64,128)"
)


def test_another_run_of_a_sweep_reads_no_yaml_and_converts_nothing(planned, monkeypatch):
    """What plans of ten thousand runs took a minute for."""
    merged = []
    merge = OmegaConf.merge
    monkeypatch.setattr(OmegaConf, "merge", lambda *parts: merged.append(parts) or merge(*parts))

    def merges(runs):
        settings._typed.cache_clear()
        merged.clear()
        line = f"cell=gru task=adding seed=range({runs}) optim.lr=interval(1e-4,1e-1) trials={runs}"
        assert len(planned(line)) == runs
        return len(merged)

    assert merges(40) == merges(4)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "optim=sgd optim.lr=1 optim.momentum=0",
        "cell=slstm cell.constants.beta=2 cell.forget_bias=1",
        "task=copy optim.schedule=step optim.factor=0.5 optim.every=10 train.patience=3",
        "model.match=params:2000 model.dropout=0.5 model.layers=2 logger=[csv,tensorboard]",
    ],
)
def test_what_needs_no_conversion_is_what_it_converts_to(monkeypatch, typed):
    words = ["task=adding", "debug=tiny", *typed.split()]
    settings._typed.cache_clear()
    made = compose.compose(words)
    monkeypatch.setattr(settings, "_is", lambda *_: False)
    settings._typed.cache_clear()
    converted = compose.compose(words)
    assert made == converted and repr(made) == repr(converted)  # 1 == 1.0, but reads otherwise


def test_draws_are_reproducible_and_paired(planned):
    jobs = planned(f"cell=lstm,gru {SEARCH}")
    lstm, gru = jobs[:200], jobs[200:]
    assert {j.settings.cell.name for j in lstm} == {"lstm"} and len(jobs) == 400
    for one, other in zip(lstm, gru, strict=True):
        assert (one.settings.optim, one.settings.train, one.settings.model) == (
            other.settings.optim,
            other.settings.train,
            other.settings.model,
        )
    assert lr(planned(f"cell=lstm,gru {SEARCH}")) == lr(jobs)
    assert lr(planned(f"cell=gru {SEARCH}")) == lr(gru)
    assert lr(planned(f"cell=gru {SEARCH} hydra.sweeper.seed=1")) != lr(gru)


def test_draws_keep_to_their_ranges(planned):
    jobs = planned(f"cell=gru {SEARCH} seed=int(interval(0,1000))")
    noise = [j.settings.train.input_noise for j in jobs]
    assert min(lr(jobs)) >= 1e-6 and max(lr(jobs)) <= 1e-2 and min(noise) >= 0 and max(noise) <= 1
    assert (
        stats.kstest(torch.tensor(lr(jobs)).log10().numpy(), stats.uniform(-6, 4).cdf).pvalue > 0.01
    )
    assert stats.kstest(noise, "uniform").pvalue > 0.01
    assert (
        all(isinstance(j.settings.seed, int) for j in jobs)
        and len({j.settings.seed for j in jobs}) > 150
    )


def test_widths_from_a_short_list_keep_packs_large(planned):
    jobs = planned(f"cell=gru {SEARCH}")
    widths = Counter(job.settings.model.hidden for job in jobs)
    assert widths.keys() == {32, 64, 128} and min(widths.values()) > 40
    made = packs(jobs, 32, workers=2)
    assert len(made) <= sum(-(-n // 32) for n in widths.values()) and min(map(len, made)) >= 15


def test_quasi_random_covers_better(planned):
    """Discrepancy over the square of two keys: far below that of random draws."""

    def discrepancy(sampler):
        jobs = planned(
            f"task=adding trials=256 sampler={sampler} optim.lr=interval(0,1) "
            f"train.input_noise=interval(0,1)"
        )
        return stats.qmc.discrepancy(
            [(j.settings.optim.lr, j.settings.train.input_noise) for j in jobs]
        )

    assert discrepancy("quasi") < discrepancy("random") / 5


# Packs


def job_of(settings):
    return Job(settings, ())


@given(
    runs=st.lists(
        st.tuples(st.sampled_from([3, 4, 5]), st.sampled_from(["cpu", "auto"]), st.integers(0, 3)),
        max_size=60,
        unique=True,
    ),
    limit=st.integers(1, 9),
    workers=st.integers(1, 5),
)
def test_packs_cover_every_run_once(runs, limit, workers):
    base = compose_once()
    jobs = [
        job_of(
            replace(
                base,
                model=replace(base.model, hidden=hidden),
                engine=replace(base.engine, device=device),
                seed=seed,
            )
        )
        for hidden, device, seed in runs
    ]
    made = packs(jobs, limit, workers)
    assert sorted(map(id, (job for pack in made for job in pack))) == sorted(map(id, jobs))
    for pack in made:
        assert 0 < len(pack) <= limit
        assert all(
            shape(j.settings) == shape(pack[0].settings)
            and j.settings.engine == pack[0].settings.engine
            for j in pack
        )


def compose_once(found=[]):  # noqa: B006
    if not found:
        found.append(compose.compose(["task=adding"]))
    return found[0]


@pytest.mark.parametrize(
    ("shapes", "each", "workers", "sizes"),
    [
        (1, 40, 2, [20, 20]),
        (1, 3, 8, [1, 1, 1]),
        (6, 10, 2, [10] * 6),
        (1, 70, 2, [24, 23, 23]),
        (2, 20, 8, [5] * 8),
        (3, 7, 4, [4, 3] * 3),
    ],
)
def test_packs_keep_every_worker_busy(shapes, each, workers, sizes):
    base = compose_once()
    jobs = [
        job_of(replace(base, model=replace(base.model, hidden=h + 1), seed=seed))
        for h in range(shapes)
        for seed in range(each)
    ]
    assert [len(pack) for pack in packs(jobs, 32, workers)] == sizes


# A worker


@pytest.fixture
def jobs_for(settings_for):
    def made(*overrides):
        return [job_of(settings_for(*TINY.split(), *line.split())) for line in overrides]

    return made


@pytest.fixture
def orders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "going").touch()
    return Orders(tmp_path / "going", tmp_path)


FILES = {
    "record.json",
    "config.yaml",
    "overrides.yaml",
    "curve.csv",
    "tensorboard",
    "best.pt",
    "last.pt",
}


def test_every_member_of_a_pack_leaves_its_own_folder_and_equals_the_run_alone(
    jobs_for, orders, tmp_path
):
    jobs = jobs_for(
        "seed=0",
        "seed=1 optim.lr=0.01",
        "seed=2 cell.init=glorot optim.clip_norm=1",
        "seed=3 cell.forget_bias=1",
        "seed=4 train.input_noise=0.1",
    )
    (pack,) = packs(jobs, 32, 1)
    assert [e.status for e in work(pack, orders)] == ["finished"] * 5
    for job in pack:
        folder = Folder.of(job.settings)
        alone = replace(
            job.settings, paths=replace(job.settings.paths, results=str(tmp_path / "alone"))
        )
        work([job_of(alone)], orders)
        one, other = folder.record(), Folder.of(alone).record()
        assert {path.name for path in folder.path.iterdir()} == FILES
        assert (one["id"], one["replicas"], other["replicas"]) == (other["id"], 5, 1)
        for part in ("best", "final"):
            assert one[part]["test"] == pytest.approx(other[part]["test"], rel=1e-10)
            assert one[part]["valid"] == pytest.approx(other[part]["valid"], rel=1e-10)
        tensors = [
            torch.load(f.last_path, weights_only=True)["parameters"]
            for f in (folder, Folder.of(alone))
        ]
        for name in tensors[0]:
            torch.testing.assert_close(*(t[name] for t in tensors), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("raised", "first"),
    [
        (
            UserError(
                "cannot write curve.csv: No space left on device; free space, then ask again"
            ),
            "cannot write curve.csv: No space left on device",
        ),
        (MemoryError("12 GiB"), "MemoryError: 12 GiB"),
        (SystemExit("a cell of the user's"), "SystemExit: a cell of the user's"),
    ],
    ids=["disk", "memory", "exit"],
)
def test_what_fails_takes_no_other_run_of_its_pack_with_it(
    jobs_for, orders, monkeypatch, tmp_path, raised, first
):
    jobs = jobs_for(*(f"seed={seed}" for seed in range(5)))
    doomed, write_curve = Folder.of(jobs[3].settings).path, Folder.write_curve

    def writes(self, rows):
        if self.path == doomed:
            raise raised
        write_curve(self, rows)

    monkeypatch.setattr(Folder, "write_curve", writes)
    ended = {e.folder: e.status for e in work(jobs, orders)}
    assert ended.pop(doomed) == "failed" and set(ended.values()) == {"finished"}
    record = Folder(doomed).record()
    assert (
        record["reason"].startswith(first)
        and record["status"] == "failed"
        and record["settings"]["seed"] == 3
    )
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    alone = jobs_for("seed=4")[0].settings
    alone = replace(alone, paths=replace(alone.paths, results=str(tmp_path / "alone")))
    work([job_of(alone)], orders)
    assert Folder.of(jobs[4].settings).record()["final"]["test"] == pytest.approx(
        Folder.of(alone).record()["final"]["test"], rel=1e-10
    )
    assert {e.status for e in work(jobs, orders)} == {"finished"}  # asking again repairs it


def test_a_failure_that_cannot_be_recorded_is_told(jobs_for, orders):
    (job,) = jobs_for("seed=0")
    folder = Folder.of(job.settings).path
    folder.parent.mkdir(parents=True)
    folder.write_text("a file in the way")
    (ended,) = work([job], orders)
    assert ended.status == "failed" and "nor can that be recorded" in ended.unrecorded
    progress = SweepProgress({folder: job}, "failed")
    progress.failed_unrecorded(folder, ended.unrecorded)
    assert not progress.left() and progress.states()["failed"] == 1


def test_a_budget_in_epochs_counts_in_steps(settings_for, tmp_path):
    (tmp_path / "text.txt").write_text("abcdefghi " * 100)
    text = f"task=charlm task.corpus={tmp_path / 'text.txt'} task.window=7 train.batch=5"
    job = job_of(settings_for("cell=gru", *text.split(), "train.epochs=2"))
    folder = Folder.of(job.settings)
    progress = SweepProgress({folder.path: job}, "all")
    folder.path.mkdir(parents=True)
    folder.curve_path.write_text("step,split,name,value\n10,train,loss,1\n")
    task = load_task(job.settings, print)
    assert progress._part_done() == 10 / (2 * task.epoch(5))


def test_no_orders_no_work(jobs_for, orders):
    orders.going.unlink()
    jobs = jobs_for("seed=0", "seed=1")
    assert [e.status for e in work(jobs, orders)] == ["interrupted"] * 2
    assert not Folder.of(jobs[0].settings).path.exists()


def test_a_run_held_elsewhere_is_left_alone(jobs_for, orders):
    jobs = jobs_for("seed=0", "seed=1")
    first = Folder.of(jobs[0].settings)
    with ExitStack() as held:
        assert claim(held, first) and not claim(ExitStack(), first)
        assert holder(first).split()[1].isdigit()
        assert [e.status for e in work(jobs, orders)] == ["elsewhere", "finished"]
    assert holder(first) is None and not first.lock_path.exists()
    assert [e.status for e in work(jobs, orders)] == ["finished"] * 2


def test_a_claim_that_is_let_go_leaves_nothing(jobs_for, tmp_path):
    (job,) = jobs_for("seed=0")
    with ExitStack() as held:
        assert claim(held, Folder.of(job.settings))
    assert not (tmp_path / "runs").exists()


# Status


def test_status(jobs_for, orders, capsys, monkeypatch):
    jobs = jobs_for("seed=0", "seed=1", "seed=2", "seed=3", "seed=4")
    folders = [Folder.of(job.settings) for job in jobs]
    manifest.note([folder.path for folder in folders], "rnnbench train -m seed=range(5)")
    work(jobs[:1], orders)
    folders[1].open(jobs[1].settings, [])
    record = folders[0].record()
    folders[2].write_record(
        record | {"status": "failed", "reason": "ValueError: of mine\nTraceback …", "seconds": None}
    )
    with ExitStack() as held:
        claim(held, folders[3])
        found = list(manifest.members(folders[0].path.parents[2]))
        status.show(folders[0].path.parents[2])
    assert Counter(member.state for member in found) == dict.fromkeys(
        ("finished", "interrupted", "failed", "running", "missing"), 1
    )
    assert status.seconds_left(found) == pytest.approx(3 * sum(record["seconds"].values()))
    said = capsys.readouterr().out
    assert (
        "2 of 5 runs have ended" in said
        and "with the 1 worker at work" in said
        and f"; {3 * sum(record['seconds'].values()) / 3600:.3g} core-hours" in said
        and "ValueError: of mine" in said
        and "Traceback" not in said
    )


def test_a_study_without_runs(tmp_path):
    with pytest.raises(UserError, match="no runs in"):
        status.show(tmp_path)


def test_the_same_sweep_is_noted_once(jobs_for, tmp_path):
    folders = [Folder.of(job.settings).path for job in jobs_for("seed=0", "seed=1")]
    for order in (folders, folders[::-1]):
        manifest.note(order, "command")
    (note,) = (tmp_path / "runs").rglob("*.json")
    assert len(json.loads(note.read_text())["runs"]) == 2


def test_what_killed_sweeps_left_is_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    here = socket.gethostname()
    left = {
        "going-a": f"{here} {dead.pid}\ncommand",
        "going-a.log": "words",
        "going-a.notes": "words",
        "going-b": f"{here} {os.getpid()}\ncommand",
        "going-b.log": "words",
        "going-b.notes": "words",
        "going-c": f"elsewhere {dead.pid}\ncommand",
        ".going-d." + "0" * 32: "half",
        "0123456789ab.json": "{}",
        "notes.txt": "mine",
    }
    for name, text in left.items():
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (0, 0))
    launch.clean(tmp_path)
    gone = {"going-a", "going-a.log", "going-a.notes", ".going-d." + "0" * 32}
    assert {path.name for path in tmp_path.iterdir()} == left.keys() - gone
