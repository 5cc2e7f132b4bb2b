"""Evidence that what trains is what the equations say, for any cell: `verify(function)`.

The planned computation is held against an independent scalar reference, against the literal
equations, and against torch.nn where the mathematics coincide. Errors are relative to the largest
entry of the quantity compared.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import torch

from rnnbench.engine import loop
from rnnbench.engine.library import Twin, is_ours, twin_of
from rnnbench.equations.plan import Plan, plan
from rnnbench.equations.shapes import sizes
from rnnbench.evidence import scalar
from rnnbench.evidence.arithmetic import Step
from rnnbench.evidence.problem import (
    H,
    I,
    Problem,
    Quantities,
    counted,
    differences,
    differentiated,
    draw,
    library,
    literal,
    planned,
)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. passed: None where there is nothing to compare with."""

    name: str
    passed: bool | None
    detail: str


def verify(function: Callable[..., Any], constants: Mapping[str, Any] | None = None) -> list[Check]:
    """Everything that can be said for the cell `function` with these constants.

    UserError if it is not a cell.
    """
    made, given = plan(function, constants), dict(constants or {})
    if not made.program.plain:
        return [one_by_one(made), shaped_counts(made)]
    problem = draw(made)
    return [
        against_scalar(made, problem, reference(function, given), given),
        against_literal(made, problem, given),
        *_against_library(made, problem),
        counts(made, problem),
        reaches(made, problem, given),
    ]


def reference(function: Callable[..., Any], constants: Mapping[str, Any]) -> Step | None:
    """The scalar reference for one of our cells, if there is one and it knows these constants."""
    step = scalar.find(function.__name__) if is_ours(function) else None
    return step if step and set(constants) <= set(inspect.signature(step).parameters) else None


def against_scalar(
    made: Plan, problem: Problem, step: Step | None, constants: Mapping[str, Any]
) -> Check:
    """Values and gradients of the planned computation equal those of plain Python numbers."""
    name = "scalar reference"
    if step is None:
        return Check(name, None, "no independent reference")
    try:
        expected = counted(problem, step, constants)
    except KeyError as missing:
        return Check(name, False, f"the reference has a block {missing} that the cell lacks")
    except TypeError as wrong:
        return Check(name, False, f"the reference takes other states: {wrong}")
    return _compared(name, differentiated(problem, planned(made)), expected, torch.float64)


def against_literal(made: Plan, problem: Problem, constants: Mapping[str, Any]) -> Check:
    """Values and gradients of the planned computation equal those of the function itself, one
    vector at a time.
    """
    expected = differentiated(problem, literal(made.program.function, constants, made.state))
    return _compared(
        "literal equations", differentiated(problem, planned(made)), expected, torch.float64
    )


def _against_library(made: Plan, problem: Problem) -> list[Check]:
    twin = twin_of(made)
    return [against_library(made, problem, twin, dtype) for dtype in TOLERANCE] if twin else []


def against_library(made: Plan, problem: Problem, twin: Twin, dtype: torch.dtype) -> Check:
    """Values and gradients of the planned computation equal those of torch.nn."""
    module = twin.module(I, H, **twin.options).to(dtype)
    forward = library(module, twin.gates, twin.inner, made.state)
    expected = differentiated(problem.to(dtype), forward)
    name = f"torch.{twin.name}, {str(dtype).removeprefix('torch.')}"
    return _compared(name, differentiated(problem.to(dtype), planned(made)), expected, dtype)


def counts(made: Plan, problem: Problem) -> Check:
    """As many parameters are created as are counted, printed as a formula, and read by the
    equations.
    """
    created = sum(map(prod, made.shapes(I, H).values()))
    read = sum(tensor[0].numel() for tensor in problem.blocks.values())
    printed = evaluated(made.formula, I, H)
    counted = made.count(I, H)
    detail = (
        f"{made.formula} with d={I}, n={H}: {printed}; counted {counted}, created "
        f"{created}, read by the equations {read}"
    )
    return Check("parameter count", created == read == printed == counted, detail)


def one_by_one(made: Plan) -> Check:
    """What trains equals each value of the equations computed where it stands, nothing hoisted or
    fused; for cells whose function cannot be called on tensors, because of its shapes.
    """
    placed, K, T, B, hidden = made.at(5), 2, 3, 2, 12 * made.multiple
    program, generator = placed.program, torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)

    params = {name: drawn(K, *shape) for name, shape in placed.shapes(I, hidden).items()}
    x = drawn(K, T, B, I)
    shapes = [sizes(shape, hidden) for shape in program.state_shapes]
    start = tuple(drawn(K, B, *shape).abs() for shape in shapes)
    outputs, last = loop.unroll(placed, params, x, start)
    state = start
    blocks = loop.blocks_of(placed, params, hidden)
    for t in range(T):
        now = {
            owned: loop.in_axes(x[:, t] @ matrix, sizes(placed.shape(*owned), hidden))
            for owned, matrix in blocks.items()
            if owned[0] == "W"
        }
        values = loop.evaluate(program, blocks | now, dict(zip(program.state, state, strict=True)))
        state = tuple(
            values[result].expand_as(s) for result, s in zip(program.results, start, strict=True)
        )
        outputs[:, t] -= state[0].flatten(2)
    far = max(
        outputs.abs().max().item(),
        *((a - b).abs().max().item() for a, b in zip(last, state, strict=True)),
    )
    return Check(
        "equations one by one", far < TOLERANCE[torch.float64], f"largest difference {far:.0e}"
    )


def shaped_counts(made: Plan) -> Check:
    """The same of a cell with shapes of its own: as many are created as the formula says."""
    inputs, hidden = I, 12 * made.multiple
    placed = made.at(9)
    created, printed = placed.count(inputs, hidden), evaluated(placed.formula, inputs, hidden)
    detail = f"{placed.formula} with d={inputs}, n={hidden}: {printed}; created {created}"
    return Check("parameter count", created == printed, detail)


def evaluated(formula: str, d: int, n: int) -> int:
    """'4dn + 4n² + 7n + 3' as a number."""
    powers = {"": 1, "n": n, "n²": n * n, "n³": n**3}
    terms = re.findall(r"(?:^|\+ )(\d*(?:/\d+)?)(d?)(n[²³]?|)", formula)
    return int(
        sum(Fraction(times or 1) * (d if by else 1) * powers[unit] for times, by, unit in terms)
    )


def reaches(made: Plan, problem: Problem, constants: Mapping[str, Any]) -> Check:
    """No block is idle: an unused one would be counted, and make comparisons at equal size
    unfair.
    """
    found = differentiated(problem, literal(made.program.function, constants, made.state))
    idle = [name for name in problem.blocks if not found[f"the gradient of {name}"].any()]
    detail = (
        f"without effect on outputs and states: {', '.join(idle)}"
        if idle
        else f"all {len(problem.blocks)} blocks act on outputs or states"
    )
    return Check("no idle block", not idle, detail)


def _compared(name: str, got: Quantities, expected: Quantities, dtype: torch.dtype) -> Check:
    errors = {what: error for error, what in differences(got, expected)}
    worst = max(
        errors, key=lambda what: errors[what] if errors[what] == errors[what] else float("inf")
    )
    detail = (
        f"largest error {errors[worst]:.1e} of the largest entry, in {worst}; allowed "
        f"{TOLERANCE[dtype]:.0e}"
    )
    return Check(name, errors[worst] <= TOLERANCE[dtype], detail)
