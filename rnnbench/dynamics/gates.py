"""What gates and states do through time: mean, spread and saturation of every gate, and how large
states become.

Axes: K replicas   T time steps   B sequences   H state width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rnnbench.dynamics.recording import Recorded, Recording
from rnnbench.engine.loop import gate_values

# a gate below the one or above the other is saturated, as in the curves of training
CLOSED, OPEN = 0.1, 0.9


@dataclass(frozen=True)
class Gate:
    """One gate of one layer at every step, over units and sequences: (K, T) each.

    values: (K, T, B, H), or as many as it has.
    """

    values: Tensor
    mean: Tensor
    spread: Tensor
    closed: Tensor
    open: Tensor

    @property
    def saturated(self) -> Tensor:
        return self.closed + self.open


def gates(layer: Recorded) -> dict[str, Gate]:
    """Every gate (every sigmoid of the equations) by its name. A cell without gates has none."""
    with torch.no_grad():
        return {
            name: gate(values)
            for name, values in gate_values(layer.plan, layer.params, layer.wx, layer.start).items()
        }


def gate(values_KTBH: Tensor) -> Gate:
    flat = values_KTBH.flatten(2)
    closed, opened = ((flat < CLOSED).double().mean(-1), (flat > OPEN).double().mean(-1))
    return Gate(values_KTBH, flat.mean(-1), flat.std(-1, correction=0), closed, opened)


def largest(recording: Recording) -> list[dict[str, Tensor]]:
    """Per layer and state the largest modulus over units, steps and sequences: (K)."""
    return [
        {
            name: torch.stack([s[k].detach().abs().flatten(1).amax(1) for s in layer.states]).amax(
                0
            )
            for k, name in enumerate(layer.plan.state)
        }
        for layer in recording.layers
    ]
