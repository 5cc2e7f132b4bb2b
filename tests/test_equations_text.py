"""What `rnnbench show` prints is what the papers print and what the engines compute.

Golden texts are typed from the papers. Every cell's Unicode is read back by a small evaluator,
written from the rules of the notation alone, and must give the numbers of the planned step: a wrong
parenthesis, sign, letter or time index fails.
"""

import math
import re

import pytest
import torch
from torch import clamp, cos, exp, log, maximum, minimum, relu, sigmoid, sin, sqrt, tanh, where
from torch.nn.functional import logsigmoid, softplus

from rnnbench.catalogue import cells, read, resolve
from rnnbench.engine.loop import step_of
from rnnbench.equations.operations import mixes_units
from rnnbench.equations.plan import plan
from rnnbench.equations.text import LEGEND, latex, term, unicode
from rnnbench.equations.trace import trace

CELLS = cells()

GOLDEN = {
    "lstm": """
        zₜ = tanh(W_z xₜ + R_z yₜ₋₁ + b_z)
        iₜ = σ(W_i xₜ + R_i yₜ₋₁ + b_i)
        fₜ = σ(W_f xₜ + R_f yₜ₋₁ + b_f)
        cₜ = zₜ ⊙ iₜ + cₜ₋₁ ⊙ fₜ
        oₜ = σ(W_o xₜ + R_o yₜ₋₁ + b_o)
        yₜ = tanh(cₜ) ⊙ oₜ""",
    "gru": """
        rₜ = σ(W_r xₜ + R_r hₜ₋₁ + b_r)
        zₜ = σ(W_z xₜ + R_z hₜ₋₁ + b_z)
        nₜ = tanh(W_n xₜ + R_n (rₜ ⊙ hₜ₋₁) + b_n)
        hₜ = zₜ ⊙ hₜ₋₁ + (1 − zₜ) ⊙ nₜ""",
    "mut1": """
        zₜ = σ(W_z xₜ + b_z)
        rₜ = σ(W_r xₜ + R_r hₜ₋₁ + b_r)
        nₜ = tanh(R_n (rₜ ⊙ hₜ₋₁) + tanh(W_n xₜ) + b_n)
        hₜ = nₜ ⊙ zₜ + hₜ₋₁ ⊙ (1 − zₜ)""",
    "fgr": """
        zₜ = tanh(W_z xₜ + R_z yₜ₋₁ + b_z)
        iₜ = σ(W_i xₜ + R_i yₜ₋₁ + R_ii iₜ₋₁ + R_fi fₜ₋₁ + R_oi oₜ₋₁ + p_i ⊙ cₜ₋₁ + b_i)
        fₜ = σ(W_f xₜ + R_f yₜ₋₁ + R_if iₜ₋₁ + R_ff fₜ₋₁ + R_of oₜ₋₁ + p_f ⊙ cₜ₋₁ + b_f)
        cₜ = zₜ ⊙ iₜ + cₜ₋₁ ⊙ fₜ
        oₜ = σ(W_o xₜ + R_o yₜ₋₁ + R_io iₜ₋₁ + R_fo fₜ₋₁ + R_oo oₜ₋₁ + p_o ⊙ cₜ + b_o)
        yₜ = tanh(cₜ) ⊙ oₜ""",
    "slstm": """
        zₜ = tanh(W_z xₜ + R_z hₜ₋₁ + b_z)
        iₜ = W_i xₜ + R_i hₜ₋₁ + b_i
        fₜ = where(nₜ₋₁ > 0, log σ(W_f xₜ + R_f hₜ₋₁ + b_f) + mₜ₋₁, iₜ)
        oₜ = σ(W_o xₜ + R_o hₜ₋₁ + b_o)
        mₜ = max(fₜ, iₜ)
        cₜ = exp(fₜ − mₜ) ⊙ cₜ₋₁ + exp(iₜ − mₜ) ⊙ zₜ
        nₜ = exp(fₜ − mₜ) ⊙ nₜ₋₁ + exp(iₜ − mₜ)
        hₜ = oₜ ⊙ cₜ/nₜ""",
    "minlstm": """
        fₜ = σ(W_f xₜ + b_f)
        iₜ = σ(W_i xₜ + b_i)
        nₜ = W_n xₜ + b_n
        hₜ = fₜ/(fₜ + iₜ) ⊙ hₜ₋₁ + iₜ/(fₜ + iₜ) ⊙ nₜ""",
}

MINLSTM_LATEX = r"""
\begin{aligned}
f_{t} &= \sigma(W_{f} x_{t} + b_{f}) \\
i_{t} &= \sigma(W_{i} x_{t} + b_{i}) \\
n_{t} &= W_{n} x_{t} + b_{n} \\
h_{t} &= \frac{f_{t}}{f_{t} + i_{t}} \odot h_{t-1} + \frac{i_{t}}{f_{t} + i_{t}} \odot n_{t}
\end{aligned}"""


def planned(name):
    values = read("cell", name)
    return plan(resolve(values["step"], name), values.get("constants"))


@pytest.mark.parametrize("name", GOLDEN)
def test_unicode_is_the_paper(name):
    expected = [line.strip() for line in GOLDEN[name].strip().splitlines()]
    assert unicode(planned(name).program).splitlines() == expected


def test_latex_is_the_paper():
    assert latex(planned("minlstm").program) == MINLSTM_LATEX.strip()


# in LaTeX; b_{t} is a value that is called b
BLOCK = r"\b(?!b_\{t\})[WRpb]_\{(?:\w+|\\mathrm\{(?:\w|\\_)+\})\}"


@pytest.mark.parametrize("name", CELLS)
def test_every_block_is_printed_once(name):
    made = planned(name)
    expected = sorted(
        f"{family}_{block}" for family, names in made.blocks.items() for block in names
    )
    assert sorted(re.findall(r"\b[WRpb]_\w+", unicode(made.program))) == expected
    assert (
        sorted(
            re.sub(r"\\mathrm|[{}\\]", "", found)
            for found in re.findall(BLOCK, latex(made.program))
        )
        == expected
    )


@pytest.mark.parametrize("name", CELLS)
def test_latex_is_well_formed(name):
    check_latex(latex(planned(name).program))


# what reads a whole axis is written as a function of all units: test_across_units.py
ONE_BY_ONE = [n for n in CELLS if not any(map(mixes_units, planned(n).program.values))]


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_unicode_computes_the_step(name):
    check_numbers(planned(name))


# Everything that the cells of the papers happen not to do.


def grouping(W, R, p, b, x, h, c):
    a = (W.a @ x - (R.a @ h - b.a)) - (c + h)
    gate = sigmoid(-a) * (R.gate @ (h * c)) / (1 + exp(c / 3))
    c = (gate / (2 + h * h)) / (3 + c * c) - -0.5 * relu(a) * (-h)
    h = p.h * (logsigmoid(a) * c) - (softplus(c) + minimum(a, c) - 1e-05)
    return h * 2.5, c / (a / exp(h))


def reassigned(W, R, b, x, h):
    a = W.a @ x + b.a
    a = tanh(a) + h
    h = R.h @ tanh(a)
    return maximum(h, a)


def shadowed(W, R, b, x, h, c):
    new = tanh(W.h @ x + R.h @ h + b.h) - c
    c = tanh(new)
    return c * sigmoid(c), new


def handed_on(W, R, b, x, h, last, twice):
    new = tanh(W.h @ x + R.h @ last + b.h)
    return new, h, new


def every_form(W, R, b, x, h, c):
    a = (W.a @ x - h) ** 2 / abs(c - 2) ** 0.5 + (-c) ** 3 * 2 ** (h / 2)
    d = sqrt(a * a + 1) - log(2 + c) / sin(R.a @ h) ** 2 + cos(c / (1 + h))
    e = clamp(a, -0.5, 0.25) + clamp(d, min=-1) + clamp(c - 1, max=2e-1)
    k = where(a - d > h * c, -a, 0.5) + where(c >= 0.7, b.k, a) - where(h <= a, h, d)
    g = softplus(a, 0.5) + softplus(d - a, 2, 1e-3) + minimum(d, 0.1) - maximum(-1, h)
    return tanh(e + where(k < g, k, g)), where(k == g, c, 1.5) + abs(abs(h) - 1) * (k + g)


def test_options_are_written_when_they_are_no_defaults():
    written = unicode(trace(every_form))
    assert "softplus(aₜ, 0.5)" in written and "softplus(dₜ − aₜ, 2, 0.001)" in written
    assert "clamp(dₜ, −1)" in written and "clamp(cₜ₋₁ − 1, −∞, 0.2)" in written


@pytest.mark.parametrize("function", [grouping, reassigned, shadowed, handed_on, every_form])
def test_odd_cells_compute_their_step(function):
    made = plan(function)
    check_numbers(made)
    check_latex(latex(made.program))


def test_names_of_several_letters():
    made = plan(grouping)
    assert (
        "R_gate" in unicode(made.program)
        and r"R_{\mathrm{gate}}" in latex(made.program)
        and r"\mathrm{gate}_{t}" in latex(made.program)
    )


def test_a_state_handed_on_gets_an_equation():
    assert unicode(trace(handed_on)).splitlines()[1:] == ["lastₜ = hₜ₋₁", "twiceₜ = hₜ"]


def test_a_term_is_written_as_where_it_is_used():
    made = trace(resolve("rnnbench.cells.gru.gru", "cell.step"))
    product = next(value for value in made.values if value.op == "mul")
    assert term(made, product) == "rₜ ⊙ hₜ₋₁"


def test_legend_fits_a_line():
    assert len(LEGEND) <= 80 and "⊙" in LEGEND


def check_latex(text):
    depth = 0
    for mark in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if mark == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert text.count(r"\left(") == text.count(r"\right)") and text.count("(") == text.count(")")
    assert text.startswith("\\begin{aligned}\n") and text.endswith("\n\\end{aligned}")
    lines = text.splitlines()[1:-1]
    assert all(line.count("&=") == 1 for line in lines)
    assert all(line.endswith(r" \\") for line in lines[:-1]) and not lines[-1].endswith(r"\\")
    assert text.isascii()


def check_numbers(made, inputs=2, units=3):
    generator = torch.Generator().manual_seed(1)

    def drawn(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    shapes = {"W": (units, inputs), "R": (units, units), "p": (units,), "b": (units,)}
    blocks = {
        f"{family}_{name}": drawn(*shapes[family])
        for family, names in made.blocks.items()
        for name in names
    }
    x, states = drawn(inputs), {name: drawn(units).abs() + 0.5 for name in made.state}

    values = {name: tensor.tolist() for name, tensor in blocks.items()} | {"xₜ": x.tolist()}
    values |= {f"{name}ₜ₋₁": tensor.tolist() for name, tensor in states.items()}
    for line in unicode(made.program).splitlines():
        left, _, right = line.partition(" = ")
        assert left not in values, f"{left} is assigned twice"
        values[left.strip()] = Reader(right, values).value()

    carried = {at: blocks[f"b_{bias}"] for bias, at in made.folded.items()}
    parts = [
        torch.cat([blocks[f"W_{n}"] @ x + carried.get(n, 0) for n in names])[None, None]
        for names in made.parts
    ]
    weights = [
        torch.cat([blocks[f"R_{n}"].T for n in names], dim=1)[None] for _, names in made.groups
    ]
    vectors = [
        {n: blocks[f"{family}_{n}"][None, None] for n in made.blocks[family]} for family in "pb"
    ]
    new = step_of(made)(
        *parts, *weights, *vectors, *(tensor[None, None] for tensor in states.values())
    )
    for name, tensor in zip(made.state, new, strict=True):
        assert values[f"{name}ₜ"] == pytest.approx(
            tensor.flatten().tolist(), rel=1e-10, abs=1e-12
        ), name


FUNCTIONS = {
    "log σ": lambda a: -math.log1p(math.exp(-a)),
    "σ": lambda a: 1 / (1 + math.exp(-a)),
    "tanh": math.tanh,
    "exp": math.exp,
    "ReLU": lambda a: max(a, 0.0),
    "softplus": lambda a, beta=1.0, most=20.0: (
        a if a * beta > most else math.log1p(math.exp(a * beta)) / beta
    ),
    "max": max,
    "min": min,
    "√": math.sqrt,
    "log": math.log,
    "sin": math.sin,
    "cos": math.cos,
    "clamp": lambda a, low, high=math.inf: min(max(a, low), high),
    "where": lambda condition, a, b: a if condition else b,
}
COMPARED = {
    ">": lambda a, b: a > b,
    "≥": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "≤": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
}
TOKEN = re.compile(
    r"(?:log σ|σ|tanh|exp|ReLU|softplus|max|min|√|log|sin|cos|clamp|where)(?=\()|[WRpb]_\w+"
    r"|\w+ₜ(?:₋₁)?|[\d.]+|[-+−⊙·/(),|^∞>≥<≤=]"
)


class Reader:
    """Evaluates a right-hand side on lists of floats. Loosest to tightest: + −, ⊙ ·, W x,
    /, ^, terms.
    """

    def __init__(self, text, values):
        self.tokens, self.values = TOKEN.findall(text), values
        assert "".join(self.tokens).replace(" ", "") == text.replace(" ", "")

    def value(self):
        result = self.sum()
        assert not self.tokens
        return result

    def next(self, *wanted):
        return (
            self.tokens.pop(0) if self.tokens and (not wanted or self.tokens[0] in wanted) else None
        )

    def sum(self):
        result = each(lambda a: -a, self.product()) if self.next("−") else self.product()
        while sign := self.next("+", "−"):
            result = each(
                (lambda a, b: a + b) if sign == "+" else (lambda a, b: a - b),
                result,
                self.product(),
            )
        return result

    def condition(self):
        result = self.sum()
        sign = self.next(*COMPARED)
        return each(COMPARED[sign], result, self.sum()) if sign else result

    def product(self):
        result = self.quotient()
        while dot := self.next("⊙", "·"):
            other = self.quotient()
            assert (dot == "·") == (isinstance(result, float) or isinstance(other, float))
            result = each(lambda a, b: a * b, result, other)
        return result

    def quotient(self):
        result = self.applied()
        while self.next("/"):
            result = each(lambda a, b: a / b, result, self.applied())
        return result

    def power(self):
        result = self.term()
        return each(lambda a, b: a**b, result, self.term()) if self.next("^") else result

    def applied(self):
        result = self.power()
        if not isinstance(result, list) or not isinstance(result[0], list):
            return result
        vector = self.term()
        return [sum(w * v for w, v in zip(row, vector, strict=True)) for row in result]

    def term(self):
        token = self.next()
        if token == "(":
            result = self.sum()
            assert self.next(")")
            return result
        if token in FUNCTIONS:
            assert self.next("(")
            arguments = [self.condition()]
            while self.next(","):
                arguments.append(self.sum())
            assert self.next(")")
            return each(FUNCTIONS[token], *arguments)
        if token == "|":
            result = each(abs, self.sum())
            assert self.next("|")
            return result
        if token == "∞":
            return math.inf
        return self.values[token] if token in self.values else float(token)


def each(function, *operands):
    """`function` unit by unit; numbers stand for constant vectors."""
    width = max((len(o) for o in operands if isinstance(o, list)), default=0)
    if not width:
        return function(*operands)
    columns = [o if isinstance(o, list) else [o] * width for o in operands]
    return [function(*row) for row in zip(*columns, strict=True)]
