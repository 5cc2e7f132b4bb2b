"""A cell drawn from its representation: states as lines through time, gates, products, sums.

What is drawn is what is computed, for any cell. Where nodes stand is decided by igraph's layered
layout (Sugiyama, Tagawa & Toda, 1981), of several the one whose lines cross least once the first
memory has been pulled straight, above all else; time goes from left to right.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from rnnbench.equations.operations import OPERATIONS
from rnnbench.equations.program import MATRICES, VECTORS, Argument, Program, Value
from rnnbench.equations.text import UNICODE, Writer
from rnnbench.errors import UserError

ACROSS, DOWN, EDGE = 92, 62, 46  # between layers, between nodes of a layer, around all
SIGNS = {"mul": "×", "add": "+", "sub": "−", "div": "÷", "neg": "−"}
FILLS = {
    "state": "#dbe9f6",
    "input": "#e6e6e6",
    "gate": "#fde3a7",
    "function": "#f9cdb8",
    "sign": "#ffffff",
}
LINE, MEMORY = "#555555", "#0072B2"


@dataclass(eq=False)
class DrawnNode:
    """text: on it; below: its name; kind: what it is coloured by. sources: nodes that it reads, and
    whether by a matrix.
    """

    text: str
    kind: str
    below: str = ""
    sources: list[tuple["DrawnNode", bool]] = field(default_factory=list)


def diagram(program: Program, name: str) -> str:
    """The cell as an SVG picture. UserError without igraph."""
    nodes = _Reader(program).nodes
    memory = _memory(nodes)
    places, bends = _placed(nodes, memory)
    points = [*places.values(), *(point for chain in bends.values() for point in chain)]
    width = max(x for x, _ in points) + EDGE
    height = max(y for _, y in points) + EDGE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" font-family="sans-serif" font-size="14">',
        f"<title>{escape(name)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" '
        f'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="{LINE}"/></marker></defs>',
    ]
    for node in nodes:
        for source, learnt in node.sources:
            route = [places[source], *bends.get((source, node), ()), places[node]]
            lines.append(_edge(route, node, (source, node) in memory, learnt))
    lines += [_drawn(node, *places[node]) for node in nodes]
    return "\n".join([*lines, "</svg>\n"])


class _Reader:
    """Values as nodes: a sum of products with matrices is one box with the function of it."""

    def __init__(self, program: Program) -> None:
        self.program, self.nodes = program, list[DrawnNode]()
        self.writer = Writer(program, UNICODE)
        self.made: dict[Value, DrawnNode] = {}
        for state in program.state:
            self._add(DrawnNode(f"{state}ₜ₋₁", "state"))
        self._add(DrawnNode("xₜ", "input"))
        self.before = dict(zip(program.state, self.nodes, strict=False))
        self.x = self.nodes[-1]
        ends = [
            (state, self.of(value))
            for state, value in zip(program.state, program.results, strict=True)
        ]
        for state, source in ends:
            self._add(DrawnNode(f"{state}ₜ", "state", sources=[(source, False)]))

    def _add(self, node: DrawnNode) -> DrawnNode:
        self.nodes.append(node)
        return node

    def of(self, value: Value) -> DrawnNode:
        if value not in self.made:
            self.made[value] = self._made(value)
        return self.made[value]

    def _made(self, value: Value) -> DrawnNode:
        if value.op == "x":
            return self.x
        if value.op == "state":
            return self.before[value.block]
        name = self.writer.names.get(value, "")
        name = "" if name in self.program.state else name
        inner = value.inputs[0] if len(value.inputs) == 1 else None
        if value.op in VECTORS:
            return self._add(DrawnNode(f"{value.op}_{value.block}", "input"))
        if self._linear(value):
            return self._box("Σ", "function", name, value)
        if inner is not None and self._linear(inner) and inner not in self.writer.names:
            text = OPERATIONS[value.op].unicode.text.replace("%s", "·")
            return self._box(text, "gate" if value.op == "sigmoid" else "function", name, inner)
        numbers = [arg for arg in value.args if not isinstance(arg, Value)]
        text = SIGNS.get(value.op) or OPERATIONS[value.op].unicode.text.replace("%s", "·").strip()
        if numbers and value.op in SIGNS:
            text = self._with_number(value, text)
        sources = [(self.of(arg), False) for arg in value.inputs]
        sign = value.op in SIGNS
        return self._add(DrawnNode(text, "sign" if sign else "function", name, sources))

    def _with_number(self, value: Value, sign: str) -> str:
        written = [
            "" if isinstance(arg, Value) else self.writer.number(arg)[0] for arg in value.args
        ]
        return sign.join(written) if len(written) > 1 else f"{sign}{written[0]}"

    def _linear(self, value: Value) -> bool:
        """Whether a value is a sum with a product in it, or such a product."""
        return value.op in MATRICES or (
            value.op == "add" and any(_is_product(term) for term in self._terms(value))
        )

    def _terms(self, value: Value) -> Iterator[Argument]:
        for arg in value.args:
            nested = isinstance(arg, Value) and arg.op == "add" and arg not in self.writer.names
            if nested and isinstance(arg, Value):
                yield from self._terms(arg)
            else:
                yield arg

    def _box(self, text: str, kind: str, name: str, total: Value) -> DrawnNode:
        """A box that reads what the products of a sum read; biases belong to it."""
        sources: list[tuple[DrawnNode, bool]] = []
        for term in [total] if total.op in MATRICES else self._terms(total):
            if not isinstance(term, Value) or term.op == "b":
                continue
            if term.op in MATRICES:
                sources.append((self.of(term.inputs[0]), True))
            elif term.op == "mul" and any(arg.op == "p" for arg in term.inputs):  # a peephole
                sources += [(self.of(arg), True) for arg in term.inputs if arg.op != "p"]
            else:
                sources.append((self.of(term), False))
        unique = list(dict.fromkeys(sources))
        return self._add(DrawnNode(text, kind, name, unique))


def _is_product(term: Argument) -> bool:
    return isinstance(term, Value) and term.op in MATRICES


def _memory(nodes: list[DrawnNode]) -> set[tuple[DrawnNode, DrawnNode]]:
    """The edges along which a state goes on to itself without a matrix between: its line."""
    count = sum(node.kind == "state" for node in nodes) // 2
    found: set[tuple[DrawnNode, DrawnNode]] = set()
    for start, end in zip(nodes[:count], nodes[-count:], strict=True):
        reaches = {start}
        edges = []
        for node in nodes[count:]:
            for source, learnt in node.sources:
                if source in reaches and not learnt and (node.kind == "sign" or node is end):
                    reaches.add(node)
                    edges.append((source, node))
        back = {end}
        for source, node in reversed(edges):
            if node in back:
                back.add(source)
                found.add((source, node))
    return found


Place = tuple[float, float]
Edge = tuple[DrawnNode, DrawnNode]
ORDERS = 16  # in which the layout is asked for


def _placed(
    nodes: list[DrawnNode], memory: set[Edge]
) -> tuple[dict[DrawnNode, Place], dict[Edge, list[Place]]]:
    """Where every node stands, and where edges that pass layers bend."""
    layer = _layers(nodes)
    index = {node: k for k, node in enumerate(nodes)}
    steps: list[tuple[int, int]] = []  # from one layer to the next
    chains: dict[Edge, list[int]] = {}
    layers = [layer[node] for node in nodes]
    for node in nodes:
        for source, _ in node.sources:
            last = index[source]
            chain = []
            for passed in range(layer[source] + 1, layer[node]):
                layers.append(passed)
                chain.append(len(layers) - 1)
                steps.append((last, chain[-1]))
                last = chain[-1]
            steps.append((last, index[node]))
            chains[source, node] = chain
    line = {
        vertex
        for source, node in _line(nodes, memory)
        for vertex in (index[source], index[node], *chains[source, node])
    }
    downs = [_straightened(down, line) for down in _layouts(layers, steps)]
    down = min(downs, key=lambda down: _crossings(down, layers, steps))
    lowest = min(down)
    points = [
        (float(EDGE + ACROSS * layers[k]), EDGE + DOWN * (place - lowest))
        for k, place in enumerate(down)
    ]
    places = {node: points[k] for node, k in index.items()}
    return places, {edge: [points[k] for k in chain] for edge, chain in chains.items()}


def _line(nodes: list[DrawnNode], memory: set[Edge]) -> list[Edge]:
    """The edges of one state's memory, from before the step to after it; of the last state that has
    one, since the first is the output.
    """
    count = sum(node.kind == "state" for node in nodes) // 2
    for start, end in reversed(list(zip(nodes[:count], nodes[-count:], strict=True))):
        edges: list[Edge] = []
        at = end
        while at is not start:
            before = next((source for source, _ in at.sources if (source, at) in memory), None)
            if before is None:
                break
            edges.append((before, at))
            at = before
        if at is start and edges:
            return edges
    return []


def _layouts(layers: list[int], steps: list[tuple[int, int]]) -> Iterator[list[float]]:
    """How far down each vertex stands, for several orders in which igraph is told of them."""
    try:
        import igraph
    except ImportError:
        raise UserError("--diagram needs igraph: pip install 'rnnbench[diagram]'") from None
    order = list(range(len(layers)))
    for turn in range(ORDERS):
        at = {vertex: k for k, vertex in enumerate(order)}
        edges = [(at[a], at[b]) for a, b in steps]
        graph = igraph.Graph(n=len(layers), edges=edges, directed=True)
        told = [layers[vertex] for vertex in order]
        layout = graph.layout_sugiyama(layers=told, hgap=1, vgap=1, maxiter=1000)
        yield [float(layout.coords[at[vertex]][0]) for vertex in range(len(layers))]
        random.Random(turn).shuffle(order)


def _straightened(down: list[float], line: set[int]) -> list[float]:
    """The same with one line level, above all else."""
    above = min(place for k, place in enumerate(down) if k not in line) - 1
    return [above if k in line else place for k, place in enumerate(down)]


def _crossings(down: list[float], layers: list[int], steps: list[tuple[int, int]]) -> int:
    """How often lines cross between two layers."""
    beside: dict[int, list[tuple[float, float]]] = {}
    for a, b in steps:
        beside.setdefault(layers[a], []).append((down[a], down[b]))
    return sum(
        (a - c) * (b - d) < 0
        for lines in beside.values()
        for (a, b), (c, d) in itertools.combinations(lines, 2)
    )


def _layers(nodes: list[DrawnNode]) -> dict[DrawnNode, int]:
    """The layer of each node: after all that it reads; new states stand last."""
    layer: dict[DrawnNode, int] = {}

    def depth(node: DrawnNode) -> int:
        if node not in layer:
            layer[node] = max((depth(source) + 1 for source, _ in node.sources), default=0)
        return layer[node]

    last = max(depth(node) for node in nodes)
    for node in nodes:
        if node.kind == "state" and node.sources:
            layer[node] = last
    return layer


def _edge(route: list[Place], node: DrawnNode, memory: bool, learnt: bool) -> str:
    """A line from left to right, level at both ends."""
    reach = 22 if node.kind == "state" else 17
    *others, (x, y) = route
    points = [*others, (x - reach, y)]
    path = f"M{points[0][0]:.0f} {points[0][1]:.0f}"
    for (a, b), (c, d) in itertools.pairwise(points):
        middle = (a + c) / 2
        path += f"C{middle:.0f} {b:.0f} {middle:.0f} {d:.0f} {c:.0f} {d:.0f}"
    colour, width = (MEMORY, 3.5) if memory else (LINE, 1.3)
    dash = ' stroke-dasharray="5 3"' if learnt else ""
    end = "" if memory else ' marker-end="url(#end)"'
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dash}{end}/>'


def _drawn(node: DrawnNode, x: float, y: float) -> str:
    fill = FILLS[node.kind]
    wide = max(34.0, 9.0 * len(node.text) + 12)
    if node.kind == "sign" and len(node.text) == 1:
        shape = f'<circle cx="{x:.0f}" cy="{y:.0f}" r="13"'
    elif node.kind in ("state", "input"):
        shape = f'<ellipse cx="{x:.0f}" cy="{y:.0f}" rx="{max(wide / 2, 22):.0f}" ry="17"'
    else:
        left = x - wide / 2
        shape = f'<rect x="{left:.0f}" y="{y - 15:.0f}" width="{wide:.0f}" height="30" rx="5"'
    text = f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{escape(node.text)}</text>'
    below = (
        f'<text x="{x:.0f}" y="{y + 29:.0f}" text-anchor="middle" font-size="12" '
        f'font-style="italic">{escape(node.below)}</text>'
        if node.below
        else ""
    )
    return f'{shape} fill="{fill}" stroke="{LINE}"/>{text}{below}'
