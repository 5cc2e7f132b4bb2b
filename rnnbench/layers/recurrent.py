"""A cell, unrolled along the sequences.

Axes: K replicas   T time steps   B batch   H state width.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.engine import engines, loop
from rnnbench.engine.init import initial
from rnnbench.engine.layer import Layer, Shapes, Unroll
from rnnbench.engine.loop import Params, State
from rnnbench.equations.plan import Plan
from rnnbench.settings import Cell


@dataclass(frozen=True, eq=False)
class Recurrent(Layer):
    """Any cell, as a layer.

    unroll: the engine that computes its equations.
    """

    plan: Plan
    unroll: Unroll = loop.unroll

    @property
    def name(self) -> str:
        return self.plan.program.function.__name__

    @property
    def names(self) -> tuple[str, ...]:
        return self.plan.state

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        return self.plan.shapes(inputs, hidden)

    def initial(
        self, cell: Cell, draw: Draw, index: int, inputs: int, hidden: int, horizon: int | None
    ) -> dict[str, np.ndarray]:
        return initial(self.plan, cell, draw, index, inputs, hidden, horizon)

    def count(self, inputs: int, hidden: int) -> int:
        return self.plan.count(inputs, hidden)

    def flops(self, inputs: int, hidden: int) -> int:
        return self.plan.flops(inputs, hidden)

    def kept(self, hidden: int) -> int:
        return hidden * len(self.plan.blocks["W"])  # the hoisted products: less than it needs

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        zero = like.new_zeros(len(like), batch, hidden)
        return tuple(zero for _ in self.plan.state)

    def chosen(
        self, engine: str, device: str, dtype: torch.dtype, replicas: int
    ) -> tuple[str, Unroll | None]:
        return engines.chosen(engine, self.plan, device, dtype, replicas)

    def by(self, unroll: Unroll | None) -> "Recurrent":
        return self if unroll is None else replace(self, unroll=unroll)

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.unroll(self.plan, params, x, state)

    def gates(self, params: Params, x: Tensor, state: State) -> dict[str, Tensor]:
        return loop.gate_values(self.plan, params, loop.input_product(self.plan, params, x), state)
