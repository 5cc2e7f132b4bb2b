"""The reference engine: a plain loop over time, differentiated by autograd, on any device.

Axes: K replicas   T time steps   B batch   I input width   G stacked blocks   H state width.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, stack
from torch.nn import functional as F

from rnnbench.equations.plan import Plan

Params = dict[str, Tensor]  # one layer: "W" (K, I, ·H), "R0"… (K, H, ·H), "p" and "b" (K, ·H)
State = tuple[Tensor, ...]  # each (K, B, H), in the order of `plan.state`


def unroll(plan: Plan, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
    """All steps from `state`: the outputs (K, T, B, H) and the last state.

    x: inputs (K, T, B, I), or symbols (K, T, B).
    """
    return along(plan, params, input_product(plan, params, x), state)


def along(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> tuple[Tensor, State]:
    """The same, from the hoisted product of the inputs."""
    fixed = _fixed(plan, params)
    outputs = []
    for wx in _parts(plan, wx_KTBG):
        state = plan.step(*wx, *fixed, *state)
        outputs.append(state[0])
    return stack(outputs, 1), state


def input_product(plan: Plan, params: Params, x: Tensor) -> Tensor:
    """W x for all steps at once, with the biases that ride on it: (K, T, B, G).

    x: (K, T, B, I), or symbols (K, T, B).
    """
    W = params["W"]
    K, T, B = x.shape[:3]
    bias = _folded_bias(plan, params)
    if not x.is_floating_point():  # a symbol selects a row; K tables are one table with offsets
        rows = x + torch.arange(K, device=x.device).view(K, 1, 1) * W.shape[1]
        table = W if bias is None else W + bias
        return F.embedding(rows, table.flatten(0, 1))
    x = x.flatten(1, 2)
    product = torch.bmm(x, W) if bias is None else torch.baddbmm(bias, x, W)
    return product.view(K, T, B, W.shape[-1])


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
    values = []
    for wx in _parts(plan, wx_KTBG):
        found = plan.probe(*wx, *fixed, *state)
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
