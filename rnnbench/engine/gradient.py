"""The loss of every replica on a batch, and its gradient.

Layers are differentiated by autograd, whatever they are made of. Read-out and loss come last and
are known: compiled code makes both and their gradients in one pass (`native.head`); the reference
leaves them to autograd, too.

Axes: K replicas   T time steps   B batch   H state width   C outputs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnbench.engine.batches import Stacked
from rnnbench.engine.layer import Unroll
from rnnbench.engine.loop import State
from rnnbench.engine.native import head
from rnnbench.engine.network import Network
from rnnbench.tasks.contract import pointwise_loss, summed

Gradient = dict[str, Tensor]  # parameter → (K, …), in the order of `Network.params`


def mean_loss(kind: str, prediction: Tensor, batch: Stacked) -> Tensor:
    """(K): the mean over the predictions that count."""
    total, count = summed(pointwise_loss(kind, prediction, batch.y), batch.mask)
    return total / count.clamp(min=1)


def loss_and_gradient(
    network: Network,
    unroll: Unroll | None,
    batch: Stacked,
    states: Sequence[State],
    kind: str,
    keep: Sequence[Tensor] | None = None,
    compiled: bool = False,
) -> tuple[Tensor, Gradient, list[State]]:
    """The losses (K), their gradients, and the states after the last step.

    compiled: read-out and loss by compiled code. keep: see `Network.run`.
    """
    outputs, after = network.run(unroll, batch.x, states, keep)
    names, weights = list(network.params), list(network.params.values())
    if not compiled:
        loss_K = mean_loss(kind, network.read(outputs, batch.last), batch)
        # Replicas share nothing. What a sequence of one step does not reach has a gradient of 0.
        parts = torch.autograd.grad(loss_K.sum(), weights, materialize_grads=True)
        return loss_K.detach(), dict(zip(names, parts, strict=True)), after
    read = outputs[:, -1] if batch.last else outputs
    rows = read.detach().flatten(1, -2)
    *layers, W, b = weights
    loss_K, slope, *slopes = head.loss_and_gradient(kind, rows, W, b, batch.y, batch.mask)
    parts = torch.autograd.grad(read, layers, slope.view_as(read))
    return loss_K, dict(zip(names, (*parts, *slopes), strict=True)), after
