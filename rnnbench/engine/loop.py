"""The reference engine: a plain loop over time, differentiated by autograd, on any device.

Axes: K replicas   T time steps   B batch   I input width   G stacked blocks   H state width.
"""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, stack
from torch.nn import functional as F

from rnnbench.equations.operations import OPERATIONS
from rnnbench.equations.plan import Plan
from rnnbench.equations.program import MATRICES, VECTORS, Program, Value, ordered
from rnnbench.equations.shapes import UNITS, Shape, sizes

Params = dict[str, Tensor]  # one layer: "W" (K, I, ·H), "R0"… (K, H, ·H), "p" and "b" (K, ·H)
State = tuple[Tensor, ...]  # each (K, B, H) or of its own shape, in the order of `plan.state`


def unroll(plan: Plan, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
    """All steps from `state`: the outputs (K, T, B, H) and the last state.

    x: inputs (K, T, B, I), or symbols (K, T, B).
    """
    return along(plan, params, input_product(plan, params, x), state)


def along(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> tuple[Tensor, State]:
    """The same, from the hoisted product of the inputs."""
    hidden = units(state)
    fixed = _fixed(plan, params, hidden)
    step = _emit(plan, plan.program.results, _written_for(plan, hidden), plan.early)
    early = _before_time(plan, params, wx_KTBG, hidden)
    outputs = []
    for wx, found in zip(_step_by_step(plan, wx_KTBG, hidden), early, strict=True):
        state = step(*wx, *fixed, *found, *state)
        outputs.append(state[0])
    return stack(outputs, 1).flatten(3), state


def _before_time(
    plan: Plan, params: Params, wx_KTBG: Tensor, hidden: int
) -> Iterator[tuple[Tensor, ...]]:
    """What depends on inputs alone, for all steps at once: step by step the values `plan.early`."""
    steps = wx_KTBG.shape[1]
    if not plan.early:
        return iter([()] * steps)
    vectors_at = [
        {name: vector.unsqueeze(1) for name, vector in vectors(plan, params, f, hidden).items()}
        for f in VECTORS
    ]
    compute = _emit_early(plan, _written_for(plan, hidden))
    found = compute(*_parts(plan, wx_KTBG, hidden), *vectors_at)
    alike = (v.expand(v.shape[0], steps, *v.shape[2:]) for v in found)  # a number is for all steps
    return zip(*(value.unbind(1) for value in alike), strict=True)


def units(state: State) -> int:
    """H: the numbers of the first state, which is the output."""
    return math.prod(state[0].shape[2:])


def input_product(plan: Plan, params: Params, x: Tensor) -> Tensor:
    """W x for all steps at once, with the biases that ride on it: (K, T, B, G).

    x: (K, T, B, I), or symbols (K, T, B).
    """
    return product(x, params["W"], _folded_bias(plan, params))


def product(x: Tensor, W: Tensor, bias: Tensor | None = None) -> Tensor:
    """W x at every step, plus a bias: (K, T, B, G).

    x: (K, T, B, I), or symbols (K, T, B), which select rows; W: (K, I, G); bias: (K, 1, G).
    """
    K, T, B = x.shape[:3]
    if not x.is_floating_point():  # a symbol selects a row; K tables are one table with offsets
        rows = x + torch.arange(K, device=x.device).view(K, 1, 1) * W.shape[1]
        table = W if bias is None else W + bias
        return F.embedding(rows, table.flatten(0, 1))
    x = x.flatten(1, 2)
    made = torch.bmm(x, W) if bias is None else torch.baddbmm(bias, x, W)
    return made.view(K, T, B, W.shape[-1])


def _folded_bias(plan: Plan, params: Params) -> Tensor | None:
    """(K, 1, G): for every input block the bias that rides on it, else zeros."""
    if not plan.folded:
        return None
    biases = vectors(plan, params, "b", params["b"].shape[-1] // len(plan.blocks["b"]))
    carried = {block: biases[bias] for bias, block in plan.folded.items()}
    zero = torch.zeros_like(next(iter(carried.values())))
    return torch.cat([carried.get(block, zero) for block in plan.blocks["W"]], -1)


def gate_values(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> dict[str, Tensor]:
    """What every gate does along the sequences: name → (K, T, B, H), or as many as it
    has.
    """
    hidden = units(state)
    fixed = _fixed(plan, params, hidden)
    wanted = (*plan.program.results, *plan.gates.values())
    probe = _emit(plan, wanted, _written_for(plan, hidden))
    values = []
    for wx in _step_by_step(plan, wx_KTBG, hidden):
        found = probe(*wx, *fixed, *state)
        state = found[: len(state)]
        values.append([in_one(value) for value in found[len(state) :]])
    return {gate: stack([v[k] for v in values], 1) for k, gate in enumerate(plan.gates)}


def _parts(plan: Plan, wx_KTBG: Tensor, hidden: int) -> tuple[Tensor, ...]:
    """The hoisted product in the parts that a step takes."""
    widths = [sum(plan.columns("W", names, hidden)) for names in plan.parts]
    parts: tuple[Tensor, ...] = wx_KTBG.split(widths, -1)
    return parts


def _step_by_step(plan: Plan, wx_KTBG: Tensor, hidden: int) -> Iterator[tuple[Tensor, ...]]:
    """Those parts for each step. unbind: its gradient is one stack, not T padded slices."""
    return zip(*(part.unbind(1) for part in _parts(plan, wx_KTBG, hidden)), strict=True)


def _written_for(plan: Plan, hidden: int) -> int:
    """The units that a step's code is written for; 0: for any, since no shape is in it."""
    return 0 if plan.program.plain else hidden


def _fixed(plan: Plan, params: Params, hidden: int) -> tuple[Tensor | dict[str, Tensor], ...]:
    """The arguments of a step that do not change over time."""
    products = [params[f"R{g}"] for g in range(len(plan.groups))]
    return *products, *(vectors(plan, params, family, hidden) for family in VECTORS)


def vectors(plan: Plan, params: Params, family: str, hidden: int) -> dict[str, Tensor]:
    """The blocks of `p` or `b` by name, each (K, 1, H) or of its own shape."""
    names = plan.blocks[family]
    if not names:
        return {}
    parts = params[family].unsqueeze(1).split(plan.columns(family, names, hidden), -1)
    shapes = [plan.shape(family, name) for name in names]
    return {
        name: part if shape == UNITS else in_axes(part, sizes(shape, hidden))
        for name, part, shape in zip(names, parts, shapes, strict=True)
    }


def blocks_of(plan: Plan, params: Params, hidden: int) -> dict[tuple[str, str], Tensor]:
    """Every block by its name: ("W", "z"), ("R", "z") are matrices (K, rows, columns), ("p", "z"),
    ("b", "z") vectors (K, 1, H).
    """
    found: dict[tuple[str, str], Tensor] = {}
    matrices = {"W": ("W", plan.blocks["W"])}
    matrices |= {f"R{g}": ("R", names) for g, (_, names) in enumerate(plan.groups)}
    for key, (family, names) in matrices.items():
        parts = params[key].split(plan.columns(family, names, hidden), -1)
        found |= {(family, name): part for name, part in zip(names, parts, strict=True)}
    for family in VECTORS:
        made = vectors(plan, params, family, hidden)
        found |= {(family, name): vector for name, vector in made.items()}
    return found


def step_of(plan: Plan, hidden: int = 0) -> fx.GraphModule:
    """One step as code: step(*parts (K, B, ·), *R_groups, p, b, *state (K, B, H)) → new states.

    The parts are those of `plan.parts`; p and b are dictionaries of (K, 1, H). hidden: needed where
    values have shapes of their own.
    """
    return _emit(plan, plan.program.results, _written_for(plan, hidden))


@lru_cache(maxsize=512)
def _emit_early(plan: Plan, hidden: int) -> fx.GraphModule:
    """The hoisted product in its parts, p and b → the values `plan.early`."""
    graph, program, made = fx.Graph(), plan.program, dict[Value, fx.Node]()
    parts = {names: graph.placeholder(f"wx_{'_'.join(names)}") for names in plan.parts}
    vectors = {family: graph.placeholder(family) for family in VECTORS}
    for v in ordered(plan.early):
        if v.op == "W":
            made[v] = _shaped(graph, parts[(v.block,)], program.shape(v), hidden)
        elif v.op in VECTORS:
            made[v] = graph.call_function(operator.getitem, (vectors[v.op], v.block))
        elif v.op in OPERATIONS:
            args = _aligned(program, v, made, _inserted)
            made[v] = graph.call_function(OPERATIONS[v.op].compute, args)
    graph.output(tuple(made[v] for v in plan.early))
    return fx.GraphModule({}, graph)


@lru_cache(maxsize=512)
def _emit(
    plan: Plan, wanted: tuple[Value, ...], hidden: int, early: tuple[Value, ...] = ()
) -> fx.GraphModule:
    """The step's arguments → the values wanted, with its products hoisted and fused as planned.

    early: values that are given, after p and b.
    """
    graph, program = fx.Graph(), plan.program
    parts = {names: graph.placeholder(f"wx_{'_'.join(names)}") for names in plan.parts}
    weights = {operand: graph.placeholder(f"R{g}") for g, (operand, _) in enumerate(plan.groups)}
    vectors = {family: graph.placeholder(family) for family in VECTORS}
    given = {v: graph.placeholder(f"early{k}") for k, v in enumerate(early)}
    state = {name: graph.placeholder(name) for name in plan.state}
    absorbed = set(plan.absorbed.values())
    names_on = dict(plan.groups)
    columns: dict[str, fx.Node] = {}  # block of R → its columns of the fused product
    made: dict[Value, fx.Node] = {}

    for v in program.values:
        if v in given:
            made[v] = given[v]
        elif v.op == "state":
            made[v] = state[v.block]
        elif v.op in VECTORS and v.owned not in absorbed:
            made[v] = graph.call_function(operator.getitem, (vectors[v.op], v.block))
        elif v.op == "R":
            if v.block not in columns:  # the first product on this operand: compute them all
                operand = v.inputs[0]
                product = (_flat(graph, made[operand], program.shape(operand)), weights[operand])
                if ridden := plan.riding.get(operand):
                    fused = graph.call_function(torch.baddbmm, (parts[ridden], *product))
                else:
                    fused = graph.call_function(torch.bmm, product)
                columns |= _split(graph, fused, names_on[operand], plan, hidden)
            made[v] = _shaped(graph, columns[v.block], program.shape(v), hidden)
        elif v.op == "W" and (v.block,) in parts and (v.block,) not in plan.riding.values():
            made[v] = _shaped(graph, parts[(v.block,)], program.shape(v), hidden)
        elif v in plan.absorbed:
            if (present := _other(v, plan.absorbed[v], made)) is not None:
                made[v] = present
        elif v.op in OPERATIONS:
            args = _aligned(program, v, made, _inserted)
            made[v] = graph.call_function(OPERATIONS[v.op].compute, args)
    graph.output(tuple(made[v] for v in wanted))
    graph.eliminate_dead_code()
    return fx.GraphModule({}, graph)


def in_one(value: Tensor) -> Tensor:
    """All its axes as one: (K, B, ·)."""
    return value.reshape(*value.shape[:2], -1)


def in_axes(flat: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """The last axis as several, or as none."""
    return flat.view(*flat.shape[:-1], *lengths)


def _flat(graph: fx.Graph, node: fx.Node, shape: Shape) -> fx.Node:
    """An operand of a recurrent matrix as one vector."""
    return node if shape == UNITS else graph.call_function(in_one, (node,))


def _shaped(graph: fx.Graph, node: fx.Node, shape: Shape, hidden: int) -> fx.Node:
    """A product with a matrix in the shape that it stands for."""
    if shape == UNITS:
        return node
    return graph.call_function(in_axes, (node, sizes(shape, hidden)))


def _inserted(node: fx.Node, at: int) -> fx.Node:
    return node.graph.call_method("unsqueeze", (node, at))


def _aligned(
    program: Program, value: Value, made: Mapping[Value, Any], insert: Callable[[Any, int], Any]
) -> tuple[Any, ...]:
    """The arguments of an operation, with an axis of one wherever another argument has one more.

    insert: (argument, place) → the same with an axis there.
    """
    args = {a: made[a] for a in value.inputs}
    if any(program.shape(a) != UNITS for a in args):
        lacking = OPERATIONS[value.op].lacking([program.shape(a) for a in value.inputs])
        for a, (axes, at) in zip(value.inputs, lacking, strict=True):
            args[a] = made[a]
            for _ in range(axes):
                args[a] = insert(args[a], at)
    return tuple(args[a] if isinstance(a, Value) else a for a in value.args)


def _other(total: Value, term: tuple[str, str], made: Mapping[Value, fx.Node]) -> fx.Node | None:
    """What a sum already is whose term rides on the other; None if that other rides later."""
    if term[0] == "R":
        return next(made[a] for a in total.inputs if a.owned == term)
    return next((made[a] for a in total.inputs if a in made), None)


def _split(
    graph: fx.Graph, fused: fx.Node, names: tuple[str, ...], plan: Plan, hidden: int
) -> dict[str, fx.Node]:
    if len(names) == 1:
        return {names[0]: fused}
    if hidden:
        widths = plan.columns("R", names, hidden)
        parts = graph.call_function(torch.split, (fused, widths, -1))
    else:
        parts = graph.call_function(torch.chunk, (fused, len(names), -1))
    return {name: graph.call_function(operator.getitem, (parts, k)) for k, name in enumerate(names)}


def evaluate(
    program: Program, blocks: Mapping[tuple[str, str], Tensor], state: Mapping[str, Tensor]
) -> dict[Value, Any]:
    """Every value of one step as the equations compute it, nothing fused: (K, B, H) each, or of its
    own shape.

    blocks: ("W", name) → the product with x (K, B, H); ("R", name) → the matrix (K, H, H);
        ("p", name), ("b", name) → the vector (K, 1, H).
    """
    found: dict[Value, Any] = {}
    hidden = math.prod(state[program.state[0]].shape[2:])
    for v in program.values:
        if v.op == "state":
            found[v] = state[v.block]
        elif v.op == "R":
            made = torch.bmm(in_one(found[v.inputs[0]]), blocks[v.owned])
            found[v] = in_axes(made, sizes(program.shape(v), hidden))
        elif v.op in (*MATRICES, *VECTORS):
            found[v] = blocks[v.owned]
        elif v.op in OPERATIONS:
            found[v] = OPERATIONS[v.op].compute(*_aligned(program, v, found, Tensor.unsqueeze))
    return found
