"""Every operation of the language: its derivative is autograd's, and one entry is all it takes."""

import pytest
import torch

from rnnbench.catalogue import resolve
from rnnbench.cells.xlstm import slstm
from rnnbench.engine import loop, native
from rnnbench.engine.native import build
from rnnbench.equations import operations, rules
from rnnbench.equations.operations import OPERATIONS, Form, Operation, gradients
from rnnbench.equations.plan import plan
from rnnbench.equations.program import Value
from rnnbench.equations.text import latex, unicode

LEAF = Value("state", block="h")
OPTIONS = {"softplus": [(1.0, 20.0), (0.5, 20.0), (2.0, 0.3)], "clamp": [(-0.4, 0.6), (-0.4, 9e9)]}
OPTIONS |= {name: [(-1.0,)] for name in ("softmax", "sum", "mean", "norm")}  # the axis of units
POSITIVE = {"sqrt", "log", "pow"}
# what meets another shape is in test_shapes.py
SMOOTH = [
    name
    for name, entry in OPERATIONS.items()
    if not entry.chooses and not entry.own and name != "roll"
]


def computed(value, known):
    """An expression of values on tensors."""
    if not isinstance(value, Value):
        return value
    if value in known:
        return known[value]
    return OPERATIONS[value.op].compute(*(computed(a, known) for a in value.args))


def arguments(name, operands):
    """The operands as values and numbers: all vectors, then a number in every place but one."""
    if name == "where":
        condition = Value("greater", (operands[0], 0.1))
        yield from ((condition, *operands[1:]), (condition, operands[1], 0.5))
        yield condition, 0.5, operands[2]
        return
    for options in OPTIONS.get(name, [()]):
        yield *operands, *options
    if len(operands) == 2:
        for number in (0.3, 1.0, 2.0, 3.0):
            yield operands[0], number
            yield number, operands[1]


@pytest.mark.parametrize("name", SMOOTH)
def test_a_derivative_is_that_of_autograd(name):
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        operands = [Value("state", block=k) for k in OPERATIONS[name].operands]
        drawn = [torch.randn(40, generator=generator, dtype=torch.float64) for _ in operands]
        if name in POSITIVE:
            drawn = [drawn[0].abs() + 0.1, *drawn[1:]]
        if name == "div":
            drawn[1] = drawn[1].sign() + drawn[1]
        known = {v: t.requires_grad_() for v, t in zip(operands, drawn, strict=True)}
        for args in arguments(name, operands):
            value, arrives = Value(name, args), Value("gradient")
            result = computed(value, known)
            weight = torch.randn(40, generator=generator, dtype=torch.float64)
            there = [a for a in args if isinstance(a, Value) and a in known]
            expected = torch.autograd.grad(result, [known[a] for a in there], weight)
            parts = dict(gradients(value, arrives))
            for a, slope in zip(there, expected, strict=True):
                ours = computed(parts[a], known | {value: result, arrives: weight})
                torch.testing.assert_close(ours.expand(40), slope, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("at", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("relu", (LEAF,)),
        ("abs", (LEAF,)),
        ("maximum", (LEAF, 1.0)),
        ("minimum", (-1.0, LEAF)),
        ("clamp", (LEAF, -1.0, 1.0)),
        ("pow", (LEAF, 2.0)),
        ("pow", (LEAF, 0.0)),
        ("where", (Value("less", (LEAF, 0.0)), LEAF, 0.5)),
    ],
)
def test_corners_are_shared_as_in_torch(name, args, at):
    h = torch.full((2,), at, dtype=torch.float64, requires_grad=True)
    value, arrives = Value(name, args), Value("gradient")
    result = computed(value, {LEAF: h})
    (expected,) = torch.autograd.grad(result.sum(), h)
    ones = torch.ones_like(h).detach()
    parts = [
        computed(part, {LEAF: h, value: result, arrives: ones})
        for _, part in gradients(value, arrives)
    ]
    assert torch.equal(sum(parts) + torch.zeros(2, dtype=torch.float64), expected)


CUBED = """import torch


def cell(W, R, b, x, h):
    return torch.tanh(torch.special.erf(W.h @ x + R.h @ h) + b.h)
"""


@pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler on this machine")
def test_an_operation_is_one_entry(monkeypatch, tmp_path):
    """The error function, for the loop, C++, text and derivatives."""
    factor = 2 / torch.pi**0.5
    entry = Operation(
        compute=torch.special.erf,
        derivative=lambda g, y, a: (g * factor * Value("exp", (-(a * a),)),),
        cpp="each(erf, {0})",
        unicode=Form("erf"),
        latex=Form(r"\operatorname{erf}"),
        calls=("erf",),
    )
    monkeypatch.setitem(operations.OPERATIONS, "erf", entry)
    monkeypatch.setattr(rules, "METHODS", rules.METHODS | {"erf": "erf"})
    monkeypatch.setattr(rules, "FUNCTIONS", rules.FUNCTIONS | {torch.special.erf: "erf"})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "mine.py").write_text(CUBED, "utf-8")
    made = plan(resolve(f"{tmp_path / 'mine.py'}:cell", "cell.step"))
    assert "erf(W_h xₜ" in unicode(made.program) and "erf" in latex(made.program)
    generator = torch.Generator().manual_seed(0)
    shapes = {"W": (1, 2, 3), "R0": (1, 3, 3), "b": (1, 3), "x": (1, 4, 2, 2), "h": (1, 2, 3)}
    given = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }
    found = []
    params = {name: given[name] for name in ("W", "R0", "b")}
    for engine in (loop, native):
        outputs, _ = engine.unroll(made, params, given["x"], (given["h"],))
        found.append((outputs, *torch.autograd.grad(outputs.sin().sum(), list(given.values()))))
    for ours, reference in zip(*found, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-11, atol=1e-12)


def slstm_of_authors(i, f, z, o):
    """The rule of both implementations of Beck et al., of one unit, from its pre-activations: while
    the normaliser is 0 the stabiliser is the input gate.
    """
    c = n = m = 0.0
    outputs = []
    for step in zip(i, f, z, o, strict=True):
        admit, keep, inward, outward = (number.double() for number in step)
        kept = torch.nn.functional.logsigmoid(keep) + m
        m = admit if n == 0 else torch.maximum(kept, admit)
        c, n = (
            (torch.exp(kept - m) * old if n else 0.0) + torch.exp(admit - m) * new
            for old, new in ((c, torch.tanh(inward)), (n, 1.0))
        )
        outputs.append(torch.sigmoid(outward) * c / n)
    return torch.stack(outputs)


@pytest.mark.parametrize("gate", [-120.0, -100.0, -20.0, 0.0, 100.0])
@pytest.mark.parametrize("engine", [loop, native])
def test_slstm_starts_at_the_first_input_gate(engine, gate):
    made = plan(slstm)
    if engine is native and native.why_not(made, torch.float32, "cpu"):
        pytest.skip("no C++ compiler on this machine")
    generator = torch.Generator().manual_seed(0)
    K, T, B = 1, 4, 1
    x = torch.randn(K, T, B, 4, generator=generator)
    x[0, 0, 0, made.blocks["W"].index("i")] = gate
    params = {
        "W": torch.eye(4).unsqueeze(0).requires_grad_(),
        "R0": torch.zeros(K, 1, 4),
        "b": torch.zeros(K, 4),
    }
    zero = torch.zeros(K, B, 1)
    outputs, _ = engine.unroll(made, params, x, (zero,) * 4)
    gates = {name: x[0, :, 0, k] for k, name in enumerate(made.blocks["W"])}
    expected = slstm_of_authors(gates["i"], gates["f"], gates["z"], gates["o"])
    torch.testing.assert_close(outputs.flatten().double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.autograd.grad(outputs.sum(), params["W"])[0].isfinite().all()
