"""Recurrent dropout and zoneout: what is dropped, when, and that nothing else changes."""

import pytest
import torch

from rnnbench.cells.gru import gru
from rnnbench.cells.lstm import lstm
from rnnbench.cells.rnn import tanh
from rnnbench.draw import Draw
from rnnbench.engine import loop, native
from rnnbench.engine.network import Network, stacked
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.layers.dropped import Dropped
from rnnbench.layers.recurrent import Recurrent
from rnnbench.runs.records import Folder
from rnnbench.tools.opening import open_run

K, T, B, I, H = 2, 6, 3, 4, 5  # noqa: E741


def made(function, dropout, zoneout):
    kind = Dropped.around(Recurrent(plan(function)), dropout, zoneout)
    network = Network(stacked(kind, 1, None, False), K, I, H, 2, False, torch.float64, "cpu")
    generator = torch.Generator().manual_seed(0)
    network.flat.copy_(torch.randn(network.flat.shape, generator=generator))
    return network, torch.randn(K, T, B, I, generator=generator, dtype=torch.float64)


def bare(function, network, x):
    state = tuple(torch.zeros(K, B, H, dtype=torch.float64) for _ in plan(function).state)
    return loop.unroll(plan(function), network.layer(0), x, state)[0]


def thinned(network, seed=0):
    draws = [Draw(seed + k)("test") for k in range(K)]
    return [network.stack[0].thinned(network.zero_state(B)[0], T, draws)]


@pytest.mark.parametrize("function", [tanh, gru, lstm])
def test_nothing_is_dropped_where_it_is_not_trained(function):
    network, x = made(function, 0.5, 0.0)
    found, _ = network.run(loop.unroll, x, network.zero_state(B))
    assert torch.equal(found, bare(function, network, x))


def test_a_mask_a_sequence_on_what_recurrent_matrices_multiply():
    """The tanh network by hand: R (h ⊙ mask)."""
    network, x = made(tanh, 0.4, 0.0)
    states = thinned(network)
    keep = states[0][-2]
    assert set(keep.unique().tolist()) == {0.0, 1 / 0.6}
    assert not torch.equal(keep[0], keep[1])
    found, _ = network.run(loop.unroll, x, states)
    own, h = network.layer(0), torch.zeros(K, B, H, dtype=torch.float64)
    for t in range(T):
        h = torch.tanh(x[:, t] @ own["W"] + (h * keep) @ own["R0"] + own["b"].unsqueeze(1))
        torch.testing.assert_close(found[:, t], h)


def test_the_native_engine_drops_the_same():
    if native.why_not(made(gru, 0.4, 0.0)[0].stack[0].cell.plan, torch.float64, "cpu"):
        pytest.skip("no compiler")
    network, x = made(gru, 0.4, 0.0)
    for states in (thinned(network), network.zero_state(B)):
        expected, last = network.run(loop.unroll, x, states)
        found, after = network.run(native.unroll, x, states)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(after[0], last[0])


def test_zoneout_holds_units_of_every_state_at_their_last_value():
    """The LSTM, step by step with the masks: new where they say so, old elsewhere."""
    network, x = made(lstm, 0.0, 0.3)
    states = thinned(network)
    zone = states[0][-1]
    assert zone.shape == (K, B, T, 2 * H) and 0.5 < zone.mean() < 0.9
    found, _ = network.run(loop.unroll, x, states)
    y = c = torch.zeros(K, B, H, dtype=torch.float64)
    own = network.layer(0)
    for t in range(T):
        _, (new_y, new_c) = loop.unroll(plan(lstm), own, x[:, t : t + 1], (y, c))
        y_mask, c_mask = zone[:, :, t].chunk(2, -1)
        y, c = torch.where(y_mask > 0, new_y, y), torch.where(c_mask > 0, new_c, c)
        torch.testing.assert_close(found[:, t], y)


def test_zoneout_takes_its_mean_where_it_is_not_trained():
    network, x = made(tanh, 0.0, 0.25)
    found, _ = network.run(loop.unroll, x, network.zero_state(B))
    own, h = network.layer(0), torch.zeros(K, B, H, dtype=torch.float64)
    for t in range(T):
        new = torch.tanh(x[:, t] @ own["W"] + h @ own["R0"] + own["b"].unsqueeze(1))
        h = 0.75 * new + 0.25 * h
        torch.testing.assert_close(found[:, t], h)


@pytest.mark.parametrize("asked", ["model.recurrent_dropout=0.3", "model.zoneout=0.2"])
def test_a_pack_trains_stops_goes_on_and_opens(asked, settings_for, trained, silent):
    from rnnbench.errors import Interrupted

    small = "task=adding task.length=6 model.hidden=4 train.steps=6 train.batch=3"
    rest = "train.eval_every=3 train.eval_limit=1 train.eval_batch=4 cell=gru"
    words = [asked, *small.split(), *rest.split()]
    whole = trained(*(settings_for(*words, f"seed={s}", "study=whole") for s in range(2)))
    parts = [settings_for(*words, f"seed={s}", "study=parts") for s in range(2)]
    with pytest.raises(Interrupted):
        trained(*parts, watch=silent(stop_after=4))
    for before, after in zip(whole, trained(*parts), strict=True):
        assert after["final"] == before["final"]
    plain = trained(settings_for(*words[1:], "study=plain"))[0]
    assert plain["final"] != whole[0]["final"] and plain["params"] == whole[0]["params"]
    opened = open_run(Folder.of(parts[0]).path)
    assert (opened.kind.plan is None) == ("zoneout" in asked)  # a mean that equations have not


def test_engines_that_cannot_and_layers_that_have_no_recurrence(settings_for, pack_of):
    with pytest.raises(UserError, match=r"engine=native computes all steps in one call"):
        pack_of(settings_for("cell=gru", "model.zoneout=0.1", "engine=native"))
    with pytest.raises(UserError, match=r"model\.recurrent_dropout=0.1 acts on the recurrence"):
        pack_of(settings_for("cell=tcn", "model.recurrent_dropout=0.1"))
