"""Which cell is it? Beside the canonical form, which names and the order of terms leave alone, a
fingerprint of what the cell computes, which algebra leaves alone too.

Two cells have one fingerprint if they compute the same new states from the same weights, whatever
the equations look like: z ⊙ h + (1 - z) ⊙ n and n + z ⊙ (h - n) are the GRU.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from inspect import isfunction

import torch
from torch import Tensor

from rnnbench.catalogue import cells, read, resolve
from rnnbench.engine.loop import evaluate
from rnnbench.equations.canonical import canonical as canonical
from rnnbench.equations.program import FAMILIES, LEAVES, MATRICES, Program, Value
from rnnbench.equations.trace import trace
from rnnbench.search.graph import REFERENCES

DRAWS, ROWS, UNITS = 3, 2, 4  # replicas with weights of their own; examples; width
DIGITS = 9  # after the point: far above rounding, far below any difference
Owned = tuple[str, str]  # ("R", "z")


def fingerprint(program: Program) -> str:
    """Sixteen hexadecimal digits of what the cell computes: new states for three draws of weights,
    inputs and states, in double precision.

    Weights go to blocks by what a block does, never by its name. What it does is seen by giving
    every block of a family one and the same weight, and this one another.
    """
    draw = _Draws()
    states = {name: draw.take("state", k) for k, name in enumerate(program.state)}
    owned = [v.owned for v in program.values if v.op in FAMILIES]
    same = {owner: draw.take(owner[0], 0) for owner in owned}

    def seen(blocks: Mapping[Owned, Tensor]) -> tuple[float, ...]:
        found = evaluate(program, blocks, states)
        rounded = [torch.round(found[v], decimals=DIGITS) + 0.0 for v in program.results]
        return tuple(torch.cat([r.expand(DRAWS, ROWS, UNITS).flatten() for r in rounded]).tolist())

    roles = {owner: seen(same | {owner: draw.take(owner[0], 1)}) for owner in owned}
    given: dict[Owned, Tensor] = {}
    for family in FAMILIES:
        members = sorted((o for o in owned if o[0] == family), key=lambda o: _comparable(roles[o]))
        given |= {owner: draw.take(family, 2 + k) for k, owner in enumerate(members)}
    return _digest(repr(seen(given)))[:16]


def _comparable(role: tuple[float, ...]) -> tuple[float, ...]:
    """nan is not below anything, and would leave the order to chance."""
    return tuple(-1e300 if value != value else value for value in role)


class _Draws:
    """Tensors (DRAWS, …) by kind and number; the same ones at all times."""

    def take(self, kind: str, number: int) -> Tensor:
        return _drawn(kind, number)


@cache
def _drawn(kind: str, number: int) -> Tensor:
    rows, scale = {"R": (UNITS, 0.7), "p": (1, 1.0), "b": (1, 0.5)}.get(kind, (ROWS, 1.0))
    seed = int(_digest(f"{kind} {number}")[:8], 16)
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(DRAWS, rows, UNITS, generator=generator, dtype=torch.float64)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def known() -> dict[str, str]:
    """Fingerprint → the name of a cell of ours."""
    found: dict[str, str] = {}
    for name, function, constants in _ours():
        program = trace(function, constants)  # type: ignore[arg-type]
        if program.plain:  # no candidate of a search is another
            found.setdefault(fingerprint(program), name)
    return found


def _ours() -> Iterator[tuple[str, Callable[..., object], dict[str, float]]]:
    """Every cell of ours once; what has several names is called as searches call it, else by the
    shortest.
    """
    seen: set[str] = set()
    names = sorted(cells(), key=lambda name: (name not in REFERENCES, len(name), name))
    for name in names:
        values = read("cell", name)
        step = values.get("step")
        if step is None or step in seen:
            continue
        seen.add(step)
        function = resolve(step, "cell.step")
        if isfunction(function):  # else it is a layer of another kind
            yield name, function, values.get("constants") or {}


def reads(program: Program) -> list[set[int]]:
    """Of every new state what it depends on: 0 is x, 1 … the states."""
    number = {name: 1 + k for k, name in enumerate(program.state)}
    found: dict[Value, set[int]] = {}
    for v in program.values:
        found[v] = set().union(*(found[a] for a in v.inputs))
        if v.op in ("x", "state"):
            found[v] = {number.get(v.block, 0)}
    return [found[v] for v in program.results]


def depth(program: Program) -> int:
    """The longest way from x or a state to a new state, in operations and products."""
    longest: dict[Value, int] = {}
    for v in program.values:
        longest[v] = max((longest[a] for a in v.inputs), default=0) + (v.op not in LEAVES)
    return max(longest[v] for v in program.results)


def products(program: Program) -> int:
    """How many matrices it has."""
    return sum(v.op in MATRICES for v in program.values)
