"""The residual block of modern recurrent networks, around any layer (`model.block=residual`).

Axes: K replicas   T time steps   B batch   I input width   H units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from rnnbench.draw import Draw
from rnnbench.engine.layer import Place, Shapes
from rnnbench.engine.loop import Params, State, product
from rnnbench.layers.around import Around
from rnnbench.layers.transformer import linear, normed
from rnnbench.settings import Cell


@dataclass(frozen=True)
class Residual(Around):
    """A block around a layer: norm, layer, gate, add.

    Source: Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences; the
        gated linear unit of Dauphin et al. (2017).
    Reading: the first block embeds its inputs, the last is followed by a norm.
    """

    first: bool = True
    last: bool = True

    definition = (
        "x = E x   (first block)",
        "u = gelu(layer(norm(x)))",
        "x = x + (A u + a) ⊙ σ(G u + g)",
        "y = norm(x)   (last block)",
    )

    @property
    def name(self) -> str:
        return f"{self.inner.name} in residual blocks"

    @property
    def names(self) -> tuple[str, ...]:
        return self.inner.names

    def at(self, place: Place) -> "Residual":
        inside = self.inner.at(replace(place, symbols=False))
        return Residual(inside, place.index == 0, place.index == place.layers - 1)

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        made: Shapes = {"E": (inputs, hidden)} if self.first else {}
        made |= {"norm.gain": (hidden,), "norm.bias": (hidden,)}
        inside = self.inner.shapes(hidden, hidden)
        made |= {f"inner.{name}": shape for name, shape in inside.items()}
        width = self.inner.width(hidden)
        made |= {"gate.W": (width, 2 * hidden), "gate.b": (2 * hidden,)}
        return made | ({"out.gain": (hidden,), "out.bias": (hidden,)} if self.last else {})

    def initial(
        self, cell: Cell, draw: Draw, index: int, inputs: int, hidden: int, horizon: int | None
    ) -> dict[str, np.ndarray]:
        own = {n: s for n, s in self.shapes(inputs, hidden).items() if not n.startswith("inner.")}
        made = self.start_of(own, lambda name: draw(f"init {index} block {name}"))
        made |= {name: np.ones(shape) for name, shape in own.items() if name.endswith("gain")}
        inside = self.inner.initial(cell, draw, index, hidden, hidden, horizon)
        return made | {f"inner.{name}": values for name, values in inside.items()}

    def flops(self, inputs: int, hidden: int) -> int:
        embedding = 2 * inputs * hidden if self.first else 0
        gate = 4 * self.inner.width(hidden) * hidden
        return embedding + gate + 10 * hidden + self.inner.flops(hidden, hidden)

    def carried(self, inputs: int, hidden: int, steps: int) -> int:
        return self.inner.carried(hidden, hidden, steps)

    def kept(self, hidden: int) -> int:
        return 6 * hidden + self.inner.kept(hidden)

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        return self.inner.start(like, batch, hidden)

    def thinned(self, state: State, steps: int, draws: Sequence[np.random.Generator]) -> State:
        return self.inner.thinned(state, steps, draws)

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        x = product(x, params["E"]) if self.first else x
        read = normed(x, params["norm.gain"], params["norm.bias"])
        made, state = self.inner(_inner(params), read, state)
        x = x + F.glu(linear(F.gelu(made), params["gate.W"], params["gate.b"]), -1)
        return normed(x, params["out.gain"], params["out.bias"]) if self.last else x, state

    def gates(self, params: Params, x: Tensor, state: State) -> dict[str, Tensor]:
        x = product(x, params["E"]) if self.first else x
        read = normed(x, params["norm.gain"], params["norm.bias"])
        return self.inner.gates(_inner(params), read, state)


def _inner(params: Params) -> Params:
    return {n[6:]: tensor for n, tensor in params.items() if n.startswith("inner.")}
