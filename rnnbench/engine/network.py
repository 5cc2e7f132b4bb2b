"""Layers and a linear read-out, for K replicas at once.

All parameters of all replicas live in one tensor (K, P), and so do gradients, so that clipping and
optimisers are a few operations on two tensors. Named views are what the engines see.

Axes: K replicas   T time steps   B batch   I input width   H state width   C outputs.
"""

from collections.abc import Mapping, Sequence
from copy import copy as shallow_copy
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from rnnbench.engine import rows
from rnnbench.engine.layer import Layer, Place, Unroll
from rnnbench.engine.loop import Params, State
from rnnbench.equations.plan import Plan
from rnnbench.errors import UserError


class Network:
    """Parameters of K networks of equal shape and what they compute.

    stack: its layers, from the input up, each in its place. context: how many steps of the window
    before are read again at the start of the next; only layers without states need it, else 0.
    Parameters start at zero: see `init`.
    """

    def __init__(
        self,
        stack: Sequence[Layer],
        replicas: int,
        inputs: int,
        hidden: int,
        outputs: int,
        symbols: bool,
        dtype: torch.dtype,
        device: str,
        context: int = 0,
    ):
        self.stack, self.layers = tuple(stack), len(stack)
        self.replicas, self.hidden, self.symbols, self.inputs = replicas, hidden, symbols, inputs
        self.context = context
        shapes: dict[str, tuple[int, ...]] = {}
        reads = widths(stack, inputs, hidden)
        for index, layer in enumerate(stack):
            named = layer.shapes(reads[index], hidden)
            shapes |= {f"{index}.{name}": shape for name, shape in named.items()}
        handed_on = stack[-1].width(hidden)
        self.shapes = shapes | {"readout.W": (handed_on, outputs), "readout.b": (outputs,)}
        self.count = sum(map(prod, self.shapes.values()))
        self._hold(rows.zeros(replicas, self.count, dtype, device))
        for view in self.params.values():
            view.requires_grad_()

    @property
    def plan(self) -> Plan:
        """The equations of its cell. Raises UserError if its layers are of another kind."""
        return equations(self.stack)

    def _hold(self, flat: Tensor) -> None:
        self.flat, self.replicas, self.params = flat, len(flat), self.views(flat)
        self._layers = [self.own(self.params, layer) for layer in range(self.layers)]

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """(K, P) as named tensors with their shapes; they share memory."""
        views, start = {}, 0
        for name, shape in self.shapes.items():
            views[name] = flat[:, start : start + prod(shape)].unflatten(1, shape)
            start += prod(shape)
        return views

    def holding(self, flat: Tensor) -> "Network":
        """The same layers with other parameters (K, P); K may differ too."""
        made = shallow_copy(self)
        made._hold(flat)
        return made

    def upto(self, layers: int) -> "Network":
        """The same network without the layers above the first so many, to be run."""
        made = shallow_copy(self)
        made.stack, made.layers = self.stack[:layers], layers
        return made

    def taken(self, replicas: Sequence[int]) -> "Network":
        """Some of the replicas, to go on with: a copy of their parameters, which learns."""
        made = self.holding(rows.taken(self.flat, replicas))
        for view in made.params.values():
            view.requires_grad_()
        return made

    def layer(self, index: int) -> Params:
        return self._layers[index]

    def own(self, named: Mapping[str, Tensor], layer: int) -> Params:
        """What of all named tensors is a layer's, under the names that an engine knows."""
        prefix = f"{layer}."
        return {n.removeprefix(prefix): t for n, t in named.items() if n.startswith(prefix)}

    def zero_state(self, batch: int) -> list[State]:
        """The states of every layer before the first step; then, where there is a context, the
        inputs of the window before, (K, 0, B, …) at first.
        """
        states = [layer.start(self.flat, batch, self.hidden) for layer in self.stack]
        if not self.context:
            return states
        empty = (self.replicas, 0, batch)
        symbols = self.flat.new_zeros(empty, dtype=torch.int64)
        return [*states, (symbols if self.symbols else self.flat.new_zeros((*empty, self.inputs)),)]

    def __call__(
        self,
        unroll: Unroll | None,
        x: Tensor,
        states: Sequence[State],
        last: bool,
        keep: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, list[State]]:
        """Predictions (K, T, B, C), or (K, B, C) if `last`, and the states after the last step."""
        outputs, after = self.run(unroll, x, states, keep)
        return self.read(outputs, last), after

    def run(
        self,
        unroll: Unroll | None,
        x: Tensor,
        states: Sequence[State],
        keep: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, list[State]]:
        """The outputs of the highest layer (K, T, B, H), and the states after the last step.

        unroll: what computes equations, where there are any.
        keep: for every layer but the first, what dropout leaves of its inputs: (K, T, B, H) of 0
            and 1 / (1 - rate).
        """
        before = states[-1][0] if self.context else x[:, :0]
        x = torch.cat([before, x], 1) if self.context else x
        past = (x[:, -self.context :],)
        if keep is not None and self.context:
            keep = [F.pad(mask, (0, 0, 0, 0, before.shape[1], 0), value=1.0) for mask in keep]
        after: list[State] = []
        for index, layer in enumerate(self.stack):
            x = x if index == 0 or keep is None else x * keep[index - 1]
            x, state = layer.by(unroll)(self.layer(index), x, states[index])
            after.append(state)
        return (x[:, before.shape[1] :], [*after, past]) if self.context else (x, after)

    def read(self, outputs: Tensor, last: bool) -> Tensor:
        """Predictions (K, T, B, C) from outputs (K, T, B, H), or (K, B, C) of the last step."""
        x = outputs[:, -1] if last else outputs.flatten(1, 2)
        prediction: Tensor = ReadOut.apply(x, self.params["readout.W"], self.params["readout.b"])  # type: ignore[no-untyped-call]
        return prediction if last else prediction.unflatten(1, outputs.shape[1:3])

    def gates(self, unroll: Unroll | None, x: Tensor, states: Sequence[State]) -> dict[str, Tensor]:
        """What every gate of every layer does along the sequences: 'layer.gate' → (K, T, B, H)."""
        found: dict[str, Tensor] = {}
        for index, layer in enumerate(self.stack if self.context == 0 else ()):
            params = self.layer(index)
            acting = layer.gates(params, x, states[index])
            found |= {f"{index}.{gate}": values for gate, values in acting.items()}
            if index + 1 < self.layers:
                x, _ = layer.by(unroll)(params, x, states[index])
        return found


def stacked(
    kind: Layer,
    layers: int,
    horizon: int | None,
    symbols: bool,
    stops: tuple[int, ...] = (),
    reach: int | None = None,
) -> tuple[Layer, ...]:
    """So many layers of one kind, each in its place (see `Place`)."""
    reach = horizon if reach is None else reach
    places = [Place(index, layers, horizon, symbols, stops, reach) for index in range(layers)]
    return tuple(map(kind.at, places))


def widths(stack: Sequence[Layer], inputs: int, hidden: int) -> list[int]:
    """How many numbers each layer reads at a step."""
    return [inputs, *(layer.width(hidden) for layer in stack[:-1])]


def equations(stack: Sequence[Layer]) -> Plan:
    """The plan of the cell that a network is made of. UserError if it is made of something else."""
    plan = stack[0].plan
    if plan is None:
        raise UserError(
            f"{stack[0].name} is a layer, not the equations of a cell, which this needs; choose a "
            f"cell (rnnbench list cells)"
        )
    return plan


class ReadOut(torch.autograd.Function):
    """x (K, N, H) times W (K, H, C) plus b (K, C): what `torch.baddbmm` makes of it, bit for bit,
    in less time, and the same bits whatever K is.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, W: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, W)
        K, b = len(x), b.unsqueeze(1)
        if (
            K == W.shape[2] == 1
        ):  # a vector alone goes another way through the library, which rounds otherwise
            x, W, b = (t.expand(2, -1, -1) for t in (x, W, b))
        return torch.baddbmm(b, x, W)[:K]

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, W = ctx.saved_tensors
        # as it lies, the product takes five times as long where there are few outputs
        turned = W.transpose(1, 2).contiguous()
        K, H, C = W.shape
        # each begins at a multiple of 64 bytes; elsewhere the library rounds otherwise
        apart = (H * C + 15) // 16 * 16
        slope_W = W.new_empty(K, apart)[:, : H * C].unflatten(1, (H, C))
        torch.bmm(x.transpose(1, 2), slope, out=slope_W)
        return slope.bmm(turned), slope_W, slope.sum(1)
