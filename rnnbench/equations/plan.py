"""From equations to a plan: input products hoisted out of the time loop, recurrent products that
share an operand fused.

The plan says which blocks each family has, in which order their columns are stored, and which
products and biases are computed together. Knows no cell by name.

Axes: I inputs   H units.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from rnnbench.equations.operations import mixes_units
from rnnbench.equations.program import (
    FAMILIES,
    LEAVES,
    MATRICES,
    VECTORS,
    Program,
    Value,
    ordered,
)
from rnnbench.equations.shapes import Shape, multiple, size
from rnnbench.equations.trace import trace


@dataclass(frozen=True, eq=False)
class Plan:
    """What an engine needs to know of a cell.

    blocks: family → names, in the order in which their columns are stored.
    groups: recurrent products, one per distinct operand: (operand, names).
    parts: how the columns of the hoisted product are handed to a step: a part per recurrent product
        that they are added to, then a part per remaining input block.
    riding: operand → the part to which its fused product is added.
    folded: bias → the input block whose hoisted product carries it.
    absorbed: sum → the term whose value it has already, since the term rides on the other:
        ("b", "z") or ("R", "z").
    """

    program: Program
    blocks: dict[str, tuple[str, ...]]
    groups: tuple[tuple[Value, tuple[str, ...]], ...]
    parts: tuple[tuple[str, ...], ...]
    riding: dict[Value, tuple[str, ...]]
    folded: dict[str, str]
    absorbed: dict[Value, tuple[str, str]]

    @property
    def state(self) -> tuple[str, ...]:
        return self.program.state

    @property
    def gates(self) -> dict[str, Value]:
        """The gates (the sigmoids) by name, in the order of the equations."""
        found = [v for v in self.program.values if v.op == "sigmoid"]
        return {self.program.names.get(v, f"gate{k}"): v for k, v in enumerate(found)}

    @cached_property
    def _shapes(self) -> dict[tuple[str, str], Shape]:
        return {v.owned: self.program.shape(v) for v in self.program.values if v.op in FAMILIES}

    def shape(self, family: str, block: str) -> Shape:
        """Of what a block gives: of a vector itself, of a matrix its product."""
        return self._shapes[family, block]

    def columns(self, family: str, blocks: Iterable[str], hidden: int) -> list[int]:
        """How many columns each of these blocks has."""
        return [size(self.shape(family, block), hidden) for block in blocks]

    def rows(self, group: int, hidden: int) -> int:
        """How many rows the blocks of a recurrent product have: the numbers of its operand."""
        return size(self.program.shape(self.groups[group][0]), hidden)

    @cached_property
    def early(self) -> tuple[Value, ...]:
        """What depends on inputs alone and is read by the rest of a step, where units are mixed:
        worth computing for all steps at once, and no other engine computes such cells.
        """
        program = self.program
        if program.plain and not any(map(mixes_units, program.values)):
            return ()
        taken = {*self.riding.values()}
        alone: set[Value] = set()
        for v in program.values:
            if v.op == "W":
                on_inputs = (v.block,) not in taken
            else:
                on_inputs = v.op != "R" and bool(v.inputs) and alone.issuperset(v.inputs)
            if on_inputs or v.op in VECTORS:
                alone.add(v)
        of_inputs = {v for v in alone if any(u.op == "W" for u in ordered([v]))}
        users = program.users()
        return tuple(
            v
            for v in program.values
            if v in of_inputs
            and v.op not in LEAVES + MATRICES
            and v not in self.absorbed
            and any(user is None or user not in alone for user in users[v])
        )

    @property
    def learnt(self) -> tuple[Shape, ...]:
        """The shapes of the states whose start is a parameter."""
        shapes = dict(zip(self.state, self.program.state_shapes, strict=True))
        return tuple(shapes[name] for name in self.program.learnt)

    @property
    def multiple(self) -> int:
        """The units must be a multiple of it."""
        return multiple(self.program.shapes.values())

    def at(self, steps: int) -> "Plan":
        """The same where the horizon of the task has so many steps."""
        program = self.program
        placed = {
            value: tuple(axis.at(steps) for axis in shape)
            for value, shape in program.shapes.items()
        }
        return (
            self
            if placed == program.shapes
            else replace(self, program=replace(program, shapes=placed))
        )

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """The parameter tensors of one layer: W, a fused matrix per operand, p, b, and `start`, the
        starts that are learnt.
        """
        made: dict[str, tuple[int, ...]] = {
            "W": (inputs, sum(self.columns("W", self.blocks["W"], hidden)))
        }
        for g, (_, names) in enumerate(self.groups):
            made[f"R{g}"] = self.rows(g, hidden), sum(self.columns("R", names, hidden))
        vectors = {f: (sum(self.columns(f, self.blocks[f], hidden)),) for f in VECTORS}
        vectors["start"] = (sum(size(shape, hidden) for shape in self.learnt),)
        return made | {family: shape for family, shape in vectors.items() if shape[0]}

    def count(self, inputs: int, hidden: int) -> int:
        """Parameters of one layer with `inputs` inputs and `hidden` units."""
        return sum(map(math.prod, self.shapes(inputs, hidden).values()))

    @property
    def formula(self) -> str:
        """The parameter count in the inputs d and the units n: '4dn + 4n² + 4n'."""
        terms = [
            (1, "d" * (f == "W"), (*self._above(f, n), *s)) for (f, n), s in self._shapes.items()
        ]
        return _formula([*terms, *((1, "", shape) for shape in self.learnt)])

    def formula_of(self, shapes: Iterable[Shape]) -> str:
        """Numbers of such values together: '2n'."""
        return _formula((1, "", shape) for shape in shapes)

    def _above(self, family: str, block: str) -> Shape:
        """The rows of a recurrent matrix: the shape of its operand."""
        if family != "R":
            return ()
        return self.program.shape(next(o for o, names in self.groups if block in names))

    def flops(self, inputs: int, hidden: int) -> int:
        """Floating-point operations of one layer in one step of one sequence, forward.

        A multiplication and an addition in a product with a matrix count as 2; elsewhere each
        operation of the equations, functions such as tanh included, counts as 1 per unit.
        """
        return sum(
            times * (inputs if by else 1) * size(axes, hidden)
            for times, by, axes in self._operations()
        )

    @property
    def flops_formula(self) -> str:
        """The same in d and n: '8dn + 8n² + 20n'."""
        return _formula(self._operations())

    def _operations(self) -> Iterator[tuple[int, str, Shape]]:
        for v in self.program.values:
            shape = self.program.shape(v)
            if v.op in MATRICES:
                yield 2, "d" * (v.op == "W"), (*self._above(v.op, v.block), *shape)
            elif v.op in ("rows", "read"):  # sums along the axis of the vector
                vector = v.inputs[1 if v.op == "rows" else 0]
                yield 2, "", (*shape, self.program.shape(vector)[-1])
            elif v.op not in LEAVES:
                yield 1, "", shape


def _formula(terms: Iterable[tuple[int, str, Shape]]) -> str:
    """A sum of products of the inputs d and of axes, in d and the units n."""
    total: dict[tuple[int, int, int], Fraction] = {}
    for times, by, axes in terms:
        units, steps = (sum(axis.of == of for axis in axes) for of in "HT")
        powers = len(by), units, steps
        number = math.prod((axis.number for axis in axes), start=Fraction(times))
        total[powers] = total.get(powers, Fraction(0)) + number
    written = []
    for powers, number in sorted(total.items(), reverse=True):
        letters = zip(("d", "n", "steps"), powers, strict=True)
        unit = "".join(letter + {1: "", 2: "²", 3: "³"}[k] for letter, k in letters if k)
        written.append(unit if number == 1 and unit else f"{number}{unit}")
    return " + ".join(written)


def plan(function: Callable[..., Any], constants: Mapping[str, Any] | None = None) -> Plan:
    """Trace the equations, hoist W @ x, fuse the R products that share an operand."""
    return planned(trace(function, constants))  # type: ignore[arg-type]


def planned(program: Program) -> Plan:
    """The same of equations that are traced."""
    groups: dict[Value, list[str]] = {}
    for product in program.products("R"):
        groups.setdefault(product.inputs[0], []).append(product.block)
    chains = _chains(program)
    riding = {
        operand: part for operand, names in groups.items() if (part := _ridden(names, chains))
    }
    ridden = {name for part in riding.values() for name in part}
    inputs = [product.block for product in program.products("W")]
    parts = (*riding.values(), *((name,) for name in inputs if name not in ridden))
    blocks = {
        family: tuple(v.block for v in program.values if v.op == family) for family in FAMILIES
    }
    blocks["W"] = tuple(name for part in parts for name in part)
    blocks["R"] = tuple(name for names in groups.values() for name in names)
    # What has shapes of its own is added where the equations add it.
    folded = {
        name: chain.block
        for chain in chains
        for family, name in chain.terms
        if family == "b" and program.plain
    }
    absorbed = {
        total: term
        for chain in chains
        for term, total in chain.terms.items()
        if (chain.block in ridden if term[0] == "R" else term[1] in folded)
    }
    fused = tuple((operand, tuple(names)) for operand, names in groups.items())
    return Plan(program, blocks, fused, parts, riding, folded, absorbed)


@dataclass(frozen=True)
class _Chain:
    """A sum that starts at W.block @ x: the bias and the recurrent product that it meets on its
    way, and the sums where.
    """

    block: str
    terms: dict[tuple[str, str], Value]  # ("b", name) or ("R", name) → the sum that adds it


def _chains(program: Program) -> list[_Chain]:
    """Follow every hoisted product through plain sums.

    The first bias met can ride on it; so can a recurrent product that is met before any other term.
    """
    users = program.users()
    chains = []
    for product in program.products("W"):
        terms: dict[tuple[str, str], Value] = {}
        value, added = product, 0
        while len(users[value]) == 1 and (user := users[value][0]) and user.op == "add":
            if program.shape(user) != program.shape(product):
                break
            first, second = user.args
            if first is second:  # twice the sum: what is added later is not
                break
            other = second if first is value else first
            # what is read elsewhere too must keep its own value
            alone = isinstance(other, Value) and len(users[other]) == 1
            if alone and isinstance(other, Value):
                first_of_family = other.op not in {family for family, _ in terms}
                rides = other.op == "b" or (other.op == "R" and len(terms) == added)
                as_wide = program.shape(other) == program.shape(product)
                if first_of_family and rides and as_wide:
                    terms[other.owned] = user
            value, added = user, added + 1
        chains.append(_Chain(product.block, terms))
    return chains


def _ridden(names: list[str], chains: list[_Chain]) -> tuple[str, ...]:
    """The input blocks to which the fused product of `names` is added one to one; empty if it is
    not so for all.
    """
    found = [chain.block for name in names for chain in chains if ("R", name) in chain.terms]
    return tuple(found) if len(found) == len(names) else ()
