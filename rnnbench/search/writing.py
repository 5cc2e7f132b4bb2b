"""A candidate as the function that a person would write, and that function as code.

A search computes candidates through their text, as it computes any cell: the rules, the planner,
every engine and every printer see one thing.

Simplified on the way, so that no parameter is idle: in a sum, matrices of one operand are one
matrix, biases are one bias, v - v is nothing and v + v is 2 · v; ReLU of what is never negative is
left out. `linear a` is written R.k @ v + a * v: a start of a on the diagonal of R gives the same
values and the same gradients in every step, whatever the optimiser.

x has a width of its own, so that it enters through matrices alone: `linear` of x is W.k @ x + b.k,
where a diagonal means nothing; x as it is becomes W.e @ x, one projection for all that read it.
With `embed`, x is that projection everywhere, as in the paper, whose inputs are as wide as states.
"""

import keyword
import linecache
import re
import textwrap
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from rnnbench.search.graph import NONLINEAR, Graph, Node

INPUTS = ("project", "embed")
FUNCTIONS = ("relu", "sigmoid", "tanh", "where")
LETTERS = {"sigmoid": "g", "tanh": "t", "relu": "r", "mul": "m", "add": "s", "sub": "s"}
# how tightly a text holds together
SUM, PRODUCT, ATOM = range(3)


class Idle(ValueError):
    """The graph comes to a constant, or to nothing that can learn."""


@dataclass
class _Sum:
    """Terms with their factors. matrices: (family, operand) → sign; biased: sign of the bias."""

    terms: dict[str, float] = field(default_factory=dict)  # text that holds as tightly as PRODUCT
    matrices: dict[str, float] = field(default_factory=dict)
    biased: float = 0

    def add(self, text: str, factor: float) -> None:
        self.terms[text] = self.terms.get(text, 0) + factor


def function_text(candidate: Graph, name: str, inputs: str = "project", told: str = "") -> str:
    """The candidate as a function of a cell. told: its docstring.

    Raises Idle where it comes to a constant.
    """
    return _Writer(candidate, inputs).function(name, told)


def compiled(text: str, name: str) -> Callable[..., Any]:
    """The function of that name in this text; its source can be read back, so that it is a cell."""
    whole = f"{_head(text)}\n\n\n{text}"
    place = f"<{name} {zlib.crc32(whole.encode()):08x}>"
    linecache.cache[place] = (len(whole), None, whole.splitlines(keepends=True), place)
    scope: dict[str, Any] = {"__name__": f"candidate_{name}"}
    exec(compile(whole, place, "exec", dont_inherit=True), scope)
    made: Callable[..., Any] = scope[name]
    return made


def file_text(title: str, functions: list[str]) -> str:
    """A file of cells."""
    return "\n\n\n".join(
        [f'"""{title}"""\n\n{_head(" ".join(functions))}', *(f.rstrip() for f in functions), ""]
    )


def _head(text: str) -> str:
    """The import of what is called in a text."""
    called = [name for name in FUNCTIONS if re.search(rf"\b{name}\(", text)]
    return f"from torch import {', '.join(called)}" if called else ""


class _Writer:
    def __init__(self, candidate: Graph, inputs: str) -> None:
        self.graph, self.embed = candidate, inputs == "embed"
        self.readers = [0] * (candidate.first + len(candidate.nodes))
        for node in candidate.nodes:
            for value in node.inputs:
                self.readers[value] += 1
            if node.linear and node.diagonal and (node.inputs[0] or self.embed):
                self.readers[node.inputs[0]] += 1  # by the matrix and by the diagonal
        for value in candidate.results:
            self.readers[value] += 1
        bare = (node.inputs.count(0) for node in candidate.nodes if not node.linear)
        self.alone = not self.embed and sum(bare) == 1  # x as it is, read once
        self.lines: list[str] = []
        self.known: dict[int, tuple[str, int]] = {
            1 + k: (state, ATOM) for k, state in enumerate(candidate.state)
        }
        self.taken = {*candidate.state, "x", "W", "R", "b", "p"}
        self.blocks: set[str] = set()

    def function(self, name: str, told: str) -> str:
        assert name.isidentifier() and not keyword.iskeyword(name)
        results = [self.value(value)[0] for value in self.graph.results]
        body = [*self.lines, f"return {', '.join(results)}"]
        whole = "\n".join(body)
        words = Counter(re.findall(r"(?<![.\w])[a-z]\w*", whole))
        made = [line.partition(" ")[0] for line in self.lines]
        for known in (*made, *self.graph.state):
            if words[known] < 1 + (known in made):
                raise Idle(f"{known} cancels out")
        families = [family for family in "WRb" if f"{family}." in whole]
        arguments = ", ".join([*families, "x", *self.graph.state])
        note = _docstring(told) if told else []
        lines = [f"def {name}({arguments}):", *(f"    {line}".rstrip() for line in [*note, *body])]
        return "\n".join(lines) + "\n"

    def value(self, at: int) -> tuple[str, int]:
        """The text of a value and how tightly it holds; a value that is read twice has a name."""
        if at in self.known:
            return self.known[at]
        node = self.graph.node(at)
        if node is None and self.alone:
            return f"{self.block('W', 'e')} @ x", SUM
        if node is None:  # x as it is
            self.known[at] = self.named("e", f"{self.block('W', 'e')} @ x")
            return self.known[at]
        gate = node.op in NONLINEAR and self.learns(node)
        name = self.free(LETTERS.get(node.op, "a")) if gate or self.readers[at] > 1 else ""
        text, level = self.operation(at, node, name)
        if name and not text.isidentifier():
            self.lines.append(f"{name} = {text}")
            text, level = name, ATOM
        self.known[at] = text, level
        return self.known[at]

    def learns(self, node: Node) -> bool:
        """Whether an activation acts on a sum: it gets a name, which its blocks share."""
        inner = self.graph.node(node.inputs[0])
        return inner is not None and (inner.linear or inner.op in ("add", "sub"))

    def operation(self, at: int, node: Node, name: str) -> tuple[str, int]:
        if node.linear or node.op in ("add", "sub"):
            return self.sum(at, name)
        if node.op == "mul":
            factors = [self.tight(value, PRODUCT, name) for value in node.inputs]
            return " * ".join(factors), PRODUCT
        inner = self.graph.node(node.inputs[0])
        if node.op == "relu" and inner is not None and inner.op in ("relu", "sigmoid"):
            return self.value(node.inputs[0])
        return f"{node.op}({self.within(node.inputs[0], name)})", ATOM

    def within(self, value: int, name: str) -> str:
        """An operand whose blocks are called like what it is an operand of."""
        node = self.graph.node(value)
        alone = node is not None and value not in self.known and self.readers[value] == 1
        if alone and node is not None and (node.linear or node.op in ("add", "sub")):
            return self.sum(value, name)[0]
        return self.value(value)[0]

    def tight(self, value: int, least: int, name: str = "") -> str:
        text, level = self.value(value)
        return text if level >= least else f"({text})"

    def sum(self, at: int, name: str) -> tuple[str, int]:
        """A sum through all inner sums that only it reads."""
        found = _Sum()
        self.collect(found, at, 1.0, first=True)
        block = self.free_block(name or "k")
        terms: list[tuple[float, str]] = []
        for product, sign in found.matrices.items():
            family, _, operand = product.partition(" ")
            terms.append((sign, f"{self.block(family, block)} @ {operand}"))
        terms += [(factor, text) for text, factor in found.terms.items() if factor]
        if found.biased:
            terms.append((found.biased, self.block("b", block)))
        if not terms:
            raise Idle("a sum cancels out")
        return _joined(terms)

    def collect(self, found: _Sum, at: int, sign: float, first: bool = False) -> None:
        node = self.graph.node(at)
        if at == 0 and self.alone:
            found.matrices.setdefault("W x", sign)
            return
        inner = first or (node is not None and self.readers[at] == 1 and at not in self.known)
        if node is None or not inner or not (node.linear or node.op in ("add", "sub")):
            found.add(self.tight(at, PRODUCT), sign)
        elif node.linear:
            self.linear(found, node, sign)
        else:
            one, other = node.inputs
            self.collect(found, one, sign)
            self.collect(found, other, sign if node.op == "add" else -sign)

    def linear(self, found: _Sum, node: Node, sign: float) -> None:
        (value,) = node.inputs
        if value == 0 and not self.embed:
            product = "W x"
        else:
            operand = self.tight(value, ATOM)
            product = f"R {operand}"
            if node.diagonal:
                found.add(operand, sign * node.diagonal)
        found.matrices.setdefault(product, sign)
        found.biased = found.biased if found.biased > 0 else sign

    def named(self, letter: str, text: str) -> tuple[str, int]:
        name = self.free(letter)
        self.lines.append(f"{name} = {text}")
        return name, ATOM

    def free(self, letter: str) -> str:
        """A name that nothing has yet: g, g1, g2 …"""
        name = next(n for n in _numbered(letter) if n not in self.taken)
        self.taken.add(name)
        return name

    def free_block(self, name: str) -> str:
        return next(n for n in _numbered(name) if not any(f"{f}.{n}" in self.blocks for f in "WRb"))

    def block(self, family: str, name: str) -> str:
        """A block that stands once in the equations."""
        free = next(n for n in _numbered(name, "_") if f"{family}.{n}" not in self.blocks)
        self.blocks.add(f"{family}.{free}")
        return f"{family}.{free}"


def _numbered(name: str, between: str = "") -> Iterator[str]:
    yield name
    yield from (f"{name}{between}{k}" for k in range(1, 10_000))


def _joined(terms: list[tuple[float, str]]) -> tuple[str, int]:
    """Terms with factors as a sum; one with a plus sign comes first where there is one."""
    terms = sorted(terms, key=lambda term: term[0] < 0)
    written = []
    for k, (factor, text) in enumerate(terms):
        size = "" if abs(factor) == 1 else f"{abs(factor):g} * "
        sign = " - " if factor < 0 else " + "
        if k == 0:
            sign = "-" if factor < 0 else ""
        product = f"({text})" if "@" in text and (size or sign == "-") else text
        written.append(f"{sign}{size}{product}")
    alone = len(terms) == 1 and abs(terms[0][0]) == 1 and terms[0][0] > 0
    level = SUM
    if alone and "@" not in terms[0][1]:
        level = ATOM if terms[0][1].isidentifier() or terms[0][1][-1] == ")" else PRODUCT
    return "".join(written), level


def _docstring(told: str) -> list[str]:
    paragraphs = told.strip().split("\n\n")
    lines = [line for p in paragraphs for line in [*textwrap.wrap(p, 92), ""]][:-1]
    if len(lines) == 1 and len(lines[0]) < 86:
        return [f'"""{lines[0]}"""']
    return [f'"""{lines[0]}', *lines[1:], '"""']
