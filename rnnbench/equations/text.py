"""Writes a traced cell as mathematics: the equations of its paper, in Unicode or in LaTeX.

One walk over the program, two notations. What is printed is what the engines compute, since both
read the program. Knows no cell by name.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from rnnbench.equations.operations import (
    ANY,
    APPLIED,
    ATOM,
    OPERATIONS,
    PRODUCT,
    SUM,
    Form,
    Operation,
)
from rnnbench.equations.program import FAMILIES, LEAVES, VECTORS, Argument, Program, Value

LEGEND = "d inputs, n units; W is n×d, R is n×n, p and b are vectors of n; ⊙ elementwise"


@dataclass(frozen=True)
class Notation:
    """Symbols for one medium. Texts are %-templates; how operations are written, `operations` says.

    form: of an operation. apply: a matrix and its operand; scale: a number times a vector.
    now, before: a value of this step and a state of the last one. word: names of several letters.
    """

    form: Callable[[Operation], Form]
    apply: Form
    scale: Form
    now: str
    before: str
    block: str
    word: str
    underscore: str
    minus: str
    infinite: str
    tall: tuple[str, str]  # (what makes a term tall, the parentheses around it)
    equation: str
    newline: str
    page: str


UNICODE = Notation(
    form=lambda operation: operation.unicode,
    apply=Form("%s %s", APPLIED, (ATOM, ATOM)),
    scale=Form("%s · %s", PRODUCT, (PRODUCT, PRODUCT)),
    now="%sₜ",
    before="%sₜ₋₁",
    block="%s_%s",
    word="%s",
    underscore="_",
    minus="−",
    infinite="∞",
    tall=("", "(%s)"),
    equation="%s = %s",
    newline="\n",
    page="%s",
)

LATEX = Notation(
    form=lambda operation: operation.latex,
    apply=Form("%s %s", APPLIED, (ATOM, ATOM)),
    scale=Form(r"%s \cdot %s", PRODUCT, (PRODUCT, PRODUCT)),
    now="%s_{t}",
    before="%s_{t-1}",
    block="%s_{%s}",
    word=r"\mathrm{%s}",
    underscore=r"\_",
    minus="-",
    infinite=r"\infty",
    tall=(r"\frac", r"\left(%s\right)"),
    equation="%s &= %s",
    newline=" \\\\\n",
    page="\\begin{aligned}\n%s\n\\end{aligned}",
)


def unicode(program: Program) -> str:
    """The equations of one step, one a line, for a terminal: zₜ = tanh(W_z xₜ + R_z yₜ₋₁ + b_z)."""
    return Writer(program, UNICODE).page()


def latex(program: Program) -> str:
    """The equations of one step as an `aligned` environment (amsmath), to be placed in mathematics
    mode.
    """
    return Writer(program, LATEX).page()


def term(program: Program, value: Value) -> str:
    """One value as the equations write it where they use it: rₜ ⊙ hₜ₋₁."""
    return Writer(program, UNICODE).operand(value, ANY)


class Writer:
    """One pass over the values: a named value is written by its name, every other one in place."""

    def __init__(self, program: Program, notation: Notation) -> None:
        self.program, self.notation = program, notation
        self.names = _names(program)

    def page(self) -> str:
        lines = [
            self.notation.equation % (self.notation.now % self.word(name), text)
            for name, text in self.equations()
        ]
        return self.notation.page % self.notation.newline.join(lines)

    def equations(self) -> Iterator[tuple[str, str]]:
        for value, name in self.names.items():
            yield name, self.written(value)[0]
        for state, value in zip(self.program.state, self.program.results, strict=True):
            if self.names.get(value) != state:  # handed on as it is, or returned twice
                yield state, self.operand(value, ANY)

    def operand(self, value: Argument, least: int) -> str:
        """`value` as a part of a larger term, in parentheses if it holds less tightly than
        it must.
        """
        if not isinstance(value, Value):
            text, level = self.number(value)
        elif value in self.names:
            return self.notation.now % self.word(self.names[value])
        else:
            text, level = self.written(value)
        return text if level >= least else self.parenthesised(text)

    def written(self, value: Value) -> tuple[str, int]:
        """A value spelled out, and how tightly it holds."""
        if value.op in ("x", "state"):
            time = self.notation.before if value.op == "state" else self.notation.now
            return time % self.word(value.block or "x"), ATOM
        if value.op in FAMILIES:
            block = self.block(value)
            return (block, ATOM) if value.op in VECTORS else self.applied(block, value.inputs[0])
        return self.operation(OPERATIONS[value.op], value)

    def block(self, value: Value) -> str:
        """A parameter by its name: W_z."""
        return self.notation.block % (value.op, self.word(value.block, longest=2))

    def applied(self, matrix: str, operand: Argument) -> tuple[str, int]:
        """A matrix times its operand."""
        form = self.notation.apply
        return form.text % (matrix, self.operand(operand, form.least[1])), form.level

    def operation(self, operation: Operation, value: Value) -> tuple[str, int]:
        form, operands = self.notation.form(operation), list(value.args)
        for default in reversed(operation.options.values()):
            if operands[-1] == default:
                operands.pop()
            else:
                break
        if not form.least:
            listed = ", ".join(self.operand(o, ANY) for o in operands)
            return form.text + self.parenthesised(listed), form.level
        if value.op == "mul" and not all(isinstance(o, Value) for o in operands):
            form = self.notation.scale
        return form.text % tuple(
            self.operand(o, least) for o, least in zip(operands, form.least, strict=True)
        ), form.level

    def number(self, value: float) -> tuple[str, int]:
        if math.isinf(value):
            digits = f"{'-' if value < 0 else ''}{self.notation.infinite}"
        else:
            digits = f"{Decimal(repr(value)):f}"
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
        return digits.replace("-", self.notation.minus), SUM if digits.startswith("-") else ATOM

    def parenthesised(self, text: str) -> str:
        mark, tall = self.notation.tall
        return (tall if mark in text else "(%s)") % text

    def word(self, name: str, longest: int = 1) -> str:
        escaped = name.replace("_", self.notation.underscore)
        return self.notation.word % escaped if len(name) > longest else escaped


def _names(program: Program) -> dict[Value, str]:
    """Computed value → name, in the order of the equations; no name stands for two values of the
    same step.

    Of several values of one name the last keeps it. The name of a state belongs to its new value, x
    to the input.
    """
    holder = {
        program.names[v]: v
        for v in program.computed
        if v in program.names and program.names[v] not in (*program.state, "x")
    }
    owner = {
        value: state
        for state, value in reversed(list(zip(program.state, program.results, strict=True)))
        if value.op not in LEAVES
    }
    named = {value: name for name, value in holder.items()} | owner
    return {v: named[v] for v in program.computed if v in named}
