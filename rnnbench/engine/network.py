"""Layers of one plan and a linear read-out, for K replicas at once.

All parameters of all replicas live in one tensor (K, P), and so do gradients, so that clipping and
optimisers are a few operations on two tensors. Named views are what the engines see.

Axes: K replicas   T time steps   B batch   I input width   H state width   C outputs.
"""

from collections.abc import Callable, Sequence
from copy import copy as shallow_copy
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnnbench.engine import rows
from rnnbench.engine.loop import Params, State, gate_values, input_product
from rnnbench.equations.plan import Plan

Unroll = Callable[[Plan, Params, Tensor, State], tuple[Tensor, State]]


def layer_shapes(plan: Plan, inputs: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The parameter tensors of one layer, without the replica axis."""
    shapes: dict[str, tuple[int, ...]] = {"W": (inputs, len(plan.blocks["W"]) * hidden)}
    shapes |= {f"R{g}": (hidden, len(names) * hidden) for g, (_, names) in enumerate(plan.groups)}
    shapes |= {
        family: (len(plan.blocks[family]) * hidden,) for family in "pb" if plan.blocks[family]
    }
    return shapes


class Network:
    """Parameters of K networks of equal shape and what they compute.

    Parameters start at zero: see `init`.
    """

    def __init__(
        self,
        plan: Plan,
        replicas: int,
        inputs: int,
        hidden: int,
        layers: int,
        outputs: int,
        symbols: bool,
        dtype: torch.dtype,
        device: str,
    ):
        self.plan, self.replicas, self.hidden, self.layers, self.symbols = (
            plan,
            replicas,
            hidden,
            layers,
            symbols,
        )
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(layers):
            shapes |= {
                f"{layer}.{name}": shape
                for name, shape in layer_shapes(
                    plan, inputs if layer == 0 else hidden, hidden
                ).items()
            }
        self.shapes = shapes | {"readout.W": (hidden, outputs), "readout.b": (outputs,)}
        self.count = sum(map(prod, self.shapes.values()))
        self._hold(rows.zeros(replicas, self.count, dtype, device))
        for view in self.params.values():
            view.requires_grad_()

    def _hold(self, flat: Tensor) -> None:
        self.flat, self.replicas, self.params = flat, len(flat), self.views(flat)
        self._layers: list[Params] = [{} for _ in range(self.layers)]
        for name, tensor in self.params.items():
            layer, _, own = name.partition(".")
            if layer.isdigit():
                self._layers[int(layer)][own] = tensor

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

    def taken(self, replicas: Sequence[int]) -> "Network":
        """Some of the replicas, to go on with: a copy of their parameters, which learns."""
        made = self.holding(rows.taken(self.flat, replicas))
        for view in made.params.values():
            view.requires_grad_()
        return made

    def layer(self, index: int) -> Params:
        return self._layers[index]

    def zero_state(self, batch: int) -> list[State]:
        zero = self.flat.new_zeros(self.replicas, batch, self.hidden)
        return [tuple(zero for _ in self.plan.state) for _ in range(self.layers)]

    def __call__(
        self,
        unroll: Unroll,
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
        unroll: Unroll,
        x: Tensor,
        states: Sequence[State],
        keep: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, list[State]]:
        """The outputs of the highest layer (K, T, B, H), and the states after the last step.

        keep: for every layer but the first, what dropout leaves of its inputs: (K, T, B, H) of 0
            and 1 / (1 - rate).
        """
        after: list[State] = []
        for index in range(self.layers):
            params = self.layer(index)
            x = x if index == 0 or keep is None else x * keep[index - 1]
            x, state = unroll(self.plan, params, x, states[index])
            after.append(state)
        return x, after

    def read(self, outputs: Tensor, last: bool) -> Tensor:
        """Predictions (K, T, B, C) from outputs (K, T, B, H), or (K, B, C) of the last step."""
        x = outputs[:, -1] if last else outputs.flatten(1, 2)
        prediction: Tensor = ReadOut.apply(x, self.params["readout.W"], self.params["readout.b"])  # type: ignore[no-untyped-call]
        return prediction if last else prediction.unflatten(1, outputs.shape[1:3])

    def gates(self, unroll: Unroll, x: Tensor, states: Sequence[State]) -> dict[str, Tensor]:
        """What every gate of every layer does along the sequences: 'layer.gate' → (K, T, B, H)."""
        found: dict[str, Tensor] = {}
        for index in range(self.layers):
            params = self.layer(index)
            wx = input_product(self.plan, params, x)
            found |= {
                f"{index}.{gate}": values
                for gate, values in gate_values(self.plan, params, wx, states[index]).items()
            }
            if index + 1 < self.layers:
                x, _ = unroll(self.plan, params, x, states[index])
        return found


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
        turned = (
            W.transpose(1, 2).contiguous()
        )  # as it lies, the product takes five times as long where there are few outputs
        K, H, C = W.shape
        apart = (
            (H * C + 15) // 16 * 16
        )  # each begins at a multiple of 64 bytes; elsewhere the library rounds otherwise
        slope_W = W.new_empty(K, apart)[:, : H * C].unflatten(1, (H, C))
        torch.bmm(x.transpose(1, 2), slope, out=slope_W)
        return slope.bmm(turned), slope_W, slope.sum(1)
