"""A cell's equations as readers know them: from a lecture, a book, a blog or a library's manual.

The same equations by renaming: matrices beside or above one another, sums in another order, two
biases for one. What is printed is also written as Python by the same walk, so that `difference`
can compute it beside the cell itself.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import FunctionType, SimpleNamespace
from typing import Any, cast

import torch
from torch import Tensor

from rnnbench.equations.operations import ANY, APPLIED, ATOM, OPERATIONS, SUM, Form
from rnnbench.equations.program import FAMILIES, Argument, Program, Value
from rnnbench.equations.text import UNICODE, Notation, Writer
from rnnbench.equations.trace import with_numbers
from rnnbench.errors import UserError, unknown

ACTIVATIONS = ("sigmoid", "tanh", "relu")
SHARE = 0.3  # of a bias, that the first of two has in the check: any would do


@dataclass(frozen=True)
class SourceStyle:
    """How one source writes recurrent networks.

    legend: what its letters mean. lstm: our name → its name, where a cell has the letters of an
        LSTM. families: our family → its letter. sums: how W x + R h + b is written: `written` as it
        stands, `beside` W [h, x] + b, `stacked` all gates at once, `biases` one for each product,
        `bias first`. now, before: marks of time.
    """

    legend: str
    lstm: Mapping[str, str]
    families: Mapping[str, str]
    sums: str
    now: str = UNICODE.now
    before: str = UNICODE.before


STYLES: Mapping[str, SourceStyle] = {
    "paper": SourceStyle("as the cell's paper and its code here have it", {}, {}, "written"),
    "cs231n": SourceStyle(
        "Stanford CS231n: one matrix W on the state above the input, its rows the gates; h is the "
        "output, g what may be written",
        {"z": "g", "y": "h"},
        {},
        "stacked",
    ),
    "goodfellow": SourceStyle(
        "Goodfellow, Bengio & Courville (2016), section 10.10: U multiplies the input, W the "
        "output h; s is the state, g the external input gate, q the output gate; the time is a "
        "superscript",
        {"i": "g", "o": "q", "c": "s", "y": "h"},
        {"W": "U", "R": "W"},
        "bias first",
        "%s⁽ᵗ⁾",
        "%s⁽ᵗ⁻¹⁾",
    ),
    "colah": SourceStyle(
        "Olah (2015), Understanding LSTM networks: W multiplies [h, x], one behind the other; C is "
        "the cell state, C̃ what may be written",
        {"z": "C̃", "c": "C", "y": "h"},
        {},
        "beside",
    ),
    "pytorch": SourceStyle(
        "the manual of torch.nn: W_i. and b_i. belong to the input, W_h. and b_h. to the state; "
        "the sum of two biases is our one",
        {"z": "g", "y": "h"},
        {},
        "biases",
    ),
}

PYTHON = replace(
    UNICODE,
    form=lambda operation: Form(f"op_{_name_of(operation)}"),
    apply=Form("%s @ %s", APPLIED, (ATOM, ATOM)),
    scale=Form("op_mul(%s, %s)", ATOM, (SUM, SUM)),
    now="%s",
    before="%s_before",
    minus="-",
    infinite="inf",
)


def _name_of(operation: Any) -> str:
    return next(name for name, one in OPERATIONS.items() if one is operation)


def restated(program: Program, name: str) -> str:
    """The equations of one step in the notation `name`, one a line. UserError if there is none."""
    if name not in STYLES:
        raise unknown("notation", name, STYLES)
    style = STYLES[name]
    if name != "paper" and not program.plain:
        raise UserError(
            f"--notation={name} is for cells with one number a unit, and "
            f"{program.function.__name__} has states with shapes of their own: leave it out"
        )
    return _Restated(program, replace(UNICODE, now=style.now, before=style.before), style).page()


def difference(program: Program, name: str, constants: Mapping[str, float]) -> float:
    """The largest difference between the new states by the restated equations and by the cell's
    function, at random weights (3 inputs, 4 units, double precision).
    """
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shapes = {"W": (4, 3), "R": (4, 4), "p": (4,), "b": (4,)}
    ours: dict[str, Any] = {family: SimpleNamespace() for family in FAMILIES}
    for value in program.values:
        if value.op in FAMILIES:
            parameter = drawn(*shapes[value.op])
            for written in (value.block, f"{value.block}_"):  # R.if_ is the block `if`
                setattr(ours[value.op], written, parameter)
    states, x = {state: drawn(4).abs() for state in program.state}, drawn(3)
    needed = program.function.__code__.co_varnames[: program.function.__code__.co_argcount]
    given = ours | states | {"x": x}
    made = with_numbers(cast(FunctionType, program.function))(
        *(given[n] for n in needed), **dict(constants)
    )
    expected = made if isinstance(made, tuple) else (made,)

    writer = _Restated(program, PYTHON, STYLES[name])
    scope: dict[str, Any] = {f"op_{key}": one.compute for key, one in OPERATIONS.items()}
    scope |= {"behind": lambda *parts: torch.cat(parts), "inf": torch.inf, "x": x}
    scope |= {f"{writer.word(state)}_before": value for state, value in states.items()}
    text = writer.page()
    scope |= {key: value(ours) for key, value in writer.parameters.items()}
    exec(text, scope)  # our own text, of names and operations that were traced
    found = [scope[writer.word(state)] for state in program.state]
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))


Parameter = Callable[[Mapping[str, Any]], Tensor]


class _Restated(Writer):
    """Writes sums of products as a style has them. parameters: its name → what it is in ours."""

    def __init__(self, program: Program, notation: Notation, style: SourceStyle) -> None:
        super().__init__(program, notation)
        self.style = style
        self.parameters: dict[str, Parameter] = {}
        letters = {*program.state, *self.names.values()}
        lstm = {"c", "y"} <= letters
        wanted = {ours: theirs for ours, theirs in style.lstm.items() if ours in letters}
        kept = letters - wanted.keys()
        self.renamed = wanted if lstm and not kept & set(wanted.values()) else {}
        self.stacks = self._stacks() if style.sums == "stacked" else {}

    def word(self, name: str, longest: int = 1) -> str:
        return super().word(self.renamed.get(name, name), longest)

    def page(self) -> str:
        stacked = {value for stack in self.stacks.values() for value in stack}
        lines = [self._stack(operand, stack) for operand, stack in self.stacks.items()]
        for value, name in self.names.items():
            if value not in stacked:
                lines.append(self._equation(name, self.written(value)[0]))
        for state, value in zip(self.program.state, self.program.results, strict=True):
            if self.names.get(value) != state:  # handed on as it is, or returned twice
                lines.append(self._equation(state, self.operand(value, ANY)))
        return self.notation.newline.join(lines)

    def _equation(self, name: str, text: str) -> str:
        return self.notation.equation % (self.notation.now % self.word(name), text)

    def block(self, value: Value) -> str:
        return self._named(value, self.style.families.get(value.op, value.op))

    def _named(self, value: Value, family: str, prefix: str = "") -> str:
        """A parameter's name in this style, noted as what it is."""
        name = f"{family}_{prefix}{self.renamed.get(value.block, value.block)}"
        self.parameters[name] = lambda ours: getattr(ours[value.op], value.block)
        return name

    def written(self, value: Value) -> tuple[str, int]:
        if value.op in FAMILIES and self.style.sums == "biases" and value.op in "WR":
            prefix = "i" if value.op == "W" else "h"
            return self.applied(self._named(value, "W", prefix), value.inputs[0])
        if value.op != "add":
            return super().written(value)
        terms = list(self._terms(value))
        if self.style.sums == "written" or not any(_is(term, "W") for term in terms):
            return super().written(value)
        return self._sum(terms), SUM

    def _terms(self, value: Value) -> Iterator[Argument]:
        """What a sum adds, through sums that have no name of their own."""
        for arg in value.args:
            if isinstance(arg, Value) and arg.op == "add" and arg not in self.names:
                yield from self._terms(arg)
            else:
                yield arg

    def _sum(self, terms: list[Argument]) -> str:
        parts: list[str] = []
        left = list(terms)
        for term in terms:
            if not (isinstance(term, Value) and term.op == "W"):
                continue
            same = {v.op: v for v in left if isinstance(v, Value) and v.block == term.block}
            left.remove(term)
            if self.style.sums in ("beside", "stacked") and "R" in same:
                parts.append(self._beside(term, same["R"]))
                left.remove(same["R"])
            elif self.style.sums == "biases" and "b" in same:
                second = same.get("R")
                parts += self._two_biases(term, second, same["b"])
                left = [v for v in left if v is not second and v is not same["b"]]
            else:
                parts.append(self.operand(term, SUM))
        rest = [self.operand(term, SUM) for term in left]
        if self.style.sums == "bias first":
            biases = [self.operand(term, SUM) for term in left if _is(term, "b")]
            parts = biases + parts
            rest = [self.operand(term, SUM) for term in left if not _is(term, "b")]
        total = parts + rest
        if self.notation is PYTHON:
            return " + ".join(f"({part})" for part in total)
        return " + ".join(total)

    def _beside(self, first: Value, second: Value) -> str:
        """W_z [h, x]."""
        name = f"W_{self.renamed.get(first.block, first.block)}"

        def both(ours: Mapping[str, Any]) -> Tensor:
            return torch.cat([getattr(ours["R"], second.block), getattr(ours["W"], first.block)], 1)

        self.parameters[name] = both
        return f"{name} {self._behind(second.inputs[0], first.inputs[0])}"

    def _behind(self, *operands: Argument) -> str:
        listed = [self.operand(operand, ANY) for operand in operands]
        if self.notation is PYTHON:
            return f"@ behind({', '.join(listed)})"
        return f"[{', '.join(listed)}]"

    def _two_biases(self, first: Value, second: Value | None, bias: Value) -> list[str]:
        """W_iz x, b_iz, W_hz h, b_hz."""
        letter = self.renamed.get(bias.block, bias.block)
        share = 1.0 if second is None else SHARE
        self.parameters[f"b_i{letter}"] = lambda ours: share * getattr(ours["b"], bias.block)
        parts = [self.operand(first, SUM), f"b_i{letter}"]
        if second is not None:
            self.parameters[f"b_h{letter}"] = lambda ours: (
                (1 - share) * getattr(ours["b"], bias.block)
            )
            parts += [self.operand(second, SUM), f"b_h{letter}"]
        return parts

    def _stacks(self) -> dict[Value, list[Value]]:
        """Gates that can be computed by one product, by the state that they read."""
        found: dict[Value, list[Value]] = {}
        for value in self.names:
            arg = value.inputs[0] if value.op in ACTIVATIONS else None
            if arg is None or arg.op != "add" or arg in self.names:
                continue
            terms = list(self._terms(arg))
            kinds = sorted(term.op for term in terms if isinstance(term, Value))
            blocks = {term.block for term in terms if isinstance(term, Value)}
            if kinds == ["R", "W", "b"] and len(terms) == 3 and len(blocks) == 1:
                operand = next(t for t in terms if _is(t, "R")).inputs[0]  # type: ignore[union-attr]
                if operand.op == "state":
                    found.setdefault(operand, []).append(value)
        return {operand: gates for operand, gates in found.items() if len(gates) > 1}

    def _stack(self, operand: Value, gates: list[Value]) -> str:
        """(i; f; o; g) = (σ; σ; σ; tanh)(W [h; x] + b)."""
        order = {letter: k for k, letter in enumerate("ifog")}
        named = {value: self.renamed.get(self.names[value], self.names[value]) for value in gates}
        if set(named.values()) == set(order):
            gates = sorted(gates, key=lambda value: order[named[value]])
        blocks = []
        for value in gates:
            (product,) = (t for t in self._terms(value.inputs[0]) if _is(t, "W"))
            assert isinstance(product, Value)
            blocks.append(product.block)
        more = "" if len(self.stacks) == 1 else f"_{self.word(operand.block)}"

        def matrix(ours: Mapping[str, Any]) -> Tensor:
            rows = [torch.cat([getattr(ours["R"], k), getattr(ours["W"], k)], 1) for k in blocks]
            return torch.cat(rows)

        self.parameters[f"W{more}"] = matrix
        self.parameters[f"b{more}"] = lambda ours: torch.cat(
            [getattr(ours["b"], k) for k in blocks]
        )
        x = self.notation.now % self.word("x")
        h = self.notation.before % self.word(operand.block)
        forms = [self.notation.form(OPERATIONS[value.op]).text for value in gates]
        letters = [self.notation.now % self.word(self.names[value]) for value in gates]
        if self.notation is PYTHON:
            whole = f"(W{more} @ behind({h}, {x}) + b{more}).chunk({len(gates)})"
            computed = ", ".join(f"{f}({n})" for f, n in zip(forms, letters, strict=True))
            return f"{', '.join(letters)} = {whole}\n{', '.join(letters)} = {computed}"
        left, right = "; ".join(letters), "; ".join(forms)
        return f"({left}) = ({right})(W{more} [{h}; {x}] + b{more})"


def _is(term: Argument, op: str) -> bool:
    return isinstance(term, Value) and term.op == op
