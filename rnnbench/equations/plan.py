"""From equations to a plan: input products hoisted out of the time loop, recurrent products that
share an operand fused.

The cell's function is the only source. The plan says which blocks each family has, and holds one
step as a straight line over (K, B, ·) tensors. Knows no cell by name.

Axes: K replicas   B batch   I input width   H state width.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import fx

from rnnbench.equations.rules import FAMILIES, block
from rnnbench.equations.trace import Trace, trace


@dataclass(frozen=True)
class Plan:
    """What an engine needs to know of a cell.

    blocks: family → names, in the order in which their columns are stored.
    groups: recurrent products, one per distinct operand: (the operand as written, names).
    parts: how the columns of the hoisted product are handed to a step: a part per recurrent product
        that they are
        added to, then a part per remaining input block.
    folded: bias → the input block whose hoisted product carries it.
    step: step(*parts_KB·, *R_groups, p, b, *state_KBH) → new states; p and b are dictionaries of
        (K, 1, H).
    probe: the same arguments → new states, then the values of the gates (the sigmoids), in the
        order of `gates`.
    """

    trace: Trace
    blocks: dict[str, tuple[str, ...]]
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    parts: tuple[tuple[str, ...], ...]
    folded: dict[str, str]
    gates: tuple[str, ...]
    step: fx.GraphModule
    probe: fx.GraphModule

    @property
    def state(self) -> tuple[str, ...]:
        return self.trace.state

    def count(self, inputs: int, hidden: int) -> int:
        """Parameters of one layer with `inputs` inputs and `hidden` units."""
        widths = {"W": inputs, "R": hidden, "p": 1, "b": 1}
        return sum(len(names) * widths[family] * hidden for family, names in self.blocks.items())

    @property
    def formula(self) -> str:
        """The parameter count in the inputs d and the units n: '4dn + 4n² + 4n'."""
        vectors = len(self.blocks["p"]) + len(self.blocks["b"])
        terms = ((len(self.blocks["W"]), "dn"), (len(self.blocks["R"]), "n²"), (vectors, "n"))
        return " + ".join(f"{k if k > 1 else ''}{unit}" for k, unit in terms if k)


def plan(function: Callable[..., Any], constants: Mapping[str, Any] | None = None) -> Plan:
    """Trace the equations, hoist W @ x, fuse the R products that share an operand."""
    traced = trace(function, constants)  # type: ignore[arg-type]
    groups: dict[fx.Node, list[str]] = {}
    blocks: dict[str, list[str]] = {family: [] for family in FAMILIES}
    for node in traced.graph.nodes:
        if owned := block(node):
            blocks[owned[0]].append(owned[1])
        if node.target is operator.matmul and block(node.args[0])[0] == "R":  # type: ignore[index]
            groups.setdefault(node.args[1], []).append(block(node.args[0])[1])  # type: ignore[index]
    chains = _chains(traced.graph)
    riding = {
        operand: part for operand, names in groups.items() if (part := _ridden(names, chains))
    }
    ridden = {name for part in riding.values() for name in part}
    parts: tuple[tuple[str, ...], ...] = (
        *riding.values(),
        *((name,) for name in blocks["W"] if name not in ridden),
    )
    order = {family: tuple(names) for family, names in blocks.items()}
    order["W"] = tuple(name for part in parts for name in part)
    order["R"] = tuple(name for names in groups.values() for name in names)
    gates = [n for n in traced.graph.nodes if n.target is torch.sigmoid]
    emit = _Emitter(traced, groups, parts, riding, chains)
    return Plan(
        trace=traced,
        blocks=order,
        groups=tuple((traced.names.get(n, str(n)), tuple(names)) for n, names in groups.items()),
        parts=parts,
        folded={
            name: chain.block for chain in chains for family, name in chain.terms if family == "b"
        },
        gates=tuple(traced.names.get(n, f"gate{k}") for k, n in enumerate(gates)),
        step=emit(traced.result),
        probe=emit((*traced.result, *gates)),
    )


@dataclass(frozen=True)
class _Chain:
    """A sum that starts at W.block @ x: the bias and the recurrent product that it meets on its
    way, and the sums where.
    """

    block: str
    terms: dict[tuple[str, str], fx.Node]  # ("b", name) or ("R", name) → the sum that adds it


def _chains(graph: fx.Graph) -> list[_Chain]:
    """Follow every hoisted product through plain sums.

    The first bias met can ride on it; so can a recurrent product that is met before any other term.
    """
    chains = []
    for product in graph.nodes:
        if (owned := _multiplied(product)) is None or owned[0] != "W":
            continue
        terms: dict[tuple[str, str], fx.Node] = {}
        node, added = product, 0
        while len(node.users) == 1 and (user := next(iter(node.users))).target is operator.add:
            if user.args[0] is user.args[1]:  # twice the sum: what is added later is not
                break
            other = user.args[1] if user.args[0] is node else user.args[0]
            shared = (
                isinstance(other, fx.Node) and len(other.users) > 1
            )  # what is read elsewhere too must keep its own value
            term = None if shared else block(other) or _multiplied(other)
            first_of_family = term and term[0] not in {family for family, _ in terms}
            if (
                term
                and first_of_family
                and (term[0] == "b" or (term[0] == "R" and len(terms) == added))
            ):
                terms[term] = user
            node, added = user, added + 1
        chains.append(_Chain(owned[1], terms))
    return chains


def _multiplied(node: Any) -> tuple[str, str] | None:
    """("R", "z") if the node is R.z @ something."""
    return (
        block(node.args[0])
        if isinstance(node, fx.Node) and node.target is operator.matmul
        else None
    )


def _ridden(names: list[str], chains: list[_Chain]) -> tuple[str, ...]:
    """The input blocks to which the fused product of `names` is added one to one; empty if it is
    not so for all.
    """
    found = [chain.block for name in names for chain in chains if ("R", name) in chain.terms]
    return tuple(found) if len(found) == len(names) else ()


class _Emitter:
    """Writes the step anew, over batched tensors."""

    def __init__(
        self,
        traced: Trace,
        groups: dict[fx.Node, list[str]],
        parts: tuple[tuple[str, ...], ...],
        riding: dict[fx.Node, tuple[str, ...]],
        chains: list[_Chain],
    ):
        self.traced, self.groups, self.parts, self.riding = traced, groups, parts, riding
        ridden = {name for part in riding.values() for name in part}
        self.absorbed = {
            s: t for c in chains for t, s in c.terms.items() if t[0] == "b" or c.block in ridden
        }

    def __call__(self, wanted: tuple[fx.Node, ...]) -> fx.GraphModule:
        graph = fx.Graph()
        parts = {names: graph.placeholder(f"wx_{'_'.join(names)}") for names in self.parts}
        weights = {operand: graph.placeholder(f"R{g}") for g, operand in enumerate(self.groups)}
        vectors = {"p": graph.placeholder("p"), "b": graph.placeholder("b")}
        new: dict[fx.Node, Any] = {
            n: graph.placeholder(n.target)
            for n in self.traced.graph.nodes
            if n.target in self.traced.state
        }
        absorbed = set(self.absorbed.values())
        value: dict[tuple[str, str], fx.Node] = {}  # W and R blocks → their product

        for node in self.traced.graph.nodes:
            if owned := block(node):
                if owned[0] in vectors and owned not in absorbed:
                    new[node] = graph.call_function(operator.getitem, (vectors[owned[0]], owned[1]))
            elif (owned := _multiplied(node)) is not None:
                if (
                    owned not in value and owned[0] == "R"
                ):  # the first product on this operand: compute them all
                    operand = cast(fx.Node, node.args[1])
                    product, names = (new[operand], weights[operand]), self.groups[operand]
                    if ridden := self.riding.get(operand):
                        fused = graph.call_function(torch.baddbmm, (parts[ridden], *product))
                    else:
                        fused = graph.call_function(torch.bmm, product)
                    value |= {
                        ("R", name): v for name, v in self._split(graph, fused, names).items()
                    }
                if owned[0] == "R":
                    new[node] = value[owned]
                elif (owned[1],) in parts and (owned[1],) not in self.riding.values():
                    new[node] = parts[(owned[1],)]
            elif node in self.absorbed:
                new[node] = self._absorbed(node, new)
            elif node.op == "call_function":
                new[node] = graph.node_copy(node, new.__getitem__)
        graph.output(tuple(new[n] for n in wanted))
        graph.eliminate_dead_code()
        return fx.GraphModule({}, graph)

    def _absorbed(self, node: fx.Node, new: dict[fx.Node, Any]) -> Any:
        """A sum whose term already rides on another: its value is the other's."""
        family, name = self.absorbed[node]
        if family == "b":
            return next(
                (new[a] for a in node.all_input_nodes if a in new), None
            )  # None: a product that rides later
        return next(new[a] for a in node.all_input_nodes if _multiplied(a) == ("R", name))

    @staticmethod
    def _split(graph: fx.Graph, tensor: fx.Node, names: Any) -> dict[str, fx.Node]:
        if len(names) == 1:
            return {names[0]: tensor}
        parts = graph.call_function(torch.chunk, (tensor, len(names), -1))
        return {
            name: graph.call_function(operator.getitem, (parts, k)) for k, name in enumerate(names)
        }
