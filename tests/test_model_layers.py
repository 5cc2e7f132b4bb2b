"""TCN, Transformer, residual block and second direction, each beside something independent."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.linalg import expm
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from rnnbench.cells.gru import gru
from rnnbench.cells.lstm import lstm
from rnnbench.cli import main
from rnnbench.engine.layer import Place
from rnnbench.engine.network import Network, stacked
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.layers.bidirectional import Bidirectional
from rnnbench.layers.recurrent import Recurrent
from rnnbench.layers.residual import Residual
from rnnbench.layers.tcn import TCN
from rnnbench.layers.transformer import POSITIONS, Transformer, rotated
from rnnbench.report.sections import design
from rnnbench.runs.records import Folder, run_id
from rnnbench.tasks.chorales import Chorales
from rnnbench.tools.eval import run_eval
from rnnbench.tools.opening import open_run
from rnnbench.tools.text import continuation
from rnnbench.training.loop import Training

K, T, B, I, H = 2, 9, 3, 5, 8  # noqa: E741
KINDS = {
    "tcn": TCN(kernel=3, levels=2),
    **{f"transformer {p}": Transformer(heads=2, length=20, positions=p) for p in POSITIONS},
    "residual": Residual(Recurrent(plan(gru))),
}


def made(kind, layers=1, symbols=False, horizon=None, seed=0, outputs=4, context=0):
    """A network with random parameters, float64."""
    stack = stacked(kind, layers, horizon, symbols)
    network = Network(stack, K, I, H, outputs, symbols, torch.float64, "cpu", context)
    drawn = torch.randn(network.flat.shape, generator=torch.Generator().manual_seed(seed))
    network.flat.copy_(0.4 * drawn)
    return network


def inputs(steps=T, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(K, steps, B, I, generator=generator, dtype=torch.float64)


def outputs(network, x):
    with torch.no_grad():
        return network.run(None, x, network.zero_state(x.shape[2]))[0]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_no_step_sees_a_later_one(kind, layers):
    network, x = made(kind, layers), inputs()
    before = outputs(network, x)
    x[:, 5:] += 1
    after = outputs(network, x)
    assert torch.equal(before[:, :5], after[:, :5])
    assert not torch.isclose(before[:, 5:], after[:, 5:]).all()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_symbols_are_one_hot_vectors(kind):
    by_row, by_vector = made(kind, symbols=True), made(kind)
    x = torch.randint(0, I, (K, T, B), generator=torch.Generator().manual_seed(2))
    as_vectors = F.one_hot(x, I).double()
    torch.testing.assert_close(outputs(by_row, x), outputs(by_vector, as_vectors))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_replica_does_not_depend_on_the_others(kind):
    network, x = made(kind, 2), inputs()
    alone = network.holding(network.flat.detach()[1:].clone())
    torch.testing.assert_close(outputs(alone, x[1:]), outputs(network, x)[1:])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_counts_are_of_what_there_is(kind):
    network = made(kind, 2)
    widths = [I, H]
    counted = sum(layer.count(width, H) for layer, width in zip(network.stack, widths, strict=True))
    held = sum(t[0].numel() for name, t in network.params.items() if "readout" not in name)
    assert counted == held
    assert all(layer.flops(H, H) > 0 for layer in network.stack)


# --- TCN


class Block(nn.Module):
    """The residual block of Bai et al., of torch's own convolutions and weight norm."""

    def __init__(self, inputs, channels, taps, dilation):
        super().__init__()
        self.pad = (taps - 1) * dilation
        first = nn.Conv1d(inputs, channels, taps, dilation=dilation)
        second = nn.Conv1d(channels, channels, taps, dilation=dilation)
        self.first, self.second = weight_norm(first), weight_norm(second)
        self.narrow = nn.Conv1d(inputs, channels, 1) if inputs != channels else nn.Identity()

    def forward(self, x):
        y = self.first(F.pad(x, (self.pad, 0))).relu()
        y = self.second(F.pad(y, (self.pad, 0))).relu()
        return (self.narrow(x) + y).relu()


def test_tcn_is_the_network_of_bai():
    network, taps = made(TCN(kernel=3, levels=2)), 3
    theirs = nn.Sequential(*(Block(I if d == 1 else H, H, taps, d) for d in (1, 2))).double()
    own = network.layer(0)
    with torch.no_grad():
        for level, block in enumerate(theirs):
            for which, conv in (("1", block.first), ("2", block.second)):
                # ours: tap 0 is now, (taps, in, out); theirs: the last is now, (out, in, taps)
                v = own[f"{level}.v{which}"][0].flip(0).permute(2, 1, 0)
                conv.parametrizations.weight.original0.copy_(
                    own[f"{level}.g{which}"][0].view(-1, 1, 1)
                )
                conv.parametrizations.weight.original1.copy_(v)
                conv.bias.copy_(own[f"{level}.b{which}"][0])
            if level == 0:
                block.narrow.weight.copy_(own["0.P"][0].T.unsqueeze(-1))
                block.narrow.bias.copy_(own["0.c"][0])
        x = inputs()
        expected = theirs(x[0].permute(1, 2, 0)).permute(2, 0, 1)
    torch.testing.assert_close(outputs(network, x)[0], expected)


@pytest.mark.parametrize(
    ("kernel", "levels", "hidden", "field", "parameters"),
    [  # Bai et al. (2018), Table 2: copy and adding; their layer counts, ours of parameters
        (8, 8, 24, 3571, 70_369),
        (6, 9, 10, 5111, 10_800),
        (8, 8, 10, 3571, 12_500),
    ],
)
def test_tcn_has_the_sizes_of_the_paper(kernel, levels, hidden, field, parameters):
    layer = TCN(kernel=kernel, levels=levels)
    assert layer.field == field
    adding = hidden == 24
    inputs, readout = (2, 1) if adding else (1, 10)
    count = layer.count(inputs, hidden) + (hidden + 1) * readout
    assert count == parameters if adding else abs(count / parameters - 1) < 0.02


def test_tcn_reads_its_field_and_no_further():
    network, kernel = made(TCN(kernel=3, levels=2)), 3
    field = network.stack[0].field
    assert field == 1 + 2 * (kernel - 1) * (2**2 - 1) == 13
    network.flat.abs_()  # so that no relu closes
    x = inputs(steps=20).abs().requires_grad_()
    y = network.run(None, x, network.zero_state(B))[0]
    (slope,) = torch.autograd.grad(y[:, -1].sum(), x)
    reached = slope.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [False] * (20 - field) + [True] * field


@pytest.mark.parametrize(("horizon", "levels"), [(12, 1), (13, 2), (36, 2), (37, 3), (784, 7)])
def test_tcn_takes_its_levels_from_the_horizon(horizon, levels):
    """A lag of `horizon` steps needs a field of horizon + 1: 13, 37, 85 … with a kernel of 7."""
    layer = TCN().at(Place(0, 1, horizon, False))
    assert layer.levels == levels and layer.field > horizon


def test_tcn_asks_for_levels_where_nothing_names_a_horizon():
    with pytest.raises(UserError, match=r"cell.constants.levels=4"):
        TCN().at(Place(0, 1, None, False))


# --- Transformer


def test_transformer_is_the_one_of_torch():
    """One pre-norm block without positions: nn.TransformerEncoderLayer with a causal mask."""
    network = made(Transformer(heads=2, positions="none"))
    own = {name: tensor[0] for name, tensor in network.layer(0).items()}
    theirs = nn.TransformerEncoderLayer(
        H, 2, 4 * H, dropout=0, activation="gelu", norm_first=True, dtype=torch.float64
    )
    named = {
        "self_attn.in_proj_weight": own["QKV"].T,
        "self_attn.in_proj_bias": own["qkv"],
        "self_attn.out_proj.weight": own["O"].T,
        "self_attn.out_proj.bias": own["o"],
        "linear1.weight": own["A"].T,
        "linear1.bias": own["a"],
        "linear2.weight": own["B"].T,
        "linear2.bias": own["b"],
        "norm1.weight": own["norm1.gain"],
        "norm1.bias": own["norm1.bias"],
        "norm2.weight": own["norm2.gain"],
        "norm2.bias": own["norm2.bias"],
    }
    theirs.load_state_dict({name: tensor.detach() for name, tensor in named.items()})
    x, mask = inputs(), nn.Transformer.generate_square_subsequent_mask(T, dtype=torch.float64)
    with torch.no_grad():
        read = theirs(x[0] @ own["E"], src_mask=mask)
        expected = F.layer_norm(read, (H,), own["norm.gain"], own["norm.bias"])
    torch.testing.assert_close(outputs(network, x)[0], expected)


def test_transformer_block_has_twelve_squares_and_thirteen_vectors():
    middle = Transformer().at(Place(1, 3, None, False))
    assert middle.count(64, 64) == 12 * 64**2 + 13 * 64


def test_rotary_scores_depend_on_distances_only():
    generator = torch.Generator().manual_seed(3)
    q, k = torch.randn(2, 1, H, generator=generator, dtype=torch.float64)
    wave = 10_000.0 ** (-torch.arange(0, H, 2, dtype=torch.float64) / H)

    def score(here, there):
        return (rotated(q, here * wave[None]) * rotated(k, there * wave[None])).sum()

    torch.testing.assert_close(score(7, 4), score(107, 104))
    assert not torch.isclose(score(7, 4), score(7, 5))


def test_sinusoidal_positions_are_those_of_the_paper():
    network = made(Transformer(heads=2, positions="sinusoidal"))
    layer, own = network.stack[0], network.layer(0)
    got = layer._placed(own, 6)[0, :, 0]
    for t in range(6):
        for i in range(H // 2):
            angle = t / 10_000 ** (2 * i / H)
            assert got[t, 2 * i] == pytest.approx(math.sin(angle))
            assert got[t, 2 * i + 1] == pytest.approx(math.cos(angle))


def test_without_positions_one_block_is_blind_to_order_and_two_are_not():
    """Swap two earlier symbols: a causal mask tells orders apart only from the second block on."""
    x = inputs()
    swapped = x.clone()
    swapped[:, [1, 2]] = x[:, [2, 1]]
    kind = Transformer(heads=2, positions="none")
    one, two = made(kind, 1), made(kind, 2)
    torch.testing.assert_close(outputs(one, x)[:, -1], outputs(one, swapped)[:, -1])
    assert not torch.isclose(outputs(two, x)[:, -1], outputs(two, swapped)[:, -1]).all()


def test_learnt_positions_end():
    network = made(Transformer(heads=2, length=4, positions="learnt"))
    with pytest.raises(UserError, match=r"cell\.constants\.length=4: learnt positions end there"):
        outputs(network, inputs())


# --- what goes around


def test_a_residual_block_is_norm_layer_gate_add():
    network, x = made(Residual(Recurrent(plan(lstm)))), inputs()
    own = {name: tensor[0].detach() for name, tensor in network.layer(0).items()}
    bare = {n.removeprefix("inner."): t[None] for n, t in own.items() if n.startswith("inner.")}
    with torch.no_grad():
        embedded = x[0] @ own["E"]
        read = F.layer_norm(embedded, (H,), own["norm.gain"], own["norm.bias"])
        zero = torch.zeros(1, B, H, dtype=torch.float64)
        inside, _ = Recurrent(plan(lstm))(bare, read[None], (zero, zero))
        value, gate = (F.gelu(inside[0]) @ own["gate.W"] + own["gate.b"]).chunk(2, -1)
        added = embedded + value * gate.sigmoid()
        expected = F.layer_norm(added, (H,), own["out.gain"], own["out.bias"])
    torch.testing.assert_close(outputs(network, x)[0], expected)


def test_two_directions_are_those_of_torch():
    """nn.LSTM with two layers; what is read at the end are its last states of both directions."""
    network, x = made(Bidirectional(Recurrent(plan(lstm))), 2), inputs()
    theirs = nn.LSTM(I, H, 2, bidirectional=True, dtype=torch.float64)
    from rnnbench.engine.library import blocks_of, twin_of

    twin = twin_of(plan(lstm))
    weights = {}
    for index in range(2):
        for way, suffix in (("forward", ""), ("backward", "_reverse")):
            own = {
                n.partition(".")[2]: t.detach()
                for n, t in network.layer(index).items()
                if n.startswith(way)
            }
            named = twin.weights(blocks_of(plan(lstm), own, 0))
            weights |= {f"{n}_l{index}{suffix}": t for n, t in named.items()}
    theirs.load_state_dict(weights)
    with torch.no_grad():
        _, (last, _) = theirs(x[0])
    torch.testing.assert_close(outputs(network, x)[0, -1], torch.cat([last[2], last[3]], -1))


@pytest.mark.parametrize("block", ["plain", "residual"])
def test_a_second_direction_learns_and_is_refused_where_answers_come_early(
    settings_for, pack_of, block
):
    asked = ["cell=gru", "model.bidirectional=true", f"model.block={block}", "model.layers=2"]
    run = settings_for(*asked, "task=adding", "task.length=10", "model.hidden=8")
    training = Training(pack_of(run))
    losses = [training.update().item() for _ in range(60)]
    assert sum(losses[-10:]) < sum(losses[:10])
    with pytest.raises(UserError, match=r"model\.bidirectional=true reads a sequence from its end"):
        pack_of(settings_for(*asked, "task=copy"))


# --- texts in windows


@pytest.mark.parametrize("kind", [TCN(kernel=3, levels=2), Transformer(heads=2)])
def test_a_layer_without_states_reads_the_window_before_again(kind):
    network, x = made(kind, context=5), inputs(steps=15)
    windows, states = [], network.zero_state(B)
    with torch.no_grad():
        for window in x.split(5, 1):
            made_here, states = network.run(None, window, states)
            windows.append(made_here)
    bare = made(kind)
    torch.testing.assert_close(windows[0], outputs(bare, x[:, :5]))
    torch.testing.assert_close(windows[1], outputs(bare, x[:, :10])[:, 5:])
    torch.testing.assert_close(windows[2], outputs(bare, x[:, 5:])[:, 5:])


def test_defaults_are_no_part_of_an_id(settings_for):
    """The id of this run before there were blocks, directions and options."""
    run = settings_for("cell=lstm", "task=copy")
    assert run_id(run) == "6f796d55a4e5"
    others = ("model.block=residual", "model.bidirectional=true")
    assert len({run_id(settings_for("cell=lstm", "task=copy", other)) for other in others}) == 2
    positions = {
        run_id(settings_for("cell=transformer", f"cell.options.positions={p}")) for p in POSITIONS
    }
    assert len(positions) == len(POSITIONS)


# --- an orthogonal recurrence


def test_exprnn_is_the_exponential_of_a_skew_matrix_and_stays_orthogonal(settings_for, pack_of):
    run = settings_for("cell=exprnn", "task=adding", "task.length=8", "model.dtype=float64")
    training = Training(pack_of(replace(run, model=replace(run.model, hidden=6))))
    for _ in range(20):
        training.update()
    network = training.pack.network
    own = {name: tensor[0].detach().numpy() for name, tensor in network.layer(0).items()}
    A = np.zeros((6, 6))
    A[np.tril_indices(6, -1)] = own["A"]
    R = expm(A - A.T)
    np.testing.assert_allclose(R @ R.T, np.eye(6), atol=1e-12)
    x = torch.randn(1, 5, 1, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    with torch.no_grad():
        found, _ = network.run(None, x, network.zero_state(1))
    h = np.zeros(6)
    for t in range(5):
        z = x[0, t, 0].numpy() @ own["W"] + h @ R
        h = np.sign(z) * np.maximum(np.abs(z) + own["b"], 0)
        np.testing.assert_allclose(found[0, t, 0].numpy(), h, rtol=1e-10)


def test_music_goes_on_in_evaluation_others_do_not(settings_for, pack_of):
    """Pieces longer than max_length are read in windows, whose context is the window before."""
    assert Chorales(max_length=20).going_on == 20 and Chorales(max_length=None).going_on is None
    assert pack_of(settings_for("cell=tcn", "task=copy")).network.context == 0


@pytest.mark.parametrize("cell", ["tcn", "transformer", "gru model.block=residual"])
def test_a_text_is_written_by_any_model(cell, settings_for, trained, tmp_path):
    """As many characters as asked, the same for the same seed; reading goes on from the prompt."""
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 60)
    asked = f"cell={cell} task=charlm task.corpus={text} task.window=8 train.batch=2 model.hidden=8"
    run = settings_for(*asked.split(), "train.steps=4", "train.eval_every=4", "train.eval_limit=1")
    (record,) = trained(run)
    assert record.get("context") == (None if "gru" in cell else 8)
    opened = open_run(Folder.of(run).path)
    first, again = ("".join(continuation(opened, "to be", 12, seed=3)) for _ in range(2))
    assert len(first) == 12 and first == again


# --- what is said of them


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (Recurrent(plan(lstm)), 2 * H),
        (Residual(Recurrent(plan(gru))), H),
        (Bidirectional(Recurrent(plan(gru))), 2 * H),
        (Transformer(heads=2), 2 * H * 100),  # keys and values of 100 steps
        (TCN(kernel=3, levels=2), 2 * (I + H) + 4 * (H + H)),  # two steps back, then four
    ],
)
def test_numbers_that_a_step_hands_on(kind, numbers):
    (layer,) = stacked(kind, 1, None, False)
    assert layer.carried(I, H, 100) == numbers


def test_a_report_says_sizes_and_context():
    rows = [
        {"task": "charlm", "cell": "tcn", "layer": "2 levels", "context": 50.0},
        {"task": "charlm", "cell": "transformer", "layer": "1 blocks", "context": 50.0},
        {"task": "charlm", "cell": "lstm", "layer": None, "context": None},
    ]
    assert design.layers(pd.DataFrame(rows)) == (
        "transformer on charlm: 1 blocks. tcn on charlm: 2 levels. tcn and transformer on charlm: "
        "no states between windows, the 50 steps before are read again."
    )
    assert design.layers(pd.DataFrame(rows[2:])) == "" == design.layers(pd.DataFrame({"task": []}))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("cell.constants.first=0", r"cell\.constants\.first: Transformer has heads, length"),
        ("cell.options.heads=4", r"cell\.options\.heads: Transformer has positions"),
        ("cell.options.positions=sinus", r"unknown cell\.options\.positions 'sinus'"),
        ("cell.constants.heads=3", r"model\.hidden=64: Transformer needs a multiple of 6 units"),
        ("cell.constants.heads=1.5", r"cell\.constants\.heads must be a whole number"),
    ],
)
def test_settings_of_a_layer_are_used_or_refused(asked, told, settings_for, pack_of):
    with pytest.raises(UserError, match=told):
        pack_of(settings_for("cell=transformer", "task=adding", asked))


def test_a_width_that_matches_parameters_is_one_that_heads_divide(settings_for, pack_of):
    pack = pack_of(settings_for("cell=transformer", "task=adding", "model.match=params:20000"))
    assert pack.hidden % 8 == 0 and abs(pack.network.count / 20_000 - 1) < 0.25


@pytest.mark.parametrize("cell", ["tcn", "transformer", "stackrnn"])
def test_other_lengths_are_scored_with_the_layers_that_were_trained(
    cell, settings_for, trained, capsys
):
    """Levels follow from the horizon that was trained; a stack has cells for what is run."""
    asked = f"cell={cell} task=reverse task.length=3 model.hidden=8 train.steps=2 train.batch=2"
    run = settings_for(*asked.split(), "train.eval_every=2", "train.eval_limit=1")
    trained(run)
    folder = Folder.of(run).path
    run_eval([str(folder), "task.length=3,30", "train.eval_limit=1"])
    assert "30" in capsys.readouterr().out
    here, longer = (open_run(folder, changes) for changes in (None, {"task.length": 30}))
    assert longer.network.count == here.network.count
    if cell == "stackrnn":
        carried = [n.network.stack[0].carried(1, 8, 1) for n in (here, longer)]
        assert carried[1] > carried[0]


@pytest.mark.parametrize("flag", ["--latex", "--source", "--verify"])
def test_what_is_about_equations_refuses_a_layer(flag, capsys):
    assert main(["show", "cell=tcn", flag]) == 2
    told = capsys.readouterr().err
    assert f"{flag} is about equations, and cell=tcn is a layer of another kind" in told


def test_a_layer_is_shown_by_formulas_and_counts(capsys):
    assert main(["show", "cell=tcn", "task=copy"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "2 levels of kernel 7: receptive field 37 steps" in told
    assert "block_d(x) = relu(P x + relu(conv(relu(conv(x)))))" in told
    count = TCN(levels=2).count(10, 64)
    assert f"{count:,} with d = 10 inputs and n = 64 units" in told
