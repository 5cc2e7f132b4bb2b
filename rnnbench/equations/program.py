"""One step of a cell as values: the representation that every engine and printer reads.

`trace` makes it of the cell's function. The loop, C++, Unicode, LaTeX, counts, gates and the search
for what is not finite are readers of it; `operations` says what each of its operations is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Union

from rnnbench.equations.shapes import UNITS, Shape

MATRICES, VECTORS = ("W", "R"), ("p", "b")
FAMILIES = MATRICES + VECTORS
LEAVES = ("x", "state", *VECTORS)
FIRST, LEARNT = "first", "learnt"  # starts of a state: 1 at its first place and 0 elsewhere

Argument = Union["Value", float]


@dataclass(frozen=True, eq=False)
class Value:
    """One value of a step: a leaf, a product with a matrix, or an operation on other values.

    op: x, state, p or b (a leaf); W or R (the matrix `block` of that family times args[0]); else
        the name of an operation.
    block: the name of the state, of the vector, or of the matrix.
    """

    op: str
    args: tuple[Argument, ...] = ()
    block: str = ""

    @property
    def inputs(self) -> tuple["Value", ...]:
        return tuple(a for a in self.args if isinstance(a, Value))

    @property
    def owned(self) -> tuple[str, str]:
        """The block that this value reads: ("R", "z")."""
        return self.op, self.block

    # Derivatives are written with these.
    def __add__(self, other: Argument) -> "Value":
        return Value("add", (self, other))

    def __sub__(self, other: Argument) -> "Value":
        return Value("sub", (self, other))

    def __rsub__(self, other: float) -> "Value":
        return Value("sub", (other, self))

    def __mul__(self, other: Argument) -> "Value":
        return Value("mul", (self, other))

    def __truediv__(self, other: Argument) -> "Value":
        return Value("div", (self, other))

    def __neg__(self) -> "Value":
        return Value("neg", (self,))


@dataclass(frozen=True)
class Program:
    """A cell's equations.

    state: the names of the states; the first is the output.
    values: everything that the new states depend on, in the order of the equations.
    results: the new states, in the order of `state`.
    names: value → the name that the equations give it; a new state has its state's name.
    shapes: of the values that are not one number a unit, or of all.
    starts: state → what it is before the first step, where that is not 0: a number, `FIRST`, or
        `LEARNT`.
    """

    function: Callable[..., Any]
    state: tuple[str, ...]
    values: tuple[Value, ...]
    results: tuple[Value, ...]
    names: dict[Value, str]
    shapes: dict[Value, Shape] = field(default_factory=dict)
    starts: dict[str, float | str] = field(default_factory=dict)

    def shape(self, value: Value) -> Shape:
        return self.shapes.get(value, UNITS)

    @property
    def state_shapes(self) -> tuple[Shape, ...]:
        return tuple(map(self.shape, self.results))

    @property
    def carried(self) -> dict[str, Shape]:
        """The states that the next step reads, with their shapes: an output may be none of them."""
        read = {v.block for v in self.values if v.op == "state"}
        states = zip(self.state, self.state_shapes, strict=True)
        return {name: shape for name, shape in states if name in read}

    @property
    def learnt(self) -> tuple[str, ...]:
        """The states whose start is a parameter."""
        return tuple(name for name, start in self.starts.items() if start == LEARNT)

    @cached_property
    def plain(self) -> bool:
        """Whether every value is one number a unit, and every state starts at 0."""
        return not self.starts and all(shape == UNITS for shape in self.shapes.values())

    @property
    def computed(self) -> tuple[Value, ...]:
        """The values that are no leaves."""
        return tuple(v for v in self.values if v.op not in LEAVES)

    def products(self, family: str) -> tuple[Value, ...]:
        return tuple(v for v in self.values if v.op == family)

    def users(self) -> dict[Value, list[Value | None]]:
        """Who reads each value, each reader once; None: it is a new state."""
        readers: dict[Value, list[Value | None]] = {v: [] for v in self.values}
        for v in self.values:
            for read in dict.fromkeys(v.inputs):
                readers[read].append(v)
        for result in dict.fromkeys(self.results):
            readers[result].append(None)
        return readers


def ordered(
    values: Iterable[Value], follows: Callable[[Value], bool] = lambda _: True
) -> tuple[Value, ...]:
    """The values and all that they depend on, arguments first, each once; past an argument that
    `follows` refuses nothing is looked at.
    """
    found: dict[Value, None] = {}

    def visit(value: Value) -> None:
        if value in found:
            return
        for arg in value.inputs:
            if follows(arg):
                visit(arg)
        found[value] = None

    for value in values:
        visit(value)
    return tuple(found)
