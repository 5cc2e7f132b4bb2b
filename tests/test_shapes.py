"""States and blocks with shapes of their own, and starts that are constant or learnt."""

import numpy as np
import pytest
import torch

from rnnbench.catalogue import resolve
from rnnbench.engine import loop, native
from rnnbench.engine.network import Network, stacked
from rnnbench.equations.canonical import canonical
from rnnbench.equations.operations import OPERATIONS, gradients
from rnnbench.equations.plan import plan
from rnnbench.equations.program import Value
from rnnbench.equations.shapes import parse, together, written
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError
from rnnbench.evidence.verify import verify
from rnnbench.layers.recurrent import Recurrent
from rnnbench.tools.export import export
from rnnbench.training.loop import Training

K, T, B, I, H = 2, 6, 3, 2, 4  # noqa: E741
HEAD = "from torch import log_softmax, outer, roll, sigmoid, softmax, tanh\n\n\n"


@pytest.fixture
def cell(tmp_path):
    """cell(signature, body) → the function, from a file."""

    def made(signature, body, name="mine"):
        path = tmp_path / f"{name}.py"
        lines = "\n".join(f"    {line}" for line in body.split("; "))
        path.write_text(f"{HEAD}def {name}({signature}):\n{lines}\n")
        return resolve(f"{path}:{name}", "cell.step")

    return made


def network_of(function, constants=None, hidden=H):
    """A network of one layer with random weights."""
    stack = stacked(Recurrent(plan(function, constants)), 1, None, False)
    network = Network(stack, K, I, hidden, 2, False, torch.float64, "cpu")
    generator = torch.Generator().manual_seed(2)
    network.flat.copy_(torch.randn(network.flat.shape, generator=generator))
    return network, torch.randn(K, T, B, I, generator=generator, dtype=torch.float64)


def test_sizes_are_numbers_constants_units_and_quotients():
    shape = parse("heads H/heads 3", {"heads": 2})
    assert written(shape) == "2 × n/2 × 3"
    assert [axis.long(12) for axis in shape] == [2, 6, 3]
    assert parse("1", {}) == () and written(parse("cells", {"cells": 0})) == "steps"
    assert [axis.at(7).long(4) for axis in parse("cells 2", {"cells": 0})] == [7, 2]
    long, short = parse("2 3", {}), parse("2", {})
    assert together([short, long]) == long and together([parse("3", {}), long]) is None
    for wrong, told in (("widht", "'widht' is no size"), ("H/0", "cannot be divided by")):
        with pytest.raises(ValueError, match=told):
            parse(wrong, {})


@pytest.mark.parametrize("name", ["outer", "rows", "read", "roll", "softmax", "sum", "norm"])
def test_derivatives_are_those_of_autograd(name):
    """Of each operation over an axis: what `gradients` says, computed by the operations again."""
    shapes = {"outer": [(3,), (4,)], "rows": [(3, 4), (4,)], "read": [(3,), (3, 4)]}
    generator = torch.Generator().manual_seed(1)
    given = [torch.randn(2, 2, *s, generator=generator) for s in shapes.get(name, [(4,)])]
    options = {"roll": (1.0, -1.0)}.get(name, (-1.0,) if OPERATIONS[name].options else ())
    leaves = [Value("state", (), str(k)) for k in range(len(given))]
    value, slope = Value(name, (*leaves, *options)), Value("gradient")

    def computed(expression, known):
        if not isinstance(expression, Value) or expression in known:
            return known.get(expression, expression)
        args = [computed(a, known) for a in expression.args]
        return OPERATIONS[expression.op].compute(*args)

    wanted = [tensor.clone().requires_grad_() for tensor in given]
    known = dict(zip(leaves, wanted, strict=True))
    made = computed(value, known)
    arriving = torch.randn(made.shape, generator=generator)
    expected = torch.autograd.grad(made, wanted, arriving)
    known |= {value: made, slope: arriving}
    found = {leaf: computed(part, known) for leaf, part in gradients(value, slope)}
    assert found.keys() == {*leaves}
    for leaf, theirs in zip(leaves, expected, strict=True):
        torch.testing.assert_close(found[leaf], theirs)


def test_products_of_states_beside_einsum(cell):
    """A number a head meets a vector a head; rows, read, outer and roll of matrices a head."""
    function = cell(
        'W: "k: heads 3, v: heads 5, g: heads", R: "q: heads 3", b: "g: heads", x, h, '
        'S: "heads 3 5", *, heads=2',
        "k = tanh(W.k @ x); g = sigmoid(W.g @ x + b.g); "
        "S = g * roll(S, 1, -2) + outer(k, W.v @ x); "
        "r = (R.q @ h) @ S; m = S @ r; return tanh(R.r @ r + R.m @ m + W.h @ x), S",
    )
    network, x = network_of(function)
    made, params = network.stack[0].plan, network.layer(0)
    blocks = {}
    for key, names in {
        "W": made.blocks["W"],
        **{f"R{g}": n for g, (_, n) in enumerate(made.groups)},
    }.items():
        parts = params[key].split(made.columns(key[0], names, H), -1)
        blocks |= {f"{key[0]}.{name}": part for name, part in zip(names, parts, strict=True)}
    with torch.no_grad():
        y, _ = network.run(None, x, network.zero_state(B))
        h, S = torch.zeros(K, B, H, dtype=x.dtype), torch.zeros(K, B, 2, 3, 5, dtype=x.dtype)
        for t in range(T):
            now = {
                n: torch.einsum("kbi,kig->kbg", x[:, t], w)
                for n, w in blocks.items()
                if n[0] == "W"
            }
            k = now["W.k"].tanh().view(K, B, 2, 3)
            g = (now["W.g"] + params["b"][:, None]).sigmoid()
            shifted = torch.cat([S[..., -1:, :], S[..., :-1, :]], -2)
            v = now["W.v"].view(K, B, 2, 5)
            S = torch.einsum("kba,kbanm->kbanm", g, shifted) + torch.einsum(
                "kban,kbam->kbanm", k, v
            )
            q = torch.einsum("kbh,khg->kbg", h, blocks["R.q"]).view(K, B, 2, 3)
            r = torch.einsum("kban,kbanm->kbam", q, S)
            m = torch.einsum("kbanm,kbam->kban", S, r)
            read = torch.einsum("kbg,kgh->kbh", r.flatten(2), blocks["R.r"])
            rows = torch.einsum("kbg,kgh->kbh", m.flatten(2), blocks["R.m"])
            h = (read + rows + now["W.h"]).tanh()
            torch.testing.assert_close(y[:, t], h)


def test_starts_are_constant_first_or_learnt(cell):
    function = cell(
        'W, R, x, h, a: "3"=0.25, f: "3"="first", s: "3"="learnt"',
        "return tanh(W.h @ x + R.a @ a + R.f @ f + R.s @ s), a, f, 0.5 * s",
    )
    network, x = network_of(function)
    layer = network.stack[0]
    _, a, f, s, new = network.zero_state(B)[0]
    assert (a == 0.25).all() and not s.any() and (new == 1).all()
    assert torch.equal(f[0, 0], torch.tensor([1.0, 0, 0], dtype=x.dtype))
    assert layer.count(I, H) == I * H + 3 * 3 * H + 3
    y, states = network.run(None, x, network.zero_state(B))
    first, then = network.run(None, x[:, :2], network.zero_state(B))
    second, after = network.run(None, x[:, 2:], then)
    torch.testing.assert_close(torch.cat([first, second], 1), y)
    assert not states[0][-1].any() and not after[0][-1].any()
    learnt = network.layer(0)["start"]
    torch.testing.assert_close(states[0][3], learnt[:, None].expand(K, B, 3) * 0.5**T)


def test_what_is_learnt_of_a_start_gets_its_gradient_once(cell):
    """From the window that begins a sequence, and from none that goes on."""
    function = cell('W, R, x, h, s: "2"="learnt"', "return tanh(W.h @ x + R.s @ s), s")
    network, x = network_of(function)
    start = network.params["0.start"]
    y, states = network.run(None, x, network.zero_state(B))
    assert torch.autograd.grad(y.sum(), start)[0].all()
    goes_on = [tuple(state.detach() for state in states[0])]
    y, _ = network.run(None, x, goes_on)
    assert not torch.autograd.grad(y.sum(), start)[0].any()


@pytest.mark.parametrize(
    ("signature", "body", "told"),
    [
        ('W, x, h, S: "3 h"', "return tanh(W.h @ x + h), S", r"S: '3 h': 'h' is no size"),
        ('W: "k 3", x, h', "return tanh(W.k @ x + h)", "W: 'k 3': 'k 3' is no 'names: sizes'"),
        ('W: "k: 3", x, h', "return tanh(W.h @ x + h)", "gives W.k a shape, and nothing reads it"),
        ('W: "k: 3", x, h', "return tanh(W.k @ x + h)", "add of 3 and n numbers does not fit"),
        ('W, x, h: "3"', "return tanh(W.h @ x)", "the new h has n numbers, and h 3"),
        ('W, x, h, S: "2 3"', "return tanh(W.h @ x + h), S @ h", "rows of 2 × 3 and n numbers"),
        ('W, x, h, s="random"', "return tanh(W.h @ x + s), h", "s starts at 'random'; a state"),
        ("W, x, h", "return roll(W.h @ x + h, 1, -2)", "roll goes along an axis that n does not"),
        ('W: "k: 1", x, h', "return tanh(h + softmax(W.k @ x, -1))", "softmax goes along an axis"),
        ('W, x, h, S: "2 3"', "return 2.0 @ S, S", "left of @ must be W.name or R.name, got 2.0"),
    ],
)
def test_what_does_not_fit_is_said_with_its_line(cell, signature, body, told):
    with pytest.raises(UserError, match=told) as refused:
        plan(cell(signature, body))
    assert "mine.py:" in str(refused.value)


def test_other_engines_and_export_refuse_with_the_reason(settings_for, trained, pack_of):
    told = native.why_not(
        plan(resolve("rnnbench.cells.fastweights.deltanet", "")), torch.float32, "cpu"
    )
    assert told.startswith("deltanet has states with shapes or starts of their own")
    small = (
        "task=adding task.length=6 model.hidden=4 train.steps=2 train.batch=2 train.eval_every=2"
    )
    with pytest.raises(UserError, match="engine=native: deltanet has states with shapes"):
        pack_of(settings_for("cell=deltanet", *small.split(), "engine=native"))
    run = settings_for("cell=ntm", *small.split(), "train.eval_limit=1", "cell.constants.rows=4")
    trained(run)
    from rnnbench.runs.records import Folder

    with pytest.raises(UserError, match="cell=ntm has states with shapes or starts of their own"):
        export(Folder.of(run).path, "onnx")


def test_a_cell_of_ones_own_is_verified_value_by_value(cell, monkeypatch):
    signature = 'W: "k: 3", x, h, S: "3 H"'
    function = cell(signature, "S = S + outer(W.k @ x, h); return tanh(W.h @ x + h), S")
    assert [check.passed for check in verify(function)] == [True, True]
    right = loop._emit_early

    def twice(*given):
        return lambda *x: [2 * value for value in right(*given)(*x)]

    monkeypatch.setattr(loop, "_emit_early", twice)
    body = "S = S + outer(tanh(W.k @ x), h); return tanh(W.h @ x + h), S"
    assert not verify(cell(signature, body, "gated"))[0].passed


def test_cells_that_differ_in_shapes_or_starts_are_no_twins(cell):
    body = "return tanh(W.h @ x + h + R.s @ s), 0.5 * s"
    texts = [
        canonical(trace(cell(f"W, R, x, h, s: {size}", body, f"cell{k}")))
        for k, size in enumerate(('"3"', '"4"', '"3"=0.5', '"3"="learnt"', '"3"'))
    ]
    assert len(set(texts)) == 4 and texts[0] == texts[4]


def test_units_must_be_a_multiple_of_the_heads(settings_for, pack_of):
    asked = ["cell=mlstm", "cell.constants.heads=4", "task=adding", "task.length=6"]
    with pytest.raises(UserError, match="multiple of 4"):
        pack_of(settings_for(*asked, "model.hidden=6"))
    sized = pack_of(settings_for(*asked, "model.match=params:2000"))
    assert sized.hidden % 4 == 0


def test_a_stack_has_as_many_cells_as_the_task_needs(settings_for, pack_of):
    asked = ["cell=stackrnn", "task=reverse", "task.length=5", "model.hidden=4"]
    training = Training(pack_of(settings_for(*asked)))
    horizon = training.pack.task.horizon
    assert [s.shape[2:] for s in training.pack.network.zero_state(1)[0]] == [
        (4,),
        (1, horizon, 8),
        (horizon,),
    ]
    assert np.isfinite(training.update().item())
