"""What else computes a layer: torch.nn, a loop as one writes it by hand, a jitted `lax.scan`.

One network, no replicas.

Axes: T time steps   B batch   I input width   G stacked blocks   H state width.
"""

import copy
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx

from rnnbench.equations.plan import Plan

MODULES = {
    "lstm": "LSTM",
    "np": "LSTM",
    "gru": "GRU",
    "gru_reset_after": "GRU",
    "tanh": "RNN",
}  # of torch.nn; gru resets elsewhere, at equal cost
FLAT: dict[Any, Callable[..., Any]] = {torch.bmm: torch.mm, torch.baddbmm: torch.addmm}
Weights = Mapping[str, Tensor]  # "W" (I, G), "R0"… (H, ·), "p" and "b" (·)
Pass = Callable[[], object]


def library(cell: str, x_TBI: Tensor, slope_TBH: Tensor) -> Pass:
    """The fused module of torch.nn."""
    module = getattr(torch.nn, MODULES[cell])(x_TBI.shape[-1], slope_TBH.shape[-1])
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
    step = copy.deepcopy(plan.step)
    for node in step.graph.nodes:
        node.target = FLAT.get(node.target, node.target)
    step.recompile()
    return step


def scanned(
    plan: Plan, weights: Weights, x: Tensor, state: tuple[Tensor, ...], slope: Tensor
) -> Pass:
    """The same loop in JAX, compiled whole: gradients of all weights.

    Needs JAX, which rnnbench does not bring.
    """
    import jax  # type: ignore[import-not-found,unused-ignore]
    from jax import numpy as jnp  # type: ignore[import-not-found,unused-ignore]

    same = {
        torch.mm: operator.matmul,
        torch.addmm: lambda c, a, b: c + a @ b,
        torch.chunk: jnp.split,
    }
    same |= {getattr(torch, name): getattr(jax.nn, name) for name in ("sigmoid", "relu")}
    same |= {
        getattr(torch, name): getattr(jnp, name) for name in ("tanh", "exp", "maximum", "minimum")
    }
    same |= {
        getattr(torch.nn.functional, ours): getattr(jax.nn, theirs)
        for ours, theirs in (("logsigmoid", "log_sigmoid"), ("softplus", "softplus"))
    }
    step, blocks = flat(plan), plan.blocks
    for node in step.graph.nodes:
        node.target = (
            same.get(node.target, node.target) if node.op == "call_function" else node.target
        )
    carrier = {block: bias for bias, block in plan.folded.items()}
    xs, slopes, start, given = (
        jax.tree.map(lambda t: jnp.asarray(t.detach().numpy()), tree)
        for tree in (x, slope, state, dict(weights))
    )

    def weighed(w: Any) -> Any:
        p, b = (
            dict(zip(blocks[f], jnp.split(w[f], len(blocks[f])), strict=True)) if blocks[f] else {}
            for f in "pb"
        )
        wx = xs @ w["W"] + jnp.concatenate(
            [b[carrier[n]] if n in carrier else jnp.zeros_like(start[0][0]) for n in blocks["W"]]
        )
        parts = jnp.split(
            wx,
            [
                sum(map(len, plan.parts[: k + 1])) * start[0].shape[-1]
                for k in range(len(plan.parts) - 1)
            ],
            -1,
        )

        def once(old: Any, now: Any) -> Any:
            new = fx.Interpreter(step, graph=step.graph).run(
                *now, *(w[f"R{g}"] for g in range(len(plan.groups))), p, b, *old
            )
            return new, new[0]

        return (jax.lax.scan(once, start, tuple(parts))[1] * slopes).sum()

    slope_of = jax.jit(jax.grad(weighed))
    return lambda: jax.block_until_ready(slope_of(given))
