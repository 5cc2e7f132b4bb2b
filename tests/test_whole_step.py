"""A training step in compiled calls alone is the step through autograd, to the bit."""

from dataclasses import replace

import pytest
import torch

from rnnbench.engine.native import build
from rnnbench.training.loop import Training

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler on this machine")

SMALL = ("model.hidden=13", "train.batch=5", "engine=native")
CASES = {
    "the last step, adam": ("cell=gru", "task=adding", "task.length=9"),
    "masked symbols, three layers, dropout": (
        *("cell=lstm_vanilla", "task=memorize", "task.items=3", "optim=nesterov"),
        *("model.layers=3", "model.dropout=0.3"),
    ),
    "texts of other lengths, rmsprop": ("cell=mut1", "task=arithmetic", "optim=rmsprop"),
    "double precision, input noise": (
        *("cell=lstm", "task=adding", "task.length=9", "optim=sgd"),
        *("model.dtype=float64", "train.input_noise=0.1"),
    ),
}


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def assert_same_training(one, other, steps):
    """Losses, norms, states, parameters and optimiser state."""
    first, second = Training(one), Training(other)
    for _ in range(steps):
        losses = first.update()
        assert losses.isfinite().all() and torch.equal(losses, second.update())
    for ours, theirs in zip(first.states, second.states, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert torch.equal(first.sums["norm"], second.sums["norm"])
    assert torch.equal(first.pack.network.flat, second.pack.network.flat)
    for name, state in first.pack.optimizer.state.items():
        assert torch.equal(state, second.pack.optimizer.state[name])


def by_autograd(pack):
    """The same pack, whose layers are differentiated by autograd."""
    pack.whole_step = None
    return pack


@pytest.mark.parametrize("replicas", [1, 3, 4])
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_step_through_autograd(case, replicas, threads, settings_for, pack_of):
    """With as many runs as threads, more, and a last portion of fewer."""
    run = settings_for(*CASES[case], *SMALL, f"engine.threads={threads}")
    runs = [replace(run, seed=seed) for seed in range(replicas)]
    assert pack_of(*runs).whole_step is not None
    assert_same_training(pack_of(*runs), by_autograd(pack_of(*runs)), 12)


def test_it_carries_states(threads, settings_for, pack_of, tmp_path):
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 20)
    text = (f"task.corpus={tmp_path / 'text.txt'}", "task.window=7", f"engine.threads={threads}")
    run = settings_for("cell=lstm", "task=charlm", "model.layers=2", *text, *SMALL)
    runs = [replace(run, seed=seed) for seed in range(3)]
    assert_same_training(pack_of(*runs), by_autograd(pack_of(*runs)), 30)


def stepped(settings_for, pack_of, **changed):
    """One step on a batch that is not what the task draws."""
    run = settings_for("cell=lstm", "task=memorize", "task.items=3", "task.alphabet=5", *SMALL)
    pack = pack_of(run, replace(run, seed=1))
    batch = pack.feeder.training(0, 5)
    for name, value in changed.items():
        getattr(batch, name)[1, 2, 3] = value
    before = pack.network.flat.detach().clone()
    try:
        pack.advance(batch, pack.network.zero_state(5), pack.schedule.rate(0))
    finally:
        assert torch.equal(pack.network.flat[1], before[1])


def test_symbols_and_classes_out_of_range_are_refused(settings_for, pack_of):
    with pytest.raises(IndexError, match="symbols are numbers from 0 to 5, got -3 to"):
        stepped(settings_for, pack_of, x=-3)
    with pytest.raises(IndexError, match="classes are numbers from 0 to 4, got 0 to 5"):
        stepped(settings_for, pack_of, y=5)
