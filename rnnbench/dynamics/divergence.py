"""Where a run broke: the first quantity that is not finite, in the order in which a training step
computes them.

Forward first (layer by layer at each time step, each value of the equations by its name), then the
loss, then the gradient backwards through time. Asked once, when a run diverges; changes nothing.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rnnbench.dynamics.recording import Recorded, first, one_of, record
from rnnbench.engine.batches import Stacked
from rnnbench.engine.loop import State, blocks_of, evaluate, in_axes, units
from rnnbench.engine.network import Network
from rnnbench.equations.program import MATRICES
from rnnbench.equations.shapes import sizes
from rnnbench.equations.text import term

Loss = Callable[[Tensor, Stacked], Tensor]  # (prediction, batch) → loss (K)


def first_not_finite(
    network: Network,
    k: int,
    batch: Stacked,
    kind: str,
    loss: Loss,
    states: Sequence[State],
    keep: Sequence[Tensor] | None,
) -> str:
    """'gate f of layer 0 at time step 37', for replica k on this batch; empty if all is finite when
    it is computed alone.

    batch: with the inputs as they were read, noise included. Time steps count from 1, as in 'step
        12 of training'.
    """
    alone = one_of(network, k)
    for name, parameter in alone.params.items():
        if not parameter.isfinite().all():
            return f"parameter {name}"
    one = first(batch, k)
    read = (("input", one.x), *([("target", one.y)] if one.mask is None else []))
    for name, values in read:
        if not values.isfinite().all():
            return f"{name} {_place((~values.isfinite()).nonzero()[0].tolist()[1:])}"
    before = [tuple(s[k : k + 1] for s in state) for state in states]
    if network.stack[0].plan is None:
        return _in_layers(alone, one, before, loss)
    run = record(alone, one, kind, before, keep and [m[k : k + 1] for m in keep])
    with torch.no_grad():
        for t in range(run.x.shape[1]):
            for index, layer in enumerate(run.layers):
                if not all(s.isfinite().all() for s in layer.states[t]):
                    return f"{_named(layer, t)} of layer {index} at time step {t + 1}"
    if not run.prediction.isfinite().all():
        return "prediction"
    total = loss(run.prediction, one)
    if not total.isfinite().all():
        return "loss"
    wanted = [s for layer in run.layers for state in layer.states for s in state]
    found = iter(
        torch.autograd.grad(total.sum(), wanted, allow_unused=True, materialize_grads=True)
    )
    bad = [
        (t, index, name)
        for index, layer in enumerate(run.layers)
        for t in range(len(layer.states))
        for name in layer.plan.state
        if not next(found).isfinite().all()
    ]
    if not bad:
        return ""
    t, index, name = max(bad, key=lambda place: (place[0], place[1]))
    return f"gradient of state {name} of layer {index} at time step {t + 1}"


def _in_layers(alone: Network, batch: Stacked, states: Sequence[State], loss: Loss) -> str:
    """The same, for layers without equations: which layer's output it was."""
    with torch.no_grad():
        for index in range(alone.layers):
            x, _ = alone.upto(index + 1).run(None, batch.x, states)
            steps = (~x.isfinite()).any(-1).any(2)[0].nonzero()
            if len(steps):
                return f"output of layer {index} at time step {int(steps[0]) + 1}"
        prediction = alone.read(x, batch.last)
        if not prediction.isfinite().all():
            return "prediction"
        return "" if loss(prediction, batch).isfinite().all() else "loss"


def _place(at: Sequence[int]) -> str:
    """Where a number of (T, B, …) or (B, …) stands."""
    if len(at) < 3:
        return f"of sequence {at[0]} in the data"
    return f"{at[2]} of sequence {at[1]} in the data, at time step {at[0] + 1}"


def _named(layer: Recorded, t: int) -> str:
    """The first value of the equations that is not finite at step t, called as they call it."""
    plan = layer.plan
    for name, value in values_of(layer, t).items():
        if not value.isfinite().all():
            return (
                f"gate {name}"
                if name in plan.gates
                else f"state {name}"
                if name in plan.state
                else name
            )
    states = zip(plan.state, layer.states[t], strict=True)
    return f"state {next(name for name, values in states if not values.isfinite().all())}"


def values_of(layer: Recorded, t: int) -> dict[str, Tensor]:
    """Every product and every named value of the equations at step t, in their order: 'R.f @ y',
    'f', 'c', each (K, B, H) or of its own shape.

    W.f @ x is with the bias that rides on it in the plan (`Plan.folded`); that bias is 0 where the
    equations add it.
    """
    plan, params = layer.plan, layer.params
    H = units(layer.start)
    blocks = blocks_of(plan, params, H)
    inputs = layer.wx[:, t].split(plan.columns("W", plan.blocks["W"], H), -1)
    blocks |= {
        ("W", n): in_axes(wx, sizes(plan.shape("W", n), H))
        for n, wx in zip(plan.blocks["W"], inputs, strict=True)
    }
    blocks |= {("b", n): torch.zeros_like(blocks["b", n]) for n in plan.folded}
    state = dict(zip(plan.state, layer.before[t], strict=True))
    program, named = plan.program, dict[str, Tensor]()
    for value, tensor in evaluate(program, blocks, state).items():
        if value.op in MATRICES:
            operand = value.inputs[0]
            on = operand.block or program.names.get(operand) or term(program, operand)
            on = "x" if value.op == "W" else on
            named[f"{value.op}.{value.block} @ {on}"] = tensor
        if value in program.names:
            named[program.names[value]] = tensor
    return named
