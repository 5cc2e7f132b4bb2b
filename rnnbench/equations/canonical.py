"""The equations of a cell in a form that names and the order of terms leave alone."""

import hashlib

from rnnbench.equations.program import Program, Value
from rnnbench.equations.shapes import UNITS, written

COMMUTATIVE = ("add", "mul", "maximum", "minimum", "equal")


def canonical(program: Program) -> str:
    """The equations without names, operands in an order of their own: equal for cells that differ
    in names and in the order of sums and products. Shapes and starts belong to the equations.
    """
    shape: dict[Value, str] = {}
    for v in program.values:
        parts = [shape[a] if isinstance(a, Value) else repr(a) for a in v.args]
        parts = sorted(parts) if v.op in COMMUTATIVE else parts
        shape[v] = _digest(" ".join([v.op, _place(program, v), *_size(program, v), *parts]))
    number: dict[Value, int] = {}
    lines: list[str] = []

    def visit(v: Value) -> str:
        if v not in number:
            args = list(v.args)
            if v.op in COMMUTATIVE:
                args.sort(key=lambda a: shape[a] if isinstance(a, Value) else repr(a))
            read = [visit(a) if isinstance(a, Value) else f"{a:g}" for a in args]
            number[v] = len(number)
            lines.append(" ".join([f"{v.op}{_place(program, v)}", *_size(program, v), *read]))
        return f"#{number[v]}"

    results = [visit(v) for v in program.results]
    starts = [f"{program.state.index(s)} from {start}" for s, start in program.starts.items()]
    return "; ".join([*lines, " ".join(results), *starts])


def _place(program: Program, v: Value) -> str:
    return str(program.state.index(v.block)) if v.op == "state" else ""


def _size(program: Program, v: Value) -> list[str]:
    """The shape of a value, where it is not one number a unit."""
    shape = program.shape(v)
    return [] if shape == UNITS else [f"({written(shape)})"]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
