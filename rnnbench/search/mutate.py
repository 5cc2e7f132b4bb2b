"""The six mutations of Jozefowicz et al. (2015), each anchored at a node of the graph.

Sources disagree on how many are applied at once: `each` draws p from [0, 1) and changes every node
with probability p, so that most mutants are far and some near; `few` changes one to three random
nodes. A mutation is drawn among those that can act on the node.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from rnnbench.search.graph import ACTIVATIONS, ELEMENTWISE, Graph, Limits, Node, ordered, why_not

T = TypeVar("T")
HOW_MANY = ("each", "few")
TRIES = 10_000  # until a mutant is a cell; a search would rather end than hang


@dataclass(frozen=True)
class Grammar:
    """activations, elementwise: what nodes may be. mutate: `each` or `few`."""

    activations: tuple[str, ...] = ACTIVATIONS
    elementwise: tuple[str, ...] = ELEMENTWISE
    mutate: str = "each"
    limits: Limits = field(default_factory=Limits)


class Draft:
    """A graph while it is changed. nodes: by a number that a node keeps."""

    def __init__(self, candidate: Graph) -> None:
        self.state, self.results = candidate.state, list(candidate.results)
        self.nodes = dict(enumerate(candidate.nodes, candidate.first))
        self.fresh = candidate.first + len(candidate.nodes)

    def add(self, node: Node) -> int:
        self.nodes[self.fresh] = node
        self.fresh += 1
        return self.fresh - 1

    def redirect(self, old: int, new: int) -> None:
        """Whoever read `old` reads `new`; a new state, too."""

        def turned(value: int) -> int:
            return new if value == old else value

        for value, node in self.nodes.items():
            self.nodes[value] = Node(node.op, tuple(map(turned, node.inputs)))
        self.results = [turned(value) for value in self.results]

    def readers(self, value: int) -> int:
        read = sum(node.inputs.count(value) for node in self.nodes.values())
        return read + self.results.count(value)

    def ancestors(self, value: int) -> list[int]:
        """What a value depends on, x and states included, itself excluded, in ascending order."""
        found: set[int] = set()
        left = list(self._inputs(value))
        while left:
            one = left.pop()
            if one not in found:
                found.add(one)
                left += self._inputs(one)
        return sorted(found)

    def _inputs(self, value: int) -> tuple[int, ...]:
        node = self.nodes.get(value)
        return node.inputs if node else ()

    def drawn(self) -> Graph:
        return ordered(self.state, self.nodes, self.results)


Mutation = Callable[[Draft, int, np.random.Generator, Grammar], bool]


def other_activation(draft: Draft, at: int, rng: np.random.Generator, grammar: Grammar) -> bool:
    """1. An activation becomes another."""
    return _another(draft, at, rng, grammar.activations, inputs=1)


def other_operation(draft: Draft, at: int, rng: np.random.Generator, grammar: Grammar) -> bool:
    """2. An elementwise operation becomes another."""
    return _another(draft, at, rng, grammar.elementwise, inputs=2)


def _another(
    draft: Draft, at: int, rng: np.random.Generator, known: tuple[str, ...], inputs: int
) -> bool:
    node = draft.nodes[at]
    others = [op for op in known if op != node.op]
    if len(node.inputs) != inputs or not others:
        return False
    draft.nodes[at] = Node(_one(rng, others), node.inputs)
    return True


def insert(draft: Draft, at: int, rng: np.random.Generator, grammar: Grammar) -> bool:
    """3. An activation is put between the node and one of its parents."""
    node = draft.nodes[at]
    place = int(rng.integers(len(node.inputs)))
    between = draft.add(Node(_one(rng, grammar.activations), (node.inputs[place],)))
    inputs = (*node.inputs[:place], between, *node.inputs[place + 1 :])
    draft.nodes[at] = Node(node.op, inputs)
    return True


def remove(draft: Draft, at: int, rng: np.random.Generator, grammar: Grammar) -> bool:
    """4. A node with one input and one output is taken away."""
    node = draft.nodes[at]
    if len(node.inputs) != 1 or draft.readers(at) != 1:
        return False
    del draft.nodes[at]
    draft.redirect(at, node.inputs[0])
    return True


def shrink(draft: Draft, at: int, rng: np.random.Generator, grammar: Grammar) -> bool:
    """5. The node is replaced by one of its ancestors."""
    ancestor = _one(rng, draft.ancestors(at))
    del draft.nodes[at]
    draft.redirect(at, ancestor)
    return True


def combine(draft: Draft, at: int, rng: np.random.Generator, grammar: Grammar) -> bool:
    """6. The node becomes the sum, product or difference of an ancestor of its own and one of any
    node's. Ancestors that depend on the node itself would close a circle, and are left out.
    """
    other = _one(rng, list(draft.nodes))
    theirs = [v for v in draft.ancestors(other) if v != at and at not in draft.ancestors(v)]
    if not theirs:
        return False
    own = _one(rng, draft.ancestors(at))
    draft.nodes[at] = Node(_one(rng, grammar.elementwise), (own, _one(rng, theirs)))
    return True


MUTATIONS: tuple[Mutation, ...] = (
    *(other_activation, other_operation, insert, remove, shrink, combine),
)


def mutant(parent: Graph, rng: np.random.Generator, grammar: Grammar) -> tuple[Graph, int]:
    """A cell made of the parent, another graph than it, and how many draws that took."""
    for tried in range(1, TRIES + 1):
        made = changed(parent, rng, grammar)
        if made != parent and why_not(made, grammar.limits) is None:
            return made, tried
    raise RuntimeError(f"no mutant in {TRIES:,} draws is a cell within {grammar.limits}")


def changed(parent: Graph, rng: np.random.Generator, grammar: Grammar) -> Graph:
    """The parent after one draw of mutations; it need not be a cell."""
    draft = Draft(parent)
    places = list(draft.nodes)
    if grammar.mutate == "each":
        p = rng.random()
        chosen = [at for at in places if rng.random() < p]
    else:
        chosen = [_one(rng, places) for _ in range(int(rng.integers(1, 4)))]
    for at in chosen:
        if at in draft.nodes:  # an earlier one may have taken it away
            mutate_at(draft, at, rng, grammar)
    return draft.drawn()


def mutate_at(draft: Draft, at: int, rng: np.random.Generator, grammar: Grammar) -> None:
    """One mutation, drawn among those that can act here."""
    for k in rng.permutation(len(MUTATIONS)):
        if MUTATIONS[k](draft, at, rng, grammar):
            return


def _one(rng: np.random.Generator, things: list[T] | tuple[T, ...]) -> T:
    return things[int(rng.integers(len(things)))]
