"""The reference engine: a plain loop over time, differentiated by autograd, on any device.

Axes: K replicas   T time steps   B batch   I input width   G stacked blocks   H state width.
"""

import operator
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, fx, stack
from torch.nn import functional as F

from rnnbench.equations.operations import OPERATIONS
from rnnbench.equations.plan import Plan
from rnnbench.equations.program import MATRICES, VECTORS, Program, Value

Params = dict[str, Tensor]  # one layer: "W" (K, I, ·H), "R0"… (K, H, ·H), "p" and "b" (K, ·H)
State = tuple[Tensor, ...]  # each (K, B, H), in the order of `plan.state`


def unroll(plan: Plan, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
    """All steps from `state`: the outputs (K, T, B, H) and the last state.

    x: inputs (K, T, B, I), or symbols (K, T, B).
    """
    return along(plan, params, input_product(plan, params, x), state)


def along(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> tuple[Tensor, State]:
    """The same, from the hoisted product of the inputs."""
    fixed, step = _fixed(plan, params), step_of(plan)
    outputs = []
    for wx in _parts(plan, wx_KTBG):
        state = step(*wx, *fixed, *state)
        outputs.append(state[0])
    return stack(outputs, 1), state


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
    biases = vectors(plan, params, "b")
    carried = {block: biases[bias] for bias, block in plan.folded.items()}
    zero = torch.zeros_like(next(iter(carried.values())))
    return torch.cat([carried.get(block, zero) for block in plan.blocks["W"]], -1)


def gate_values(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> dict[str, Tensor]:
    """What every gate does along the sequences: name → (K, T, B, H)."""
    fixed = _fixed(plan, params)
    probe = _emit(plan, (*plan.program.results, *plan.gates.values()))
    values = []
    for wx in _parts(plan, wx_KTBG):
        found = probe(*wx, *fixed, *state)
        state = found[: len(state)]
        values.append(found[len(state) :])
    return {gate: stack([v[k] for v in values], 1) for k, gate in enumerate(plan.gates)}


def _parts(plan: Plan, wx_KTBG: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The hoisted product, step by step, in the parts that a step takes."""
    width = wx_KTBG.shape[-1] // len(plan.blocks["W"])
    parts = wx_KTBG.split([len(names) * width for names in plan.parts], -1)
    return zip(
        *(part.unbind(1) for part in parts), strict=True
    )  # unbind: its gradient is one stack, not T padded slices


def _fixed(plan: Plan, params: Params) -> tuple[Tensor | dict[str, Tensor], ...]:
    """The arguments of a step that do not change over time."""
    products = [params[f"R{g}"] for g in range(len(plan.groups))]
    return *products, vectors(plan, params, "p"), vectors(plan, params, "b")


def vectors(plan: Plan, params: Params, family: str) -> dict[str, Tensor]:
    """The blocks of `p` or `b` by name, each (K, 1, H)."""
    names = plan.blocks[family]
    return (
        dict(zip(names, params[family].unsqueeze(1).chunk(len(names), -1), strict=True))
        if names
        else {}
    )


def step_of(plan: Plan) -> fx.GraphModule:
    """One step as code: step(*parts (K, B, ·), *R_groups, p, b, *state (K, B, H)) → new states.

    The parts are those of `plan.parts`; p and b are dictionaries of (K, 1, H).
    """
    return _emit(plan, plan.program.results)


@lru_cache(maxsize=512)
def _emit(plan: Plan, wanted: tuple[Value, ...]) -> fx.GraphModule:
    """The step's arguments → the values wanted, with its products hoisted and fused as planned."""
    graph = fx.Graph()
    parts = {names: graph.placeholder(f"wx_{'_'.join(names)}") for names in plan.parts}
    weights = {operand: graph.placeholder(f"R{g}") for g, (operand, _) in enumerate(plan.groups)}
    vectors = {family: graph.placeholder(family) for family in VECTORS}
    state = {name: graph.placeholder(name) for name in plan.state}
    absorbed = set(plan.absorbed.values())
    names_on = dict(plan.groups)
    columns: dict[str, fx.Node] = {}  # block of R → its columns of the fused product
    made: dict[Value, fx.Node] = {}

    for v in plan.program.values:
        if v.op == "state":
            made[v] = state[v.block]
        elif v.op in VECTORS and v.owned not in absorbed:
            made[v] = graph.call_function(operator.getitem, (vectors[v.op], v.block))
        elif v.op == "R":
            if v.block not in columns:  # the first product on this operand: compute them all
                operand = v.inputs[0]
                product = (made[operand], weights[operand])
                if ridden := plan.riding.get(operand):
                    fused = graph.call_function(torch.baddbmm, (parts[ridden], *product))
                else:
                    fused = graph.call_function(torch.bmm, product)
                columns |= _split(graph, fused, names_on[operand])
            made[v] = columns[v.block]
        elif v.op == "W" and (v.block,) in parts and (v.block,) not in plan.riding.values():
            made[v] = parts[(v.block,)]
        elif v in plan.absorbed:
            if (present := _other(v, plan.absorbed[v], made)) is not None:
                made[v] = present
        elif v.op in OPERATIONS:
            args = tuple(made[a] if isinstance(a, Value) else a for a in v.args)
            made[v] = graph.call_function(OPERATIONS[v.op].compute, args)
    graph.output(tuple(made[v] for v in wanted))
    graph.eliminate_dead_code()
    return fx.GraphModule({}, graph)


def _other(total: Value, term: tuple[str, str], made: Mapping[Value, fx.Node]) -> fx.Node | None:
    """What a sum already is whose term rides on the other; None if that other rides later."""
    if term[0] == "R":
        return next(made[a] for a in total.inputs if a.owned == term)
    return next((made[a] for a in total.inputs if a in made), None)


def _split(graph: fx.Graph, fused: fx.Node, names: tuple[str, ...]) -> dict[str, fx.Node]:
    if len(names) == 1:
        return {names[0]: fused}
    parts = graph.call_function(torch.chunk, (fused, len(names), -1))
    return {name: graph.call_function(operator.getitem, (parts, k)) for k, name in enumerate(names)}


def evaluate(
    program: Program, blocks: Mapping[tuple[str, str], Tensor], state: Mapping[str, Tensor]
) -> dict[Value, Any]:
    """Every value of one step as the equations compute it, nothing fused: (K, B, H) each.

    blocks: ("W", name) → the product with x (K, B, H); ("R", name) → the matrix (K, H, H);
        ("p", name), ("b", name) → the vector (K, 1, H).
    """
    found: dict[Value, Any] = {}
    for v in program.values:
        if v.op == "state":
            found[v] = state[v.block]
        elif v.op == "R":
            found[v] = torch.bmm(found[v.inputs[0]], blocks[v.owned])
        elif v.op in (*MATRICES, *VECTORS):
            found[v] = blocks[v.owned]
        elif v.op in OPERATIONS:
            args = (found[a] if isinstance(a, Value) else a for a in v.args)
            found[v] = OPERATIONS[v.op].compute(*args)
    return found
