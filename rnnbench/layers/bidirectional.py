"""Two layers, one of which reads the sequence from its end (`model.bidirectional=true`).

Axes: K replicas   T time steps   B batch   H units of a direction.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.engine.layer import Place, Shapes
from rnnbench.engine.loop import Params, State
from rnnbench.layers.around import Around
from rnnbench.settings import Cell

WAYS = ("forward", "backward")


@dataclass(frozen=True)
class Bidirectional(Around):
    """The outputs of two layers side by side, one reading forward, the other backward.

    Source: Schuster & Paliwal (1997), Bidirectional recurrent neural networks.
    Reading: below the last layer both outputs stand at the step that they are of; in the last the
        backward one stands where it was made, so that the last step has read the whole sequence
        in both directions.
    """

    last: bool = True

    @property
    def name(self) -> str:
        return f"{self.inner.name} in two directions"

    def at(self, place: Place) -> "Bidirectional":
        return Bidirectional(self.inner.at(place), place.index == place.layers - 1)

    def width(self, hidden: int) -> int:
        return 2 * self.inner.width(hidden)

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        inside = self.inner.shapes(inputs, hidden)
        return {f"{way}.{name}": shape for way in WAYS for name, shape in inside.items()}

    def initial(
        self, cell: Cell, draw: Draw, index: int, inputs: int, hidden: int, horizon: int | None
    ) -> dict[str, np.ndarray]:
        seeds = {"forward": draw, "backward": Backward(draw.seed)}
        return {
            f"{way}.{name}": values
            for way, own in seeds.items()
            for name, values in self.inner.initial(
                cell, own, index, inputs, hidden, horizon
            ).items()
        }

    def flops(self, inputs: int, hidden: int) -> int:
        return 2 * self.inner.flops(inputs, hidden)

    def carried(self, inputs: int, hidden: int, steps: int) -> int:
        return 2 * self.inner.carried(inputs, hidden, steps)

    def kept(self, hidden: int) -> int:
        return 2 * self.inner.kept(hidden)

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        return (*self.inner.start(like, batch, hidden), *self.inner.start(like, batch, hidden))

    def thinned(self, state: State, steps: int, draws: Sequence[np.random.Generator]) -> State:
        half = len(state) // 2
        ways = (state[:half], state[half:])
        first, second = (self.inner.thinned(way, steps, draws) for way in ways)
        return (*first, *second)

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        half = len(state) // 2
        forward, first = self.inner(_of(params, "forward"), x, state[:half])
        backward, second = self.inner(_of(params, "backward"), x.flip(1), state[half:])
        backward = backward if self.last else backward.flip(1)
        return torch.cat([forward, backward], -1), (*first, *second)


class Backward(Draw):
    """The streams of the second direction."""

    def __call__(self, purpose: str, step: int = 0) -> np.random.Generator:
        return super().__call__(f"backward {purpose}", step)


def _of(params: Params, way: str) -> Params:
    return {
        name.partition(".")[2]: tensor
        for name, tensor in params.items()
        if name.startswith(f"{way}.")
    }
