"""A candidate: a directed acyclic graph over x and the states, as Jozefowicz et al. (2015) draw it.

Every value has the width of the state. Nodes with one input are activations, and weights live in
them: `linear a` is a square matrix with `a` added to its diagonal at the start, and a bias. Nodes
with two inputs are elementwise.

Values are numbered: 0 is x, 1 … S the states, then the nodes, each after its inputs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LINEAR = "linear"
NONLINEAR = ("tanh", "sigmoid", "relu")
ACTIVATIONS = (
    *NONLINEAR,
    *(f"{LINEAR} {a}" for a in ("0", "1", "0.9", "1.1")),
)
ELEMENTWISE = ("mul", "add", "sub")


@dataclass(frozen=True)
class Node:
    """op: of ACTIVATIONS (one input) or ELEMENTWISE (two). inputs: numbers of values."""

    op: str
    inputs: tuple[int, ...]

    @property
    def linear(self) -> bool:
        return self.op.startswith(LINEAR)

    @property
    def diagonal(self) -> float:
        """What is added to the diagonal of the matrix of a linear node."""
        return float(self.op.partition(" ")[2])


@dataclass(frozen=True)
class Limits:
    """How large a candidate may be. products: linear nodes."""

    nodes: int = 40
    products: int = 12


@dataclass(frozen=True)
class Graph:
    """state: names, the first is the output. results: the value that is each new state."""

    state: tuple[str, ...]
    nodes: tuple[Node, ...]
    results: tuple[int, ...]

    @property
    def first(self) -> int:
        """The number of the first node."""
        return 1 + len(self.state)

    def node(self, value: int) -> Node | None:
        """None: x or a state."""
        return self.nodes[value - self.first] if value >= self.first else None

    @property
    def products(self) -> int:
        return sum(node.linear for node in self.nodes)

    def plain(self) -> dict[str, Any]:
        """For JSON; `graph` reads it."""
        nodes = [[node.op, *node.inputs] for node in self.nodes]
        return {"state": list(self.state), "nodes": nodes, "results": list(self.results)}


def graph(plain: Mapping[str, Any]) -> Graph:
    """The graph that `plain` wrote."""
    nodes = tuple(Node(op, tuple(inputs)) for op, *inputs in plain["nodes"])
    return Graph(tuple(plain["state"]), nodes, tuple(plain["results"]))


def ordered(state: tuple[str, ...], nodes: Mapping[int, Node], results: Iterable[int]) -> Graph:
    """The nodes that the results depend on, inputs first, numbered anew; nothing else stays.

    nodes: by numbers of any order. Raises ValueError where they go in a circle.
    """
    number = {value: value for value in range(1 + len(state))}
    kept: list[Node] = []
    open_: set[int] = set()

    def visit(value: int) -> int:
        if value in number:
            return number[value]
        if value in open_:
            raise ValueError("a circle")
        open_.add(value)
        node = nodes[value]
        inputs = tuple(visit(read) for read in node.inputs)
        kept.append(Node(node.op, inputs))
        number[value] = len(state) + len(kept)
        return number[value]

    found = tuple(visit(value) for value in results)
    return Graph(state, tuple(kept), found)


def why_not(candidate: Graph, limits: Limits) -> str | None:
    """Why this is no cell, or none of a size that is allowed; None: it is one."""
    if len(candidate.nodes) > limits.nodes:
        return f"{len(candidate.nodes)} nodes, at most {limits.nodes}"
    if candidate.products > limits.products:
        return f"{candidate.products} products, at most {limits.products}"
    if not candidate.products:
        return "nothing is learnt"
    every = _leaves(candidate)
    return not_recurrent([every[value] for value in candidate.results])


def not_recurrent(leaves: list[set[int]]) -> str | None:
    """Why new states that read these, 0 for x and 1 … S for the states, make no memory of x."""
    states = range(len(leaves))
    if not any(0 in read for read in leaves):
        return "x is never used"
    reached = _closure({k for k in states if 0 in leaves[k]}, leaves)
    if len(reached) < len(leaves):
        return "a state never depends on x"
    needed = {0}
    while more := {read - 1 for k in needed for read in leaves[k] if read} - needed:
        needed |= more
    if len(needed) < len(leaves):
        return "a state never reaches the output"
    if not any(leaves[k] - {0} for k in states):
        return "nothing recurs"
    return None


def _leaves(candidate: Graph) -> list[set[int]]:
    """Of every value, the x and states that it depends on."""
    found = [{value} for value in range(candidate.first)]
    for node in candidate.nodes:
        found.append(set().union(*(found[value] for value in node.inputs)))
    return found


def _closure(start: set[int], leaves: list[set[int]]) -> set[int]:
    """The states that those of `start` reach in any number of steps."""
    found = set(start)
    while (
        more := {k for k in range(len(leaves)) if {read - 1 for read in leaves[k] if read} & found}
        - found
    ):
        found |= more
    return found


class Sketch:
    """Writes a graph by hand."""

    def __init__(self, *state: str) -> None:
        self.state = state
        self.nodes: list[Node] = []

    def put(self, op: str, *inputs: int) -> int:
        self.nodes.append(Node(op, inputs))
        return len(self.state) + len(self.nodes)

    def affine(self, activation: str, *inputs: int) -> int:
        """activation(W x + R h + b)."""
        one, other = (self.put(f"{LINEAR} 0", value) for value in inputs)
        return self.put(activation, self.put("add", one, other))

    def drawn(self, *results: int) -> Graph:
        return ordered(self.state, dict(enumerate(self.nodes, 1 + len(self.state))), results)


def _lstm() -> Graph:
    s, (x, y, c) = Sketch("y", "c"), (0, 1, 2)
    z, i, f = (s.affine(kind, x, y) for kind in ("tanh", "sigmoid", "sigmoid"))
    cell = s.put("add", s.put("mul", z, i), s.put("mul", c, f))
    o = s.affine("sigmoid", x, y)
    return s.drawn(s.put("mul", s.put("tanh", cell), o), cell)


def _gru() -> Graph:
    """h̃ + z ⊙ (h - h̃): a product less than z ⊙ h + (1 - z) ⊙ h̃, and no constant."""
    s, (x, h) = Sketch("h"), (0, 1)
    r, z = s.affine("sigmoid", x, h), s.affine("sigmoid", x, h)
    n = s.affine("tanh", x, s.put("mul", r, h))
    return s.drawn(s.put("add", n, s.put("mul", z, s.put("sub", h, n))))


REFERENCES = {"lstm": _lstm(), "gru": _gru()}
