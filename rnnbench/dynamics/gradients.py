"""Gradients through time: how much the loss at the last step T depends on the states before it, and
on each input.

One backward pass gives every lag, of all sequences and replicas: rows share nothing, so the
gradient of the sum of their losses holds each one's own. See Pascanu, Mikolov & Bengio (2013), On
the difficulty of training recurrent neural networks; the lag at which a gradient has faded is what
they call its (long- or short-term) contribution.

Axes: K replicas   T time steps   L lags   B sequences   H state width.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnnbench.dynamics.recording import Recording

WHOLE = "all states"  # the norm over every state of a layer together
E, HUNDRED = math.e, 100.0  # what a gradient has to fall by


@dataclass(frozen=True)
class Gradients:
    """layers: state → norm of ∂L_T/∂s_{T-k} as (K, L, B), lag k from 0 on, NaN where a sequence is
    shorter; `WHOLE` is one of them.

    The derivative with respect to one state holds the others of the same step: together they are
    what the next step reads, and ∂L_T/∂s_t = ∂L_T/∂s_T · J_T ··· J_{t+1} with the Jacobians of
    `jacobians`. inputs: norm of ∂L_T/∂x_t, (K, T, B), by time.
    """

    layers: list[dict[str, Tensor]]
    inputs: Tensor


def gradients(recording: Recording) -> Gradients:
    """Norms of the gradients of every sequence's last loss."""
    wanted = [
        recording.x,
        *(tensor for layer in recording.layers for state in layer.states for tensor in state),
    ]
    found = iter(
        torch.autograd.grad(
            recording.loss_KB.sum(), wanted, allow_unused=True, materialize_grads=True
        )
    )
    inputs, steps = next(found).norm(dim=-1), recording.x.shape[1]
    layers = []
    for layer in recording.layers:
        names = layer.plan.state
        rows = [[next(found).flatten(2).norm(dim=-1) for _ in names] for _ in range(steps)]
        norms = {name: torch.stack([row[k] for row in rows], 1) for k, name in enumerate(names)}
        norms[WHOLE] = torch.stack(list(norms.values())).norm(dim=0)
        layers.append({name: by_lag(norm, recording.last_KB) for name, norm in norms.items()})
    return Gradients(layers, inputs)


def by_lag(values_KTB: Tensor, last_KB: Tensor) -> Tensor:
    """Values by time as values by lag (K, L, B): lag 0 is the last step that counts; NaN before the
    first step.
    """
    lags = torch.arange(values_KTB.shape[1], device=last_KB.device).view(1, -1, 1)
    time = last_KB.unsqueeze(1) - lags
    return torch.where(time < 0, torch.nan, values_KTB.gather(1, time.clamp(min=0)))


def curve(norms_LB: Tensor) -> dict[str, list[float]]:
    """Median and quartiles over sequences by lag, as far as half of the sequences go."""
    there = (~norms_LB.isnan()).double().mean(1) >= 0.5
    values = norms_LB[: int(there.sum())].double()
    if not len(values):
        return {"low": [], "median": [], "high": []}
    levels = torch.tensor([0.25, 0.5, 0.75], dtype=values.dtype, device=values.device)
    low, median, high = torch.nanquantile(values, levels, dim=1).tolist()
    return {"low": low, "median": median, "high": high}


def horizon(median: Sequence[float], factor: float) -> int | None:
    """How many steps further back a gradient has fallen by `factor`, for good; None: not within the
    sequence (censored).

    Counted from lag 1, the state that the last step reads: from lag 0 to lag 1 stands what the
    output does to the loss (an output gate, say), which is no forgetting. `For good`: a gradient
    may rise again where something was remembered. Of a linear recurrence h = 0.9 h + x it is 10 for
    e, and 44 for 100, as 0.9^10 ≤ 1/e.
    """
    if len(median) < 2 or not median[1] > 0:
        return None if len(median) < 2 else 0
    above = [lag for lag, norm in enumerate(median[1:]) if not norm <= median[1] / factor]
    reached = above[-1] + 1
    return reached if reached < len(median) - 1 else None
