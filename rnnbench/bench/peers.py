"""What else computes a layer: torch.nn, a loop as one writes it by hand, a jitted `lax.scan`.

One network, no replicas.

Axes: T time steps   B batch   I input width   G stacked blocks   H state width.
"""

import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from rnnbench.engine.library import TWINS
from rnnbench.engine.loop import step_of
from rnnbench.equations.operations import larger, smaller
from rnnbench.equations.plan import Plan

MODULES = TWINS | {"gru": TWINS["gru_reset_after"]}  # gru resets elsewhere, at equal cost
FLAT: dict[Any, Callable[..., Any]] = {torch.bmm: torch.mm, torch.baddbmm: torch.addmm}
Weights = Mapping[str, Tensor]  # "W" (I, G), "R0"… (H, ·), "p" and "b" (·)
Pass = Callable[[], object]


def library(cell: str, x_TBI: Tensor, slope_TBH: Tensor) -> Pass:
    """The fused module of torch.nn."""
    twin = MODULES[cell]
    module = twin.module(x_TBI.shape[-1], slope_TBH.shape[-1], **twin.options)
    weights = list(module.parameters())
    return lambda: torch.autograd.grad(module(x_TBI)[0], weights, slope_TBH)


def by_hand(plan: Plan) -> Callable[[Weights, Tensor, tuple[Tensor, ...]], Tensor]:
    """The loop that a competent user of PyTorch writes, for any cell: outputs (T, B, H) of
    (weights, x (T, B, I), states (B, H)).

    One product of all inputs before the loop, biases in it; in a step one product per operand, with
    the matrices of all gates that it goes to side by side; then the equations, an operation each.
    The code is generated, from the cell's graph: it is the step of the `loop` engine without the
    axis of replicas.
    """
    step, blocks = flat(plan).forward, plan.blocks
    carrier = {block: bias for bias, block in plan.folded.items()}

    def outputs(weights: Weights, x_TBI: Tensor, state: tuple[Tensor, ...]) -> Tensor:
        H = state[0].shape[-1]
        p, b = (
            dict(zip(blocks[f], weights[f].split(H), strict=True)) if blocks[f] else {}
            for f in "pb"
        )
        zero = state[0].new_zeros(H)
        bias = torch.cat([b[carrier[block]] if block in carrier else zero for block in blocks["W"]])
        wx_TBG = torch.addmm(bias, x_TBI.flatten(0, 1), weights["W"]).unflatten(0, x_TBI.shape[:2])
        parts = wx_TBG.split([len(names) * H for names in plan.parts], -1)
        recurrent = [weights[f"R{g}"] for g in range(len(plan.groups))]
        made = []
        for now in zip(*(part.unbind(0) for part in parts), strict=True):
            state = step(*now, *recurrent, p, b, *state)
            made.append(state[0])
        return torch.stack(made)

    return outputs


def flat(plan: Plan) -> fx.GraphModule:
    """The plan's step on matrices: step(*parts (B, ·), *R_groups (H, ·), p, b, *states (B, H)); p
    and b by name, (H).
    """
    step = copy.deepcopy(step_of(plan))
    for node in step.graph.nodes:
        node.target = FLAT.get(node.target, node.target)
    step.recompile()
    return step


def scanned(
    plan: Plan, weights: Weights, x: Tensor, state: tuple[Tensor, ...], slope: Tensor
) -> Pass:
    """The same loop in JAX, compiled whole: gradients of all weights."""
    import jax
    from jax import numpy as jnp  # type: ignore[import-not-found,unused-ignore]

    given, xs, start, slopes = (
        jax.tree.map(lambda t: jnp.asarray(t.detach().numpy()), tree)
        for tree in (dict(weights), x, state, slope)
    )
    outputs = scan_of(plan)
    slope_of = jax.jit(jax.grad(lambda w: (outputs(w, xs, start) * slopes).sum()))
    return lambda: jax.block_until_ready(slope_of(given))


def scan_of(plan: Plan) -> Callable[[Any, Any, tuple[Any, ...]], Any]:
    """As `by_hand`, in JAX, with a `scan` over time. Needs JAX, which rnnbench does not bring."""
    import jax
    from jax import numpy as jnp

    step, blocks = _in_jax(flat(plan)), plan.blocks
    carrier = {block: bias for bias, block in plan.folded.items()}

    def named(weights: Any, family: str) -> dict[str, Any]:
        names = blocks[family]
        return (
            dict(zip(names, jnp.split(weights[family], len(names)), strict=True)) if names else {}
        )

    def outputs(weights: Any, x_TBI: Any, state: tuple[Any, ...]) -> Any:
        H = state[0].shape[-1]
        p, b = named(weights, "p"), named(weights, "b")
        zero = jnp.zeros(H, x_TBI.dtype)
        bias = [b[carrier[block]] if block in carrier else zero for block in blocks["W"]]
        wx_TBG = x_TBI @ weights["W"] + jnp.concatenate(bias)
        ends = np.cumsum([len(names) * H for names in plan.parts])[:-1]
        recurrent = [weights[f"R{g}"] for g in range(len(plan.groups))]

        def once(old: Any, now: Any) -> Any:
            new = fx.Interpreter(step, graph=step.graph).run(*now, *recurrent, p, b, *old)
            return new, new[0]

        return jax.lax.scan(once, state, tuple(jnp.split(wx_TBG, ends, -1)))[1]

    return outputs


def _in_jax(step: fx.GraphModule) -> fx.GraphModule:
    """The step with JAX's functions in the place of PyTorch's."""
    import jax
    from jax import numpy as jnp

    same: dict[Any, Any] = {
        torch.mm: operator.matmul,
        torch.addmm: lambda c, a, b: c + a @ b,
        torch.chunk: jnp.split,
        torch.nn.functional.logsigmoid: jax.nn.log_sigmoid,
        torch.nn.functional.softplus: lambda a, beta, _: jax.nn.softplus(beta * a) / beta,
    }
    same |= {getattr(torch, name): getattr(jax.nn, name) for name in ("sigmoid", "relu")}
    for name in ("tanh", "exp", "abs", "sqrt", "log", "sin", "cos", "where", "clamp"):
        same[getattr(torch, name)] = getattr(jnp, "clip" if name == "clamp" else name)
    same[larger], same[smaller] = jnp.maximum, jnp.minimum
    for node in step.graph.nodes:
        if node.op == "call_function":
            node.target = same.get(node.target, node.target)
    return step
