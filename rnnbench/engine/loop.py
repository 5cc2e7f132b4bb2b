"""The reference engine: a plain loop over time, differentiated by autograd, on any device.

Axes: K replicas   T time steps   B batch   G stacked blocks   H state width.
"""

from collections.abc import Iterator

from torch import Tensor, stack

from rnnbench.engine.plan import Plan

Params = dict[str, Tensor]  # one layer: "W" (K, I, ·H), "R0"… (K, H, ·H), "p" and "b" (K, ·H)
State = tuple[Tensor, ...]  # each (K, B, H), in the order of `plan.state`


def unroll(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> tuple[Tensor, State]:
    """All steps from `state`: the outputs (K, T, B, H) and the last state."""
    fixed = _fixed(plan, params)
    outputs = []
    for wx in _parts(plan, wx_KTBG):
        state = plan.step(*wx, *fixed, *state)
        outputs.append(state[0])
    return stack(outputs, 1), state


def gate_values(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> dict[str, Tensor]:
    """What every gate does along the sequences: name → (K, T, B, H)."""
    fixed = _fixed(plan, params)
    values = []
    for wx in _parts(plan, wx_KTBG):
        values.append(plan.probe(*wx, *fixed, *state))
        state = plan.step(*wx, *fixed, *state)
    return {gate: stack([v[k] for v in values], 1) for k, gate in enumerate(plan.gates)}


def _parts(plan: Plan, wx_KTBG: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The hoisted product, step by step, in the parts that a step takes."""
    width = wx_KTBG.shape[-1] // len(plan.blocks["W"])
    parts = wx_KTBG.split([len(names) * width for names in plan.parts], -1)
    return zip(*(part.unbind(1) for part in parts), strict=True)  # unbind: its gradient is one stack, not T padded slices


def _fixed(plan: Plan, params: Params) -> tuple[Tensor | dict[str, Tensor], ...]:
    """The arguments of a step that do not change over time."""
    products = [params[f"R{g}"] for g in range(len(plan.groups))]
    return *products, vectors(plan, params, "p"), vectors(plan, params, "b")


def vectors(plan: Plan, params: Params, family: str) -> dict[str, Tensor]:
    """The blocks of `p` or `b` by name, each (K, 1, H)."""
    names = plan.blocks[family]
    return dict(zip(names, params[family].unsqueeze(1).chunk(len(names), -1), strict=True)) if names else {}
