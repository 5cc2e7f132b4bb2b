"""Writes a traced cell as mathematics: the equations of its paper, in Unicode or in LaTeX.

One walk over the graph, two notations; a notation is a table of symbols. What is printed is what
the engines compute, since both come from the trace. Knows no cell by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from torch import fx

from rnnbench.equations.rules import OPERATIONS, block
from rnnbench.equations.trace import Trace

LEGEND = "d inputs, n units; W is n×d, R is n×n, p and b are vectors of n; ⊙ elementwise"

# How tightly a term holds together, loosest first. W x stands below the product: R (r ⊙ h) and r ⊙
# (R h) are
# different cells, so neither is left to the reader's habits.
ANY, SUM, APPLIED, PRODUCT, QUOTIENT, ATOM = range(6)


@dataclass(frozen=True)
class Form:
    """How an operation is written: its text, how tightly the result holds, how tightly each operand
    must.
    """

    text: str
    level: int
    least: tuple[int, ...]


@dataclass(frozen=True)
class Notation:
    """Symbols for one medium. Texts are %-templates.

    forms: operations written around their operands. calls: operations written before their
        arguments, with the
    level of the result. now, before: a value of this step and a state of the last one. word: names
        of several letters.
    """

    forms: dict[str, Form]
    calls: dict[str, tuple[str, int]]
    now: str
    before: str
    block: str
    word: str
    underscore: str
    minus: str
    tall: tuple[str, str]  # (what makes a term tall, the parentheses around it)
    equation: str
    newline: str
    page: str


UNICODE = Notation(
    forms={
        "add": Form("%s + %s", SUM, (SUM, APPLIED)),
        "sub": Form("%s − %s", SUM, (SUM, APPLIED)),
        "neg": Form("−%s", SUM, (APPLIED,)),
        "apply": Form("%s %s", APPLIED, (ATOM, ATOM)),
        "mul": Form("%s ⊙ %s", PRODUCT, (PRODUCT, PRODUCT)),
        "scale": Form("%s · %s", PRODUCT, (PRODUCT, PRODUCT)),
        "div": Form("%s/%s", QUOTIENT, (ATOM, ATOM)),
    },
    calls={
        "sigmoid": ("σ", ATOM),
        "tanh": ("tanh", ATOM),
        "relu": ("ReLU", ATOM),
        "exp": ("exp", ATOM),
        "maximum": ("max", ATOM),
        "minimum": ("min", ATOM),
        "logsigmoid": ("log σ", APPLIED),
        "softplus": ("softplus", ATOM),
    },
    now="%sₜ",
    before="%sₜ₋₁",
    block="%s_%s",
    word="%s",
    underscore="_",
    minus="−",
    tall=("", "(%s)"),
    equation="%s = %s",
    newline="\n",
    page="%s",
)

LATEX = Notation(
    forms={
        "add": Form("%s + %s", SUM, (SUM, APPLIED)),
        "sub": Form("%s - %s", SUM, (SUM, APPLIED)),
        "neg": Form("-%s", SUM, (APPLIED,)),
        "apply": Form("%s %s", APPLIED, (ATOM, ATOM)),
        "mul": Form(r"%s \odot %s", PRODUCT, (PRODUCT, PRODUCT)),
        "scale": Form(r"%s \cdot %s", PRODUCT, (PRODUCT, PRODUCT)),
        "div": Form(r"\frac{%s}{%s}", QUOTIENT, (ANY, ANY)),
    },
    calls={
        "sigmoid": (r"\sigma", ATOM),
        "tanh": (r"\tanh", ATOM),
        "relu": (r"\operatorname{ReLU}", ATOM),
        "exp": (r"\exp", ATOM),
        "maximum": (r"\max", ATOM),
        "minimum": (r"\min", ATOM),
        "logsigmoid": (r"\log \sigma", APPLIED),
        "softplus": (r"\operatorname{softplus}", ATOM),
    },
    now="%s_{t}",
    before="%s_{t-1}",
    block="%s_{%s}",
    word=r"\mathrm{%s}",
    underscore=r"\_",
    minus="-",
    tall=(r"\frac", r"\left(%s\right)"),
    equation="%s &= %s",
    newline=" \\\\\n",
    page="\\begin{aligned}\n%s\n\\end{aligned}",
)


def unicode(trace: Trace) -> str:
    """The equations of one step, one a line, for a terminal: zₜ = tanh(W_z xₜ + R_z yₜ₋₁ + b_z)."""
    return _Writer(trace, UNICODE).page()


def latex(trace: Trace) -> str:
    """The equations of one step as an `aligned` environment (amsmath), to be placed in mathematics
    mode.
    """
    return _Writer(trace, LATEX).page()


def term(trace: Trace, node: fx.Node) -> str:
    """One value as the equations write it where they use it: rₜ ⊙ hₜ₋₁."""
    return _Writer(trace, UNICODE).operand(node, ANY)


class _Writer:
    """One walk over the graph: a named value is written by its name, every other value in place."""

    def __init__(self, trace: Trace, notation: Notation) -> None:
        self.trace, self.notation = trace, notation
        self.names = _names(trace)

    def page(self) -> str:
        lines = [
            self.notation.equation % (self.notation.now % self.word(name), text)
            for name, text in self.equations()
        ]
        return self.notation.page % self.notation.newline.join(lines)

    def equations(self) -> Iterator[tuple[str, str]]:
        for node, name in self.names.items():
            yield name, self.written(node)[0]
        for state, node in zip(self.trace.state, self.trace.result, strict=True):
            if self.names.get(node) != state:  # handed on as it is, or returned twice
                yield state, self.operand(node, ANY)

    def operand(self, value: Any, least: int) -> str:
        """`value` as a part of a larger term, in parentheses if it holds less tightly than
        it must.
        """
        if value in self.names:
            return self.notation.now % self.word(self.names[value])
        text, level = self.written(value) if isinstance(value, fx.Node) else self.number(value)
        return text if level >= least else self.parenthesised(text)

    def written(self, node: fx.Node) -> tuple[str, int]:
        """A node spelled out, and how tightly it holds."""
        if node.op == "placeholder":
            time = self.notation.before if node.target in self.trace.state else self.notation.now
            return time % self.word(str(node.target)), ATOM
        if owned := block(node):
            return self.notation.block % (owned[0], self.word(owned[1], longest=2)), ATOM
        operands = [*node.args, *node.kwargs.values()]
        operation = OPERATIONS.get(node.target, "apply")
        if operation in self.notation.calls:
            symbol, level = self.notation.calls[operation]
            return symbol + self.parenthesised(
                ", ".join(self.operand(o, ANY) for o in operands)
            ), level
        if operation == "mul" and not all(isinstance(o, fx.Node) for o in operands):
            operation = "scale"
        form = self.notation.forms[operation]
        return form.text % tuple(
            self.operand(o, least) for o, least in zip(operands, form.least, strict=True)
        ), form.level

    def number(self, value: float) -> tuple[str, int]:
        digits = f"{Decimal(repr(value)):f}"
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
        return digits.replace("-", self.notation.minus), SUM if digits.startswith("-") else ATOM

    def parenthesised(self, text: str) -> str:
        mark, tall = self.notation.tall
        return (tall if mark in text else "(%s)") % text

    def word(self, name: str, longest: int = 1) -> str:
        escaped = name.replace("_", self.notation.underscore)
        return self.notation.word % escaped if len(name) > longest else escaped


def _names(trace: Trace) -> dict[fx.Node, str]:
    """Computed node → name, in the order of the equations; no name stands for two values of the
    same step.

    Of several values of one name the last keeps it. The name of a state belongs to its new value, x
    to the input.
    """
    computed = [n for n in trace.graph.nodes if n.op == "call_function"]
    holder = {
        trace.names[n]: n
        for n in computed
        if n in trace.names and trace.names[n] not in (*trace.state, "x")
    }
    owner = {
        node: state
        for state, node in reversed(list(zip(trace.state, trace.result, strict=True)))
        if node.op == "call_function"
    }
    named = {node: name for name, node in holder.items()} | owner
    return {n: named[n] for n in computed if n in named}
