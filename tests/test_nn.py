"""`rnnbench.nn.Recurrent` takes the place of nn.LSTM and nn.GRU: their numbers, shapes, states and
refusals, for any cell.
"""

import copy
import io
import multiprocessing
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from rnnbench import nn as nn_module
from rnnbench.engine import library, loop, native
from rnnbench.engine.native import build
from rnnbench.errors import UserError
from rnnbench.nn import Recurrent

ROOT = Path(__file__).resolve().parent.parent
D, H = 3, 5  # inputs, units

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler here")


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled once per session, never in the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp().parent / "native-cache"))
        yield


ENGINES = [pytest.param("native", marks=needs_compiler), "torch", "loop"]
PEERS = [  # ours, torch's, the gates in torch's order, the bias inside the reset
    ("lstm", nn.LSTM, "ifzo", None),
    ("gru_reset_after", nn.GRU, "rzn", "m"),
    ("tanh", nn.RNN, "h", None),
]


def pair(cell, build, gates, inner, engine="loop", **options):
    """torch's module and ours with the same weights, float64."""
    torch.manual_seed(3)
    theirs = build(D, H, **options).double()
    ours = Recurrent(cell, D, H, engine=engine, dtype=torch.float64, **options)
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for suffix in ours._suffixes:

            def gate(kind, name, suffix=suffix):
                return dict(zip(gates, weights[kind + suffix].chunk(len(gates)), strict=True))[name]

            for name, blocks in ours.columns.items():
                if name == "b":
                    parts = [
                        gate("bias_hh", gates[-1])
                        if block == inner
                        else gate("bias_ih", block)
                        + (0 if inner and block == gates[-1] else gate("bias_hh", block))
                        for block in blocks
                    ]
                else:
                    kind = "weight_ih" if name == "W" else "weight_hh"
                    parts = [gate(kind, block).T for block in blocks]
                getattr(ours, name + suffix).copy_(torch.cat(parts, -1))
    return theirs, ours


def flat(states):
    return [states] if isinstance(states, torch.Tensor) else list(states)


def same(ours, theirs, x, hx=None):
    """Outputs, states and the gradients of inputs and states are equal."""
    results = []
    for module in (ours, theirs):
        given = x.detach().clone().requires_grad_() if isinstance(x, torch.Tensor) else x
        states = None if hx is None else [s.clone().requires_grad_() for s in flat(hx)]
        argument = states[0] if states and isinstance(hx, torch.Tensor) else states
        output, last = module(given, tuple(argument) if isinstance(argument, list) else argument)
        data = output if isinstance(output, torch.Tensor) else output.data
        total = sum((tensor * tensor).sum() for tensor in (data, *flat(last)))
        leaves = [given] if isinstance(given, torch.Tensor) else []
        slopes = torch.autograd.grad(total, [*leaves, *(states or [])]) if leaves else ()
        assert type(last) is (tuple if len(flat(last)) > 1 else torch.Tensor)
        results.append([data, *flat(last), *slopes])
    for a, b in zip(*results, strict=True):
        assert a.shape == b.shape
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


OPTIONS = [
    {},
    {"num_layers": 2},
    {"batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer[0])
def test_equals_torch(peer, options, engine):
    theirs, ours = pair(*peer, engine=engine, **options)
    for steps, batch in ((6, 4), (1, 4), (6, 1), (1, 1), (6, 0)):
        shape = (batch, steps, D) if options.get("batch_first") else (steps, batch, D)
        x = torch.randn(shape, dtype=torch.float64)
        layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
        state = torch.randn(layers, batch, H, dtype=torch.float64)
        same(ours, theirs, x)
        same(ours, theirs, x, (state, -state) if peer[0] == "lstm" else state)
    x = torch.randn(6, D, dtype=torch.float64)  # alone
    same(ours, theirs, x)
    state = torch.randn(layers, H, dtype=torch.float64)
    same(ours, theirs, x, (state, -state) if peer[0] == "lstm" else state)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer[0])
def test_packed_sequences_equal_torch(peer, options, engine):
    theirs, ours = pair(*peer, engine=engine, **options)
    lengths = [3, 7, 1, 7, 4]
    sequences = [torch.randn(length, D, dtype=torch.float64) for length in lengths]
    packed = pack_sequence(sequences, enforce_sorted=False)
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    state = torch.randn(layers, len(lengths), H, dtype=torch.float64)
    same(ours, theirs, packed)
    same(ours, theirs, packed, (state, -state) if peer[0] == "lstm" else state)
    for k, sequence in enumerate(sequences):  # each is what it is alone
        output, found = pad_packed_sequence(ours(packed)[0])
        torch.testing.assert_close(output[: found[k], k], ours(sequence)[0])


def test_gradients_of_packed_weights_equal_torch():
    theirs, ours = pair(*PEERS[1], num_layers=2, bidirectional=True)
    x = torch.randn(7, 3, D, dtype=torch.float64)
    packed = pack_padded_sequence(x, [7, 4, 4])
    for module in (theirs, ours):
        output, last = module(packed)
        (output.data.square().sum() + last.sin().sum()).backward()
    total = theirs.weight_ih_l1_reverse.grad
    gates = dict(zip("rzn", total.chunk(3), strict=True))
    expected = torch.cat([gates[name].T for name in ours.columns["W"]], -1)
    torch.testing.assert_close(ours.W_l1_reverse.grad, expected)


@pytest.mark.parametrize(
    ("cell", "engine"),
    [
        ("mut1", "loop"),
        *(
            pytest.param(cell, "native", marks=needs_compiler)
            for cell in ("mut1", "lstm_vanilla", "slstm")
        ),
    ],
)
def test_gradients_are_those_of_finite_differences(cell, engine):
    torch.manual_seed(0)
    module = Recurrent(cell, 2, 2, bidirectional=True, engine=engine, dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    packed = [torch.randn(n, 2, dtype=torch.float64, requires_grad=True) for n in (2, 1)]
    names, weights = zip(*module.named_parameters(), strict=True)
    count = len(module._plan.state)

    def outputs(sequences, *weights):
        states = tuple(torch.full((2, 2, 2), 0.5, dtype=torch.float64) for _ in range(count))
        hx = states if count > 1 else states[0]
        given = dict(zip(names, weights, strict=True))
        output, last = torch.func.functional_call(module, given, (sequences, hx))
        return getattr(output, "data", output), *flat(last)

    assert torch.autograd.gradcheck(lambda x, *w: outputs(x, *w), (x, *weights))
    assert torch.autograd.gradcheck(
        lambda a, b, *w: outputs(pack_sequence([a, b]), *w), (*packed, *weights)
    )


@pytest.mark.parametrize("cell", ["mut1", "lstm"])
def test_what_is_not_contiguous_is_read_as_it_stands(cell):
    module = Recurrent(cell, D, H)
    x = torch.randn(D, 8, 12)[:, ::2, ::3].permute(2, 1, 0)
    assert not x.is_contiguous()
    torch.testing.assert_close(module(x)[0], module(x.contiguous())[0])
    first = Recurrent(cell, D, H, batch_first=True)
    first.load_state_dict(module.state_dict())
    torch.testing.assert_close(first(x.transpose(0, 1))[0].transpose(0, 1), module(x)[0])


# Refusals


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((torch.zeros(0, 2, D),), "at least one step"),
        ((torch.zeros(4, 2, D + 1),), "3 numbers a step"),
        ((torch.zeros(4, 2, 2, D),), "axes"),
        ((torch.zeros(D),), "axes"),
        ((torch.zeros(4, 2, D).double(),), "torch.float32"),
        ((torch.zeros(4, 2, D).long(),), "torch.float32"),
        ((torch.zeros(4, 2, D), torch.zeros(1, 2, H)), "states y, c"),
        ((torch.zeros(4, 2, D), (torch.zeros(1, 3, H),) * 2), "shape"),
        ((torch.zeros(4, 2, D), (torch.zeros(1, 2, H).double(),) * 2), "torch.float32"),
        ((torch.zeros(4, 2, D, device="meta"),), "meta"),
    ],
)
def test_inputs_are_refused_by_what_is_wrong(arguments, said):
    with pytest.raises(ValueError, match=said):
        Recurrent("lstm", D, H)(*arguments)


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("lsmt", D, H), {}, "did you mean 'lstm'"),
        (("own", D, H), {}, "file.py:name"),
        (("nowhere.py:cell", D, H), {}, "no file"),
        ((lambda W, x, h: h, D, H), {}, "is not a cell"),
        (("lstm", 0, H), {}, "input_size"),
        (("lstm", D, 2.0), {}, "hidden_size"),
        (("lstm", D, H), {"num_layers": 0}, "num_layers"),
        (("lstm", D, H), {"dropout": 2}, "dropout"),
        (("lstm", D, H), {"engine": "fast"}, "engine"),
        (("lstm", D, H), {"init": "chrono"}, "needs the longest lag"),
        (("tanh", D, H), {"forget_bias": 1.0}, "no gate"),
        (("lstm", D, H), {"constants": {"beta": 1.0}}, "no constant 'beta'"),
    ],
)
def test_options_are_refused_by_what_is_wrong(arguments, options, said):
    with pytest.raises(UserError, match=said):
        Recurrent(*arguments, **options)


@needs_compiler
def test_a_second_derivative_is_refused_by_native_and_had_from_loop():
    x = torch.randn(4, 2, D, requires_grad=True)
    with pytest.raises(RuntimeError, match="engine='loop'"):
        torch.autograd.grad(Recurrent("gru", D, H)(x)[0].sum(), x, create_graph=True)
    module = Recurrent("gru", 2, 2, engine="loop", dtype=torch.float64)
    x = torch.randn(3, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: module(x)[0], (x,))


def test_the_kernels_of_torch_are_taken_where_they_compute_the_cell():
    lstm, mine = Recurrent("lstm", D, H)._plan, Recurrent(halved, D, H)._plan
    for device in ("cuda", "mps"):
        assert nn_module._engine("auto", lstm, torch.float32, device) is library.unroll
        assert nn_module._engine("auto", mine, torch.float32, device) is loop.unroll
    with pytest.raises(UserError, match=r"engine='torch': torch.nn is not known to compute halved"):
        Recurrent(halved, D, H, engine="torch")(torch.ones(2, D))


# Cells and their starts


def test_forget_bias_knows_each_cells_sign():
    torch.manual_seed(0)
    for cell, sign, name in (("lstm", 1, "f"), ("gru", 1, "z"), ("mut1", -1, "z")):
        module = Recurrent(cell, D, H, forget_bias=2.0)
        blocks = dict(
            zip(module.columns["b"], module.b_l0.chunk(3 + (cell == "lstm")), strict=True)
        )
        assert {k: v.unique().tolist() for k, v in blocks.items()} == {
            k: [sign * 2.0 if k == name else 0.0] for k in blocks
        }


def test_starts_follow_torchs_generator_and_the_cells_settings():
    def start(**options):
        torch.manual_seed(5)
        return Recurrent("irnn", D, H, 2, **options)

    assert all(map(torch.equal, start().parameters(), start().parameters()))
    assert torch.equal(start().R0_l1, torch.eye(H))  # as irnn starts
    glorot = start(init="glorot").R0_l1
    assert not torch.equal(glorot, torch.eye(H))
    module = start(init="glorot")
    module.reset_parameters()
    assert not torch.equal(module.R0_l1, glorot)


MINE = """from torch import sigmoid, tanh


def mine(W, R, b, x, h, *, rate=1.0):
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    return z * h + (1 - z) * tanh(rate * (W.n @ x) + R.n @ h + b.n)
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mycell.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return "mycell.py:mine"


def test_a_cell_of_ones_own(mine, tmp_path, monkeypatch):
    module = Recurrent(mine, D, H, forget="+z", forget_bias=3.0, constants={"rate": 0.5})
    assert repr(module) == f"Recurrent(mine, {D}, {H})"
    assert 3.0 in module.b_l0
    x, h = torch.randn(D), torch.randn(H)

    def block(name, other):
        tensor = getattr(module, f"{name}_l0")
        return tensor.chunk(2, -1)[module.columns[name].index(other)]

    z = torch.sigmoid(x @ block("W", "z") + h @ block("R0", "z") + block("b", "z"))
    n = torch.tanh(0.5 * (x @ block("W", "n")) + h @ block("R0", "n") + block("b", "n"))
    torch.testing.assert_close(module(x[None], h[None])[1][0], z * h + (1 - z) * n)

    monkeypatch.chdir("/")
    again = pickle.loads(pickle.dumps(module))  # found wherever this process is
    assert torch.equal(again(x[None])[0], module(x[None])[0])
    (tmp_path / "mycell.py").write_text(MINE + "\n# edited\n")
    with pytest.raises(UserError, match="has changed"):
        pickle.loads(pickle.dumps(module))


def halved(W, R, x, h):
    return 0.5 * h + W.h @ x + R.h @ h


def test_a_function_is_a_cell():
    module = Recurrent(halved, D, H)
    assert torch.equal(copy.deepcopy(module)(torch.ones(2, D))[0], module(torch.ones(2, D))[0])
    with pytest.raises(UserError, match="say which with"):
        Recurrent(halved, D, H, forget_bias=1.0)


# Life as a module


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Recurrent("mut1", D, H, 2, bidirectional=True)


X = torch.linspace(-1, 1, 4 * 2 * D).view(4, 2, D)


def test_saved_and_loaded(module):
    expected = module(X)[0]
    for made in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(made(X)[0], expected)
        made.reset_parameters()
        assert not torch.equal(made(X)[0], expected)
        assert torch.equal(module(X)[0], expected)
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    weights = torch.load(buffer, weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    other = Recurrent("mut1", D, H, 2, bidirectional=True)
    other.load_state_dict(weights)
    assert torch.equal(other(X)[0], expected)


def test_weights_of_another_cell_are_refused():
    first, second = Recurrent(halved, D, H), Recurrent("tanh", D, H)
    with pytest.raises(RuntimeError, match="Missing key"):
        second.load_state_dict(first.state_dict())
    first, second = Recurrent("lstm_i", D, H), Recurrent("lstm_f", D, H)  # tensors of equal shapes
    assert [p.shape for p in first.parameters()] == [p.shape for p in second.parameters()]
    with pytest.raises(RuntimeError, match="for cell lstm_f"):
        second.load_state_dict(first.state_dict())


def test_dropout_acts_between_layers_in_training_only():
    torch.manual_seed(0)
    module = Recurrent("gru", D, H, 2, dropout=1.0)
    plain = Recurrent("gru", D, H, 2)
    plain.load_state_dict(module.state_dict())
    assert torch.equal(module(torch.zeros_like(X))[0], module(X)[0])  # the second layer sees zeros
    assert torch.equal(module.eval()(X)[0], plain(X)[0])
    with pytest.warns(UserWarning, match="between layers"):
        Recurrent("gru", D, H, dropout=0.5)


def test_autocast_computes_in_the_type_of_the_parameters(module):
    expected = module(X)[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(X)[0], expected)
        narrow = nn.Linear(D, D)(X)
        assert narrow.dtype == torch.bfloat16
        assert torch.equal(module(narrow)[0], module(narrow.float())[0])
    with pytest.raises(ValueError, match="bfloat16"):
        module(X.bfloat16())


def test_another_type_goes_through_the_loop(module):
    with pytest.warns(UserWarning, match="bfloat16"):
        output = module.bfloat16()(X.bfloat16())[0]
    assert output.dtype == torch.bfloat16
    assert module.to("meta")(X.bfloat16().to("meta"))[0].shape == output.shape


def test_threads_call_at_once(module):
    expected, found = [module(X * k)[0] for k in range(8)], {}

    def call(k):
        for _ in range(20):
            found[k] = module(X * k)[0]

    threads = [threading.Thread(target=call, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[k], expected[k]) for k in range(8))


def test_two_threads_make_their_first_call_at_once():
    modules = [Recurrent(halved, D, H, dtype=torch.float64) for _ in range(2)]
    modules[1].load_state_dict(modules[0].state_dict())
    found = []
    threads = [threading.Thread(target=lambda m=m: found.append(m(X.double())[0])) for m in modules]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(*found)


class Outputs(torch.utils.data.Dataset):
    def __init__(self, module):
        self.module = module

    def __len__(self):
        return 4

    def __getitem__(self, k):
        return self.module(X * k)[0].detach()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_data_loader(module, method):
    module(X)  # its threads run before the fork
    loader = torch.utils.data.DataLoader(
        Outputs(module),
        num_workers=1,
        batch_size=None,
        multiprocessing_context=multiprocessing.get_context(method),
    )
    for k, output in enumerate(loader):
        torch.testing.assert_close(output, module(X * k)[0])


COMPILED = """
import sys
import torch
from rnnbench.nn import Recurrent

torch.manual_seed(0)
engine, native = sys.argv[1], sys.argv[1] != "loop"
units = 50 if native else 4
layer, head = Recurrent("lstm", 3, units, engine=engine), torch.nn.Linear(units, 1)
weights = [*layer.parameters(), *head.parameters()]
optimizer = torch.optim.SGD(weights, lr=0.01)
x = torch.randn(12 if native else 2, 8, 3)


def step(x):
    loss = head(layer(x * 2)[0].sin()).square().mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


start = [w.detach().clone() for w in weights]
plain = [step(x).item() for _ in range(5)]
with torch.no_grad():
    for weight, value in zip(weights, start, strict=True):
        weight.copy_(value)
compiled = torch.compile(step, backend="aot_eager")
torch.testing.assert_close([compiled(x).item() for _ in range(5)], plain, rtol=1e-5, atol=1e-6)
if not native:  # the whole module is one graph
    whole = torch.compile(layer, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(whole(x)[0], layer(x)[0])
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_torch_compile_around_it(engine):
    subprocess.run([sys.executable, "-W", "ignore", "-c", COMPILED, engine], check=True)


@pytest.mark.parametrize(
    ("page", "heading"), [("README.md", "From Python"), ("docs/cells.md", "Use a cell in PyTorch")]
)
def test_the_example_of_a_page(page, heading):
    section = (ROOT / page).read_text("utf-8").partition(f"## {heading}")[2]
    code = section.partition("```python\n")[2].partition("```")[0]
    scope = {"x": torch.randn(5, 2, 8)}
    exec(code, scope)
    assert scope["output"].shape == (5, 2, 64)
    assert scope["state"].shape == (2, 2, 64)


def test_an_import_is_light():
    script = (
        "import sys, time, torch; before = time.perf_counter(); import rnnbench.nn; "
        "print(time.perf_counter() - before, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    seconds, *names = done.stdout.split()
    heavy = {"hydra", "omegaconf", "pandas", "scipy", "matplotlib", "rich", "torch._dynamo"}
    assert heavy.isdisjoint(names)
    assert float(seconds) < 1  # 0.04 s on an idle machine; a busy one takes longer


@needs_compiler
def test_without_a_compiler_the_loop_takes_over(monkeypatch):
    def fresh(W, R, x, h):
        return W.h @ x + R.h @ h

    monkeypatch.setattr(native, "why_not", lambda *_: "there is no compiler")
    with pytest.warns(UserWarning, match="no compiler"):
        Recurrent(fresh, D, H)(X)
    with pytest.raises(UserError, match="no compiler"):
        Recurrent(fresh, D, H, engine="native")(X)
