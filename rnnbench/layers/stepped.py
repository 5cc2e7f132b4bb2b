"""Layers whose step is written in tensors: their states have shapes of their own.

Axes: K replicas   T time steps   B batch   I input width   G what a step receives of the input
H units.
"""

import torch
from torch import Tensor

from rnnbench.engine.layer import Layer, Shapes
from rnnbench.engine.loop import Params, State, product
from rnnbench.errors import UserError


class Stepped(Layer):
    """Base of layers that go through time step by step, by PyTorch, differentiated by autograd.

    A kind says `received`, `more`, `start` and `step`. Its first parameters are W (I, G) and b (G),
    by which inputs are hoisted out of the loop.
    """

    def received(self, hidden: int) -> int:
        """G: how many numbers of the input's product a step receives."""
        raise NotImplementedError

    def more(self, hidden: int) -> Shapes:
        """The parameters besides W and b."""
        return {}

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        """One step: the output (K, B, width) and the new state. wx: W x + b, (K, B, G)."""
        raise NotImplementedError

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        G = self.received(hidden)
        return {"W": (inputs, G), "b": (G,)} | self.more(hidden)

    def kept(self, hidden: int) -> int:
        return self.received(hidden)

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        wx = product(x, params["W"], params["b"].unsqueeze(1))
        outputs = []
        for now in wx.unbind(1):
            y, state = self.step(params, now, state)
            outputs.append(y)
        return torch.stack(outputs, 1), state


def zeros(like: Tensor, batch: int, *shape: int) -> Tensor:
    """A state of zeros, (K, B, *shape)."""
    return like.new_zeros(len(like), batch, *shape)


def whole(name: str, value: float, least: int = 1, most: int = 10_000) -> int:
    """A constant that must be a whole number."""
    if value != int(value) or not least <= value <= most:
        raise UserError(
            f"cell.constants.{name} must be a whole number from {least} to {most}, got {value:g}"
        )
    return int(value)
