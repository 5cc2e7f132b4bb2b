"""Noise on the recurrence of any cell while it trains (`model.recurrent_dropout`, `model.zoneout`).

Axes: K replicas   T time steps   B batch   H units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.engine import loop
from rnnbench.engine.layer import Layer, Shapes, Unroll
from rnnbench.engine.loop import Params, State
from rnnbench.equations.plan import planned
from rnnbench.equations.program import Program, Value
from rnnbench.errors import UserError
from rnnbench.layers.recurrent import Recurrent
from rnnbench.settings import Cell

KEEP = "keep"  # the state that holds what dropout leaves


@dataclass(frozen=True, eq=False)
class Dropped(Layer):
    """A cell whose recurrence is noisy in training.

    Source: Gal & Ghahramani (2016), A theoretically grounded application of dropout in recurrent
        neural networks; Krueger et al. (2017), Zoneout: regularizing RNNs by randomly preserving
        hidden activations.
    Reading: recurrent dropout has one mask a sequence, on whatever a recurrent matrix multiplies;
        zoneout keeps units of every state at their last value. Otherwise nothing is dropped, and
        zoneout takes its mean.

    cell: with a state more, `keep`. dropout, zoneout: their rates.
    """

    cell: Recurrent
    dropout: float
    zoneout: float

    @classmethod
    def around(cls, cell: Recurrent, dropout: float, zoneout: float) -> "Dropped":
        if not cell.plan.program.plain:
            raise UserError(
                f"model.recurrent_dropout and model.zoneout act on states of one number a unit, "
                f"and {cell.name} has others; set both to 0"
            )
        plan = planned(with_dropout(cell.plan.program))
        return cls(replace(cell, plan=plan), dropout, zoneout)

    @property
    def name(self) -> str:
        return self.cell.name

    @property
    def names(self) -> tuple[str, ...]:
        """Of the cell's states and `keep`; then the masks of zoneout, a step each."""
        return (*self.cell.names, "zone")

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        return self.cell.shapes(inputs, hidden)

    def initial(
        self, cell: Cell, draw: Draw, index: int, inputs: int, hidden: int, horizon: int | None
    ) -> dict[str, np.ndarray]:
        return self.cell.initial(cell, draw, index, inputs, hidden, horizon)

    def count(self, inputs: int, hidden: int) -> int:
        return self.cell.count(inputs, hidden)

    def flops(self, inputs: int, hidden: int) -> int:
        return self.cell.flops(inputs, hidden)

    def kept(self, hidden: int) -> int:
        return self.cell.kept(hidden)

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        *states, keep = self.cell.start(like, batch, hidden)
        mean = like.new_full((len(like), batch, 1, 1), 1 - self.zoneout)
        return *states, torch.ones_like(keep), mean

    def thinned(self, state: State, steps: int, draws: Sequence[np.random.Generator]) -> State:
        *states, keep, zone = state
        _, B, H = keep.shape
        masks = [rng.random((B, H), np.float32) >= self.dropout for rng in draws]
        keep = torch.from_numpy(np.stack(masks)).to(keep) / (1 - self.dropout)
        if self.zoneout:
            size = (B, steps, H * len(states))
            zones = [rng.random(size, np.float32) >= self.zoneout for rng in draws]
            zone = torch.from_numpy(np.stack(zones)).to(keep)
        return *states, keep, zone

    def chosen(
        self, engine: str, device: str, dtype: torch.dtype, replicas: int
    ) -> tuple[str, Unroll | None]:
        if self.zoneout and engine in ("auto", "loop"):
            return "loop" + " (zoneout acts between steps)" * (engine == "auto"), loop.unroll
        if self.zoneout:
            raise UserError(
                f"engine={engine} computes all steps in one call; model.zoneout={self.zoneout:g} "
                f"acts between them: use engine=loop"
            )
        return self.cell.chosen(engine, device, dtype, replicas)

    def by(self, unroll: Unroll | None) -> "Dropped":
        return replace(self, cell=self.cell.by(unroll))

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        *states, zone = state
        mean = torch.full_like(zone[:, :, :1, :1], 1 - self.zoneout)
        if not self.zoneout:
            y, after = self.cell(params, x, tuple(states))
            return y, (*after, mean)
        plan, outputs = self.cell.plan, []
        wx = loop.input_product(plan, params, x)
        *old, keep = states
        zones = zone.unbind(2)
        for t, now in enumerate(wx.split(1, 1)):
            _, (*new, _) = loop.along(plan, params, now, (*old, keep))
            masks = _parts(zones[t if len(zones) > 1 else 0], len(new))
            old = [m * n + (1 - m) * o for m, n, o in zip(masks, new, old, strict=True)]
            outputs.append(old[0])
        return torch.stack(outputs, 1), (*old, keep, mean)

    def gates(self, params: Params, x: Tensor, state: State) -> dict[str, Tensor]:
        return self.cell.gates(params, x, state[:-1])


def _parts(mask: Tensor, states: int) -> list[Tensor]:
    """The mask of each state; one number is for all."""
    return [mask] * states if mask.shape[-1] == 1 else list(mask.chunk(states, -1))


def with_dropout(program: Program) -> Program:
    """The same equations, with what every recurrent matrix multiplies times the state `keep`."""
    keep = Value("state", (), KEEP)
    made: dict[Value, Value] = {}
    masked: dict[Value, Value] = {}
    values = [keep]
    for value in program.values:
        args = tuple(made[a] if isinstance(a, Value) else a for a in value.args)
        if value.op == "R":
            operand = args[0]
            assert isinstance(operand, Value)
            if operand not in masked:
                masked[operand] = operand * keep
                values.append(masked[operand])
            args = (masked[operand],)
        made[value] = Value(value.op, args, value.block)
        values.append(made[value])
    names = {made[value]: name for value, name in program.names.items() if value in made}
    return Program(
        program.function,
        (*program.state, KEEP),
        tuple(values),
        (*(made[value] for value in program.results), keep),
        names | {keep: KEEP},
    )
