"""What trains is what the equations say, for every cell, also those added later.

Independent references are in rnnbench/evidence/scalar; what is compared, and how, in
rnnbench/evidence/verify.py. The second half shows that this evidence can fail.
"""

import importlib
import json
import pkgutil
import random
import runpy
from pathlib import Path

import pytest
import torch

from rnnbench.catalogue import cells, read, resolve
from rnnbench.engine import loop
from rnnbench.engine.loop import input_product
from rnnbench.equations.operations import OPERATIONS
from rnnbench.equations.plan import plan
from rnnbench.evidence import problem, scalar
from rnnbench.evidence.arithmetic import gradient, sigmoid
from rnnbench.evidence.problem import counted, draw
from rnnbench.evidence.verify import (
    against_literal,
    against_scalar,
    counts,
    evaluated,
    reaches,
    reference,
    verify,
)

GOLDEN = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "golden_products.py"))
CELLS = GOLDEN["cells"]()
CONFIGS = cells()

# the others are held against scalar code in test_memory_layers.py
PLAIN = [name for name, function in CELLS.items() if plan(function).program.plain]

every_cell = pytest.mark.parametrize("name", CELLS)
every_plain = pytest.mark.parametrize("name", PLAIN)


def failures(checks):
    return [f"{check.name}: {check.detail}" for check in checks if not check.passed]


@every_plain
def test_planned_computation_equals_references(name):
    assert not failures(verify(CELLS[name]))


@pytest.mark.parametrize("name", CONFIGS)
def test_configured_cell_verifies(name):
    values = read("cell", name)
    checks = verify(resolve(values["step"], "cell.step"), values.get("constants"))
    assert not failures(checks)


@every_plain
def test_scalar_reference_exists(name):
    written = scalar.find(name)
    assert written, (
        f"write {name}(w, x, …states) in a module of rnnbench/evidence/scalar/, from the paper "
        f"and without looking at the cell"
    )


def test_every_reference_has_a_cell():
    for found in pkgutil.iter_modules(scalar.__path__):
        module = importlib.import_module(f"{scalar.__name__}.{found.name}")
        assert {
            n for n, f in vars(module).items() if getattr(f, "__module__", "") == module.__name__
        } <= CELLS.keys()


def test_constants_reach_both_sides():
    checks = {c.name: c for c in verify(CELLS["janet"], {"beta": 0.3})}
    assert checks["scalar reference"].passed and checks["literal equations"].passed
    made = plan(CELLS["janet"], {"beta": 0.3})
    assert not against_scalar(made, draw(made), scalar.find("janet"), {}).passed


# Sizes at (d=1, n=130) and (d=2, n=64), one bias per gate, no embedding, no read-out.
PARAMETERS = {
    "nascell": (136240, 33792),
    "darts_v1": (304460, 73984),
    "darts_v2": (304460, 73984),
    "enas": (405860, 98560),
    # published, or counted from the published equations
    "tanh": (17160, 4288),
    "relu": (17160, 4288),
    "indrnn": (390, 256),
    "gru": (51480, 12864),
    "mut1": (34580, 8768),  # with its input projected; 34450 and 8640 as printed
    "mut2": (51480, 12864),  # with its input projected; 51350 and 12736 as printed
    "mut3": (51480, 12864),
    "mgu": (34320, 8576),
    "janet": (34320, 8576),
    "ugrnn": (34320, 8576),
    "lstm": (68640, 17152),  # 68K in Bai et al. (2018)
    "np": (68640, 17152),
    "lstm_vanilla": (69030, 17344),
    "niaf": (69030, 17344),
    "noaf": (69030, 17344),
    "nig": (51740, 12992),
    "nfg": (51740, 12992),
    "nog": (51740, 12992),
    "cifg": (51740, 12992),
    "fgr": (221130, 54208),
    "lstm_i": (51480, 12864),
    "lstm_f": (51480, 12864),
    "lstm_o": (51480, 12864),
    "mingru": (520, 384),
    "minlstm": (780, 576),
    # by hand: with A = dn + n² + n
    "gru_reset_after": (51610, 12928),  # 3A + n
    "coupled": (51480, 12864),  # 3A
    "lstm_peephole_full": (119340, 29440),  # 4A + 3n²
    "slstm": (68640, 17152),  # 4A: one head
    "lem": (68640, 17152),  # 4A, as an LSTM of the same width
    "cornn": (34060, 8384),  # dn + 2n² + n
    "unicornn": (520, 320),  # dn + 3n
    "ligru": (34320, 8576),  # 2A
    "sru": (1040, 768),  # 4dn + 4n
    "fastgrnn": (17550, 4480),  # dn + n² + 4n: with ζ and ν a unit
    "star": (17420, 4480),  # A + dn + n
    "lru": (34580, 8768),  # 3dn + 2n² + 3n
    "rglru": (780, 576),  # 3dn + 3n: as minLSTM
    "s4d": (910, 512),  # dn + 6n
    "linattn": (780, 576),  # 3dn + 3n
    "deltanet": (782, 579),  # 3dn + 3n, and d + 1 a head
    "mlstm": (1044, 774),  # 4dn + 4n, and 2d + 2 a head
    "lstm_ln": (69940, 17792),  # 4A, two gains a gate, gain and bias of the memory
    "gru_ln": (52260, 13248),  # 3A, two gains a gate
    "stackrnn": (20673, 6019),  # A, 2 · 8n of the top, 3n + 3 actions, 8n of the value
    "ntm": (90020, 28236),  # 4A + 4 · 16n, heads (4 · 16 + 12)(n + 1), 16n, memory 64 · 16
}


@every_cell
def test_parameter_count_is_the_published_one(name):
    assert name in PARAMETERS, (
        f"add the number of parameters of {name} at (d=1, n=130) and (d=2, n=64) to PARAMETERS"
    )
    made = plan(CELLS[name])
    assert (made.count(1, 130), made.count(2, 64)) == PARAMETERS[name]
    assert (evaluated(made.formula, 1, 130), evaluated(made.formula, 2, 64)) == PARAMETERS[name]


# by hand, one step of one sequence: a multiply-add counts 2, every other operation 1 per unit
FLOPS = {
    "tanh": "2dn + 2n² + 3n",
    "lstm": "8dn + 8n² + 17n",  # four gates of two sums and a function, c of 3, y of 2
    "gru": "6dn + 6n² + 14n",  # two gates of 3, r * h, the candidate of 3, h of 4
    "mingru": "4dn + 7n",  # z of 2, n of 1, h of 4
}


@pytest.mark.parametrize("name", FLOPS)
def test_operations_are_counted_as_by_hand(name):
    made = plan(CELLS[name])
    assert made.flops_formula == FLOPS[name]
    assert made.flops(3, 5) == evaluated(FLOPS[name], 3, 5)


def test_recurrent_products_are_the_recorded_ones():
    recorded = json.loads(GOLDEN["GOLDEN"].read_text("utf-8"))
    found = {name: GOLDEN["products"](function) for name, function in CELLS.items()}
    assert found == recorded, "if the change is meant: python scripts/golden_products.py"


@every_plain
def test_symbols_select_rows(name):
    made = plan(CELLS[name])
    generator = torch.Generator().manual_seed(0)
    K, T, B, I, H = 2, 3, 4, 5, 3  # noqa: E741
    params = {
        "W": torch.randn(K, I, len(made.blocks["W"]) * H, generator=generator, dtype=torch.float64)
    }
    params["b"] = torch.randn(
        K, len(made.blocks["b"]) * H, generator=generator, dtype=torch.float64
    )
    symbols = torch.randint(I, (K, T, B), generator=generator)
    one_hot = torch.nn.functional.one_hot(symbols, I).double()
    torch.testing.assert_close(
        input_product(made, params, symbols),
        input_product(made, params, one_hot),
        rtol=1e-12,
        atol=1e-12,
    )


# The evidence can fail: each line is a slip that was made, or nearly made, in published code.
SLIPS = [
    ("lstm", "c = z * i + c * f", "c = z * f + c * i"),
    ("lstm", "R.i @ y", "R.i @ c"),
    ("lstm", "tanh(c) * o, c", "tanh(c) * o, tanh(c)"),
    ("lstm_i", "c = z + c * f", "c = z * (1 - f) + c * f"),
    ("lstm_f", "c = z * i + c", "c = z * i + c * i"),
    ("lstm_o", "return tanh(c), c", "return c, c"),
    ("lstm_peephole_full", "R.co @ c", "R.co @ y"),
    ("coupled", "z * (1 - f) + c * f", "z * f + c * (1 - f)"),
    # o peeps at the old cell state
    ("lstm_vanilla", "c = z * i + c * f\n    o = {o}", "o = {o}\n    c = z * i + c * f"),
    ("lstm_vanilla", "p.i * c", "p.i * z"),
    ("nig", "c = z + c * f", "c = z * f + c"),
    ("nfg", "c = z * i + c", "c = z * i"),
    ("nog", "tanh(c), c", "c, c"),
    ("niaf", "z = W.z @ x + R.z @ y + b.z", "z = tanh(W.z @ x + R.z @ y + b.z)"),
    ("noaf", "return c * o", "return tanh(c) * o"),
    ("np", "z = tanh(", "z = sigmoid("),
    ("cifg", "z * (1 - f) + c * f", "z * f + c * (1 - f)"),
    ("fgr", "R.fi @ f", "R.fi @ i"),
    ("fgr", "R.io @ i", "R.io @ i_new"),
    ("gru", "R.n @ (r * h)", "r * (R.n @ h)"),  # reset after the product
    ("gru", "z * h + (1 - z) * n", "(1 - z) * h + z * n"),
    ("gru_reset_after", "r * (R.n @ h + b.m)", "(r * (R.n @ h) + b.m)"),
    ("mut1", "+ tanh(W.n @ x)", "+ W.n @ x"),
    ("mut1", "n * z + h * (1 - z)", "n * (1 - z) + h * z"),
    ("mut2", "r = sigmoid(", "r = tanh("),
    ("mut3", "R.z @ tanh(h)", "R.z @ h"),
    ("mut3", "R.n @ (r * h)", "R.n @ (r * z * h)"),
    ("mgu", "R.n @ (f * h)", "R.n @ h"),
    ("janet", "sigmoid(s - beta)", "sigmoid(s)"),
    ("mingru", "(1 - z) * h + z * n", "z * h + (1 - z) * n"),
    ("minlstm", "f / (f + i) * h", "f * h"),
    ("ugrnn", "c = squashed(", "c = sigmoid("),
    ("slstm", "o * (c / n)", "o * c"),
    ("slstm", "m = maximum(f, i)", "m = f"),
    ("tanh", "squashed(", "sigmoid("),
    ("relu", "rectified(", "squashed("),
    ("indrnn", "rectified(", "squashed("),
    ("lem", "R.y @ z", "R.y @ y"),  # as an implementation of other people's has it
    ("cornn", "- epsilon * z)", "- epsilon * y)"),
    ("cornn", "y = y + dt * z", "y = y + dt * dt * z"),
    ("unicornn", "+ alpha * y)", "- alpha * y)"),
    ("ligru", "z * h + (1 - z) * n", "(1 - z) * h + z * n"),
    ("sru", "p.r * c + b.r", "p.r * h + b.r"),
    ("sru", "r * c + (1 - r)", "r * tanh(c) + (1 - r)"),
    ("fastgrnn", "* (1 - z) + sigmoid(p.n)", "* (1 - z) - sigmoid(p.n)"),
    ("star", "return tanh((1 - k) * h + k * z)", "return (1 - k) * h + k * z"),
    ("lru", "R.c @ next_re - R.d", "R.c @ next_re + R.d"),
    ("lru", "exp(p.g)", "p.g"),
    ("rglru", "sqrt(rest)", "rest"),
    ("s4d", "+ angle * q) / square", "- angle * q) / square"),
    ("nascell", "(W.e @ x) * (R.e @ m)", "(W.e @ x) + (R.e @ m)"),
    ("darts_v1", "(R.s6 @ s1 - s1)", "(relu(R.s6 @ s1) - s1)"),
    ("darts_v2", "(R.s4 @ s1 - s1)", "(relu(R.s4 @ s1) - s1)"),
    ("enas", "s10 + s11) / 6", "s10 + s11) / 11"),
    ("lstm_ln", "p.c * (c - mc) / sc", "p.c * c / sc"),
    ("lstm_ln", "_spread(mx, xf, xi, xo, xz)", "_spread(mx, xf, xi, xo)"),
    ("gru_ln", "r * (p.hn * (hn - mh) / sh)", "p.hn * (r * hn - mh) / sh"),
]


def changed(name, old, new, folder):
    """The cell with a slip, from a file."""
    source = Path(CELLS[name].__code__.co_filename).read_text("utf-8")
    output_gate = "sigmoid(W.o @ x + R.o @ y + p.o * c + b.o)"
    old, new = old.replace("{o}", output_gate), new.replace("{o}", output_gate)
    start = source.index(f"def {name}(")
    end = source.find("\ndef ", start) if source.find("\ndef ", start) > 0 else len(source)
    assert source[start:end].count(old) == 1, f"{name} has changed; adapt the slip"
    path = folder / "slip.py"
    path.write_text(source[:start] + source[start:end].replace(old, new) + source[end:], "utf-8")
    return resolve(f"{path}:{name}", "cell.step")


@pytest.mark.parametrize(
    ("name", "old", "new"), SLIPS, ids=[f"{name}: {new}".split("\n")[0] for name, _, new in SLIPS]
)
def test_a_slip_in_the_equations_is_caught(name, old, new, tmp_path):
    made = plan(changed(name, old, new, tmp_path))
    check = against_scalar(made, draw(made), scalar.find(name), {})
    assert not check.passed, check.detail
    assert against_literal(
        made, draw(made), {}
    ).passed  # a cell like any other: only the paper can tell


def test_every_cell_has_a_slip():
    assert {name for name, _, _ in SLIPS} == {*PLAIN}, (
        "write down a slip that one could make in each cell"
    )


def test_the_unchanged_cell_from_a_file_passes(tmp_path):
    made = plan(changed("lstm", "c = z * i + c * f", "c = c * f + z * i", tmp_path))
    assert against_scalar(made, draw(made), scalar.find("lstm"), {}).passed


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("lstm", "cifg"),
        ("gru", "gru_reset_after"),
        ("tanh", "lstm"),
        ("niaf", "noaf"),
        ("mut1", "mut2"),
    ],
)
def test_the_reference_of_another_cell_is_refused(name, other):
    made = plan(CELLS[name])
    assert not against_scalar(made, draw(made), scalar.find(other), {}).passed


def test_a_wrong_engine_is_caught(monkeypatch):
    def forgetful(made, params, x):
        return input_product(made, {**params, "b": params["b"] * 0}, x)

    def mixed(made, params, x, state):
        return loop.along(
            made,
            {n: p.flip(0) if n == "R0" else p for n, p in params.items()},
            input_product(made, params, x),
            state,
        )

    made = plan(CELLS["gru"])
    for module, target, wrong in ((loop, "input_product", forgetful), (problem, "unroll", mixed)):
        with monkeypatch.context() as patch:
            patch.setattr(module, target, wrong)
            assert not against_literal(made, draw(made), {}).passed
            assert not against_scalar(made, draw(made), scalar.find("gru"), {}).passed


def test_not_a_number_is_a_failure(monkeypatch):
    made = plan(CELLS["tanh"])
    monkeypatch.setattr(loop, "input_product", lambda *given: input_product(*given) * float("nan"))
    assert not against_literal(made, draw(made), {}).passed


USERS = """from torch import sigmoid, tanh

def lstm(W, R, b, x, h):
    return tanh(W.h @ x + R.h @ h + b.h)

def idle(W, R, b, x, h):
    spare = sigmoid(W.s @ x)
    return tanh(W.h @ x + R.h @ h + b.h + 0 * spare)

def reused_product(W, R, b, x, h, c):
    v = R.v @ h
    u = R.u @ h
    return tanh(W.a @ x + v) * tanh(W.c @ x + v), u * c

def reused_bias(W, b, x, h, c):
    v = b.v
    return tanh(W.a @ x + v) * h, v * c

def two_inputs(W, R, b, x, h):
    return tanh(W.a @ x + W.c @ x + b.h + R.h @ h) + sigmoid(b.k + (h + W.d @ x))

def keyword(W, R, x, h):
    return tanh(W.in_ @ x + R.if_ @ h)

def read_in_vain(W, b, x, h):
    v = b.v
    return tanh(W.a @ x + h)
"""


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(USERS, "utf-8")
    return lambda name: resolve(f"{path}:{name}", "cell.step")


def test_a_users_cell_has_no_independent_reference(users):
    first, *rest = verify(users("lstm"))  # bears the name of one of ours
    assert first.passed is None and first.detail == "no independent reference"
    assert not failures(rest) and [c.name for c in rest] == [
        "literal equations",
        "parameter count",
        "no idle block",
    ]
    assert reference(users("lstm"), {}) is None


@pytest.mark.parametrize(
    "name", ["reused_product", "reused_bias", "two_inputs", "keyword", "read_in_vain"]
)
def test_the_planner_keeps_what_is_read_twice(name, users):
    assert not failures(verify(users(name))[1:])


def test_an_idle_block_is_told(users):
    made = plan(users("idle"))
    check = reaches(made, draw(made), {})
    assert not check.passed and "W.s" in check.detail


IMPORTS = """from torch import clamp, cos, exp, log, maximum, minimum, relu, sigmoid
from torch import sin, sqrt, tanh, where
from torch.nn.functional import logsigmoid, softplus
"""

# {v} and {u} are values of the cell; every form is smooth, or has corners that random values miss
FORMS = [
    *(
        "{v}",
        "{v}",
        "tanh({v})",
        "tanh({v})",
        "sigmoid({v})",
        "sigmoid({v})",
        "relu({v})",
        "abs({v})",
    ),
    *("sqrt(1.5 + sin({v}))", "log(2 + abs({v}))", "exp(-abs({v}))", "sin({v})", "cos({v})"),
    *("tanh({v}) ** 2", "(1 + abs({v})) ** 0.5", "(1 + abs({v})) ** tanh({u})", "1.5 ** tanh({v})"),
    *("clamp({v}, -0.6, 0.7)", "clamp({v}, max=0.4)", "maximum({v}, 0.1)", "minimum({v}, {u})"),
    *("where({c} > 0.2, {v}, {u})", "where({c} <= 0.1, 0.3, {v})", "maximum({v}, {u})"),
    *("where({c} < 0.2, {v}, -{u})", "where({c} >= 0.3, {v}, 0.0)", "where({c} == 0.5, 0.5, {v})"),
    *(
        "{v} / (1.5 + sin({u}))",
        "softplus({v})",
        "softplus({v}, 0.5)",
        "softplus({v}, 2, threshold=0.3)",
        "logsigmoid({v})",
    ),
]


def invented(draw, name):
    """A random cell in the language of cells: sums, products, gates and choices that no planner
    author thought of. Every block acts on a new state.
    """
    states = "hcn"[: draw.randint(1, 3)]
    known, lines, made = list(states), [], 0
    unread = set()

    def read():
        value = draw.choice(known)
        unread.discard(value)
        return value

    def fresh(family):
        nonlocal made
        made += 1
        return f"{family}.k{made}"

    def shaped(value):
        form = draw.choice(FORMS)
        return form.format(v=value, u=read() if "{u}" in form else "", c=draw.choice(known))

    def term():
        kind = draw.randint(0, 14)
        if kind < 3:
            return f"{fresh('W')} @ x"
        if kind < 5:
            return fresh("b")
        value = read()
        if kind < 7:
            return f"{fresh('R')} @ {value}"
        if kind < 8:
            return f"{fresh('R')} @ ({value} * {read()})"
        if kind < 9:
            return f"{fresh('R')} @ ({shaped(value)})"
        if kind < 10:
            return f"{fresh('p')} * {value}"
        if kind < 13:
            return f"({shaped(value)})"
        return draw.choice([value, f"(1 - {value})"])

    def tree(terms):
        if len(terms) == 1:
            return terms[0] if " @ " not in terms[0] else f"({terms[0]})"
        cut = draw.choice([len(terms) - 1, draw.randint(1, len(terms) - 1)])
        return f"({tree(terms[:cut])} {draw.choice('+++++-*')} {tree(terms[cut:])})"

    for j in range(draw.randint(2, 6)):
        # every value takes a state, so that it differs between the examples of a batch
        kind = draw.randint(0, 2)
        if kind == 0:
            value = f"{fresh('R')} @ {read()}"  # a bare product, to be read more than once
        else:
            total = f"({tree([term() for _ in range(draw.randint(1, 4))])} + {read()})"
            value = total if kind == 1 else shaped(total)
        target = draw.choice([f"v{j}", f"v{j}", draw.choice(states)])
        target = f"v{j}" if target in unread else target
        lines.append(f"    {target} = {value}")
        known = sorted({*known, target})
        unread.add(target)
    others = [read() for _ in states[1:]]
    last = " + ".join(["W.last @ x", read(), *sorted(unread)])
    return (
        f"def {name}(W, R, p, b, x, {', '.join(states)}):\n"
        + "\n".join(lines)
        + f"\n    return {', '.join([f'tanh({last})', *others])}\n"
    )


def test_the_planner_keeps_the_meaning_of_invented_cells(tmp_path):
    path = tmp_path / "invented.py"
    names = [f"cell{k}" for k in range(160)]
    cells = "\n\n".join(invented(random.Random(name), name) for name in names)
    path.write_text(f"{IMPORTS}\n\n{cells}", "utf-8")
    used = set()
    for name in names:
        made = plan(resolve(f"{path}:{name}", "cell.step"))
        used |= {value.op for value in made.program.values}
        for check in (against_literal(made, draw(made), {}), counts(made, draw(made))):
            assert check.passed, (
                f"{invented(random.Random(name), name)}\n{check.name}: {check.detail}"
            )
    assert used >= {name for name, one in OPERATIONS.items() if not one.across}


def test_complex_steps_give_derivatives():
    numbers = [[0.3 + 0j], [0.7 + 0j, -1.1 + 0j]]
    slopes = gradient(lambda: sigmoid(numbers[0][0] * numbers[1][1]) + numbers[1][0] ** 2, numbers)
    s = 1 / (1 + torch.tensor(0.33, dtype=torch.float64).exp().item())
    assert slopes == [
        [pytest.approx(-1.1 * s * (1 - s), rel=1e-14)],
        [pytest.approx(1.4, rel=1e-14), pytest.approx(0.3 * s * (1 - s), rel=1e-14)],
    ]
    assert numbers == [[0.3], [0.7, -1.1]]


def test_scalar_gradients_leave_other_replicas_alone():
    made = plan(CELLS["mgu"])
    one = draw(made)
    two = draw(made)
    for tensor in two.given.values():
        tensor[1] += 1
    first, second = (counted(p, scalar.find("mgu"), {}) for p in (one, two))
    assert all(
        torch.equal(first[name][0], second[name][0])
        and not torch.equal(first[name][1], second[name][1])
        for name in first
    )


def twice(W, R, b, x, h):
    """A sum that is added to itself before its bias."""
    s = W.a @ x
    return (s + s) + b.k + R.v @ h


def test_a_bias_does_not_ride_on_a_product_that_is_doubled_on_the_way():
    assert all(check.passed is not False for check in verify(twice))
