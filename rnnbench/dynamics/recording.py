"""Run a network over a batch and keep what every layer did at every step, as nodes that gradients
can be taken of.

The reference engine does each step, so that all numbers here are those of the readable loop. Knows
no cell and no task.

Axes: K replicas   T time steps   B sequences   G stacked blocks   H state width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from rnnbench.engine import loop
from rnnbench.engine.batches import Stacked
from rnnbench.engine.loop import Params, State
from rnnbench.engine.network import Network
from rnnbench.equations.plan import Plan
from rnnbench.tasks.contract import pointwise_loss


@dataclass(frozen=True)
class Recorded:
    """One layer along the sequences.

    wx: the hoisted product (K, T, B, G); start: the state before; states: after each step.
    """

    plan: Plan
    params: Params
    wx: Tensor
    start: State
    states: list[State]

    @property
    def before(self) -> list[State]:
        """The state that each step reads."""
        return [self.start, *self.states[:-1]]

    def step(self, t: int, state: State) -> State:
        """Step `t` from another state."""
        return loop.along(self.plan, self.params, self.wx[:, t : t + 1], state)[1]


@dataclass(frozen=True)
class Recording:
    """A batch on its way through a network.

    x: real-valued inputs (K, T, B, I), one-hot where they were symbols.

    loss_KB: L_T, the loss at the last step that counts of every sequence; last_KB: that step.
    """

    x: Tensor
    layers: list[Recorded]
    prediction: Tensor
    loss_KB: Tensor
    last_KB: Tensor


@dataclass
class _Recorder:
    """An unroller that keeps what goes in and out."""

    layers: list[Recorded] = field(default_factory=list)

    def __call__(self, plan: Plan, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        layer = Recorded(plan, params, loop.input_product(plan, params, x), state, [])
        for wx in layer.wx.unbind(1):
            _, state = loop.along(plan, params, wx.unsqueeze(1), state)
            # A node of its own for every state: the derivative with respect to one leaves the
            # others where they are. One that never changes is a leaf.
            state = tuple(
                s.view_as(s) if s.requires_grad else s.clone().requires_grad_() for s in state
            )
            layer.states.append(state)
        self.layers.append(layer)
        return torch.stack([s[0].flatten(2) for s in layer.states], 1), state


def record(
    network: Network,
    batch: Stacked,
    kind: str,
    states: Sequence[State] | None = None,
    keep: Sequence[Tensor] | None = None,
) -> Recording:
    """kind: of the task's loss. Raises UserError if the network is not made of a cell.

    states: before the first step, zeros if not given; keep: what dropout leaves, see `Network`.
    """
    x = (
        batch.x
        if batch.x.is_floating_point()
        else F.one_hot(batch.x, network.inputs).to(network.flat)
    )
    x = x.to(network.flat).detach().requires_grad_()
    assert network.plan, "only equations have steps"
    recorder = _Recorder()
    before = network.zero_state(batch.x.shape[2]) if states is None else states
    prediction, _ = network(recorder, x, before, batch.last, keep)
    y = batch.y.to(prediction.dtype) if batch.y.is_floating_point() else batch.y
    loss, steps = pointwise_loss(kind, prediction, y), x.shape[1]
    if batch.last:
        return Recording(
            x,
            recorder.layers,
            prediction,
            loss,
            torch.full(loss.shape, steps - 1, device=loss.device),
        )
    last = torch.full((loss.shape[0], loss.shape[2]), steps - 1, device=loss.device)
    if batch.mask is not None:
        last = torch.where(batch.mask, torch.arange(steps, device=loss.device)[:, None], 0).amax(1)
    return Recording(x, recorder.layers, prediction, loss.gather(1, last.unsqueeze(1))[:, 0], last)


def doubled(network: Network) -> Network:
    """The same networks in float64, in which gradients do not underflow, with parameters that no
    gradient is taken of.
    """
    return network.holding(network.flat.detach().double())


def one_of(network: Network, k: int) -> Network:
    """Replica k alone, as a network of K = 1, with its present parameters."""
    return network.holding(network.flat.detach()[k : k + 1].clone())


def first(batch: Stacked, replica: int | None = None, sequences: int | None = None) -> Stacked:
    """The batch of one replica, and of its first sequences."""
    ks = slice(None) if replica is None else slice(replica, replica + 1)
    rows = slice(0, sequences)
    y = batch.y[ks, rows] if batch.last else batch.y[ks, :, rows]
    mask = None if batch.mask is None else batch.mask[ks, :, rows]
    return Stacked(batch.x[ks, :, rows], y, mask, batch.last, batch.carry)
