"""From equations to a plan: input products hoisted out of the time loop, recurrent products that
share an operand fused.

The plan says which blocks each family has, in which order their columns are stored, and which
products and biases are computed together. Knows no cell by name.

Axes: I inputs   H units.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rnnbench.equations.program import FAMILIES, LEAVES, MATRICES, VECTORS, Program, Value
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

    def shapes(self, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """The parameter tensors of one layer: W, a fused matrix per operand, p, b."""
        made: dict[str, tuple[int, ...]] = {"W": (inputs, len(self.blocks["W"]) * hidden)}
        made |= {f"R{g}": (hidden, len(names) * hidden) for g, (_, names) in enumerate(self.groups)}
        vectors = {family: (len(self.blocks[family]) * hidden,) for family in VECTORS}
        return made | {family: shape for family, shape in vectors.items() if shape[0]}

    def count(self, inputs: int, hidden: int) -> int:
        """Parameters of one layer with `inputs` inputs and `hidden` units."""
        widths = {"W": inputs, "R": hidden, "p": 1, "b": 1}
        return sum(len(names) * widths[family] * hidden for family, names in self.blocks.items())

    @property
    def formula(self) -> str:
        """The parameter count in the inputs d and the units n: '4dn + 4n² + 4n'."""
        vectors = len(self.blocks["p"]) + len(self.blocks["b"])
        return _polynomial(len(self.blocks["W"]), len(self.blocks["R"]), vectors)

    def flops(self, inputs: int, hidden: int) -> int:
        """Floating-point operations of one layer in one step of one sequence, forward.

        A multiplication and an addition in a product with a matrix count as 2; elsewhere each
        operation of the equations, functions such as tanh included, counts as 1 per unit.
        """
        products = 2 * hidden * (len(self.blocks["W"]) * inputs + len(self.blocks["R"]) * hidden)
        return products + hidden * self._elementwise

    @property
    def flops_formula(self) -> str:
        """The same in d and n: '8dn + 8n² + 20n'."""
        return _polynomial(2 * len(self.blocks["W"]), 2 * len(self.blocks["R"]), self._elementwise)

    @property
    def _elementwise(self) -> int:
        return sum(v.op not in (*LEAVES, *MATRICES) for v in self.program.values)


def _polynomial(dn: int, n2: int, n: int) -> str:
    terms = ((dn, "dn"), (n2, "n²"), (n, "n"))
    return " + ".join(f"{k if k > 1 else ''}{unit}" for k, unit in terms if k)


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
    folded = {
        name: chain.block for chain in chains for family, name in chain.terms if family == "b"
    }
    absorbed = {
        total: term
        for chain in chains
        for term, total in chain.terms.items()
        if term[0] == "b" or chain.block in ridden
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
            first, second = user.args
            if first is second:  # twice the sum: what is added later is not
                break
            other = second if first is value else first
            # what is read elsewhere too must keep its own value
            alone = isinstance(other, Value) and len(users[other]) == 1
            if alone and isinstance(other, Value):
                first_of_family = other.op not in {family for family, _ in terms}
                rides = other.op == "b" or (other.op == "R" and len(terms) == added)
                if first_of_family and rides:
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
