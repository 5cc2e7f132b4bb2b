"""What a search starts from and is measured by, as a graph: a cell of ours, or one of a user's.

A graph says less than equations do: seven activations, product, sum and difference, a bias with
every matrix, one projection of x as it is. A cell that needs more is refused, and so is one whose
graph would not compute what the cell computes.
"""

from collections.abc import Iterator
from inspect import isfunction

from rnnbench import catalogue
from rnnbench.equations.program import MATRICES, Argument, Program, Value
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError
from rnnbench.search.graph import LINEAR, NONLINEAR, REFERENCES, Graph, Sketch
from rnnbench.search.identity import fingerprint
from rnnbench.search.writing import compiled, function_text

SUMS = ("add", "sub", "neg")


def start(name: str, typed: str) -> Graph:
    """The cell called `name`, of ours or `path/to/file.py:name`, as a graph.

    UserError where no graph computes what it computes.
    """
    if typed in REFERENCES:
        return REFERENCES[typed]
    program = _program(typed)
    found = as_graph(program, f"references: {typed}")
    text = function_text(found, name)
    if fingerprint(trace(compiled(text, name))) != fingerprint(program):  # type: ignore[arg-type]
        raise UserError(
            f"references: {typed} has no graph that computes the same; the nearest is\n{text}"
            f"write the cell so, or leave it out"
        )
    return found


def _program(typed: str) -> Program:
    own = catalogue.is_file(typed)
    step = typed if own else catalogue.step(typed)
    function = catalogue.resolve(step or "", "references")
    if not isfunction(function):
        raise UserError(f"references: {typed} is a layer without equations; a search mutates cells")
    return trace(function, {} if own else catalogue.read("cell", typed).get("constants"))


def as_graph(program: Program, what: str) -> Graph:
    """The equations as a graph. what: begins the message where they cannot be one."""
    if not program.plain:
        raise UserError(f"{what} has states or values with shapes of their own; graphs have none")
    return _Reader(program, what).graph()


class _Reader:
    """Values of a program as nodes of a graph."""

    def __init__(self, program: Program, what: str) -> None:
        self.program, self.what = program, what
        self.users = program.users()
        self.sketch = Sketch(*program.state)
        self.known: dict[Value, int] = {}

    def graph(self) -> Graph:
        results = [self.number(value) for value in self.program.results]
        return self.sketch.drawn(*results)

    def number(self, value: Argument) -> int:
        """The number of the value in the graph."""
        if not isinstance(value, Value):
            raise self.cannot(f"the number {value:g} alone")
        if value not in self.known:
            self.known[value] = self.made(value)
        return self.known[value]

    def made(self, value: Value) -> int:
        if value.op == "state":
            return 1 + self.program.state.index(value.block)
        if value.op in (*SUMS, *MATRICES, "b"):
            return self.sum(value)
        if value.op == "mul":
            return self.product(value)
        if value.op in NONLINEAR:
            return self.sketch.put(value.op, self.number(value.args[0]))
        raise self.cannot(f"{value.op}.{value.block}" if value.block else f"'{value.op}'")

    def product(self, value: Value) -> int:
        """(1 - z) * n is n - z * n, and 2 * v is v + v: graphs have no numbers."""
        for gate, other in (value.args, value.args[::-1]):
            if isinstance(gate, Value) and gate.op == "sub" and gate.args[0] == 1:
                kept = self.number(other)
                return self.sketch.put(
                    "sub", kept, self.sketch.put("mul", self.number(gate.args[1]), kept)
                )
            if gate == 2:
                return self.sketch.put("add", self.number(other), self.number(other))
        return self.sketch.put("mul", *map(self.number, value.args))

    def sum(self, value: Value) -> int:
        """A sum with all sums that only it reads; its bias goes to its matrices."""
        terms = list(self.terms(value, 1))
        biased = any(term.op == "b" for _, term in terms)
        rest = [(sign, term) for sign, term in terms if term.op != "b"]
        if biased and not any(term.op in MATRICES for _, term in rest):
            raise self.cannot("a bias without a matrix")
        rest.sort(key=lambda term: -term[0])  # one with a plus sign is first
        numbers = [(sign, self.term(term, biased)) for sign, term in rest]
        if numbers[0][0] < 0:
            raise self.cannot("a sum of negative terms alone")
        made = numbers[0][1]
        for sign, number in numbers[1:]:
            made = self.sketch.put("add" if sign > 0 else "sub", made, number)
        return made

    def terms(self, value: Argument, sign: int, inner: bool = False) -> Iterator[tuple[int, Value]]:
        if not isinstance(value, Value):
            raise self.cannot(f"the number {value:g} in a sum")
        if value.op not in SUMS or (inner and len(self.users[value]) > 1):
            yield sign, value
            return
        signs = {"add": (sign, sign), "sub": (sign, -sign), "neg": (-sign,)}[value.op]
        for each, arg in zip(signs, value.args, strict=True):
            yield from self.terms(arg, each, inner=True)

    def term(self, term: Value, biased: bool) -> int:
        if term.op not in MATRICES:
            return self.number(term)
        operand = term.args[0]
        of_x = isinstance(operand, Value) and operand.op == "x"
        if of_x and not biased:
            return 0  # x as it is, which is one projection wherever it is read
        if not biased:
            raise self.cannot(f"{term.op}.{term.block} without a bias")
        return self.sketch.put(f"{LINEAR} 0", 0 if of_x else self.number(operand))

    def cannot(self, found: str) -> UserError:
        return UserError(
            f"{self.what} cannot be the start of a search: {found}; candidates are made of "
            f"{', '.join(NONLINEAR)}, products, sums, and matrices with a bias"
        )
