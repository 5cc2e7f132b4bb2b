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
from rnnbench.engine.layer import Layer, Place, Shapes, Unroll
from rnnbench.engine.loop import Params, State
from rnnbench.equations.plan import Plan
from rnnbench.equations.program import FIRST
from rnnbench.equations.shapes import size, sizes
from rnnbench.settings import Cell

NEW = "new"  # the state that says whether a sequence begins, 1 or 0
UNKNOWN = 50  # steps of a horizon that a task does not name


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
        return (*self.plan.state, NEW) if self.plan.learnt else self.plan.state

    @property
    def multiple(self) -> int:  # type: ignore[override]
        return self.plan.multiple

    def at(self, place: Place) -> "Recurrent":
        placed = self.plan.at(max(place.horizon or UNKNOWN, place.reach or 0))
        return self if placed is self.plan else replace(self, plan=placed)

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
        """The hoisted products and the states: less than it needs."""
        program = self.plan.program
        states = sum(size(shape, hidden) for shape in program.state_shapes[1:])
        return self.plan.shapes(1, hidden)["W"][1] + (0 if program.plain else states)

    def carried(self, inputs: int, hidden: int, steps: int) -> int:
        return sum(size(shape, hidden) for shape in self.plan.program.carried.values())

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        program, found = self.plan.program, []
        for name, shape in zip(program.state, program.state_shapes, strict=True):
            zero = like.new_zeros(len(like), batch, *sizes(shape, hidden))
            found.append(_started(zero, program.starts.get(name, 0.0)))
        return (*found, like.new_ones(len(like), batch, 1)) if self.plan.learnt else tuple(found)

    def chosen(
        self, engine: str, device: str, dtype: torch.dtype, replicas: int
    ) -> tuple[str, Unroll | None]:
        return engines.chosen(engine, self.plan, device, dtype, replicas)

    def by(self, unroll: Unroll | None) -> "Recurrent":
        return self if unroll is None else replace(self, unroll=unroll)

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        if not self.plan.learnt:
            return self.unroll(self.plan, params, x, state)
        y, after = self.unroll(self.plan, params, x, self._begun(params, state))
        return y, (*after, torch.zeros_like(state[-1]))

    def _begun(self, params: Params, state: State) -> State:
        """The states with what is learnt of them, where a sequence begins."""
        *states, new = state
        where = [self.plan.state.index(name) for name in self.plan.program.learnt]
        widths = [states[k][0, 0].numel() for k in where]
        for k, start in zip(where, params["start"].split(widths, -1), strict=True):
            first = start.view(len(start), 1, *states[k].shape[2:])
            axes = (1,) * (states[k].dim() - 3)
            states[k] = states[k] + new.view(*new.shape, *axes) * first
        return tuple(states)

    def gates(self, params: Params, x: Tensor, state: State) -> dict[str, Tensor]:
        state = self._begun(params, state) if self.plan.learnt else state
        return loop.gate_values(self.plan, params, loop.input_product(self.plan, params, x), state)


def _started(zero: Tensor, start: float | str) -> Tensor:
    """A state before the first step."""
    if start == FIRST:
        zero[..., 0] = 1
        return zero
    return zero if isinstance(start, str) else zero + start
