"""LSTM and GRU with layer normalisation.

Axes: K replicas   B batch   H units.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, sigmoid, tanh
from torch.nn import functional as F

from rnnbench.engine.layer import Draws, Shapes
from rnnbench.engine.loop import Params, State, product
from rnnbench.layers.stepped import Stepped, zeros


class Normalised(Stepped):
    """Base: products with the input and with the state are each normalised over all their gates."""

    def start_of(self, shapes: Shapes, draw: Draws) -> dict[str, np.ndarray]:
        made = super().start_of(shapes, draw)
        gains = {name: np.ones(shape) for name, shape in shapes.items() if name.startswith("g")}
        return made | gains

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        wx = scaled(product(x, params["W"]), params["g_x"][:, None, None])
        outputs = []
        for now in (wx + params["b"][:, None, None]).unbind(1):
            y, state = self.step(params, now, state)
            outputs.append(y)
        return torch.stack(outputs, 1), state


def scaled(x: Tensor, gain: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the last axis, times the gain."""
    return F.layer_norm(x, x.shape[-1:]) * gain


@dataclass(frozen=True)
class LSTMLN(Normalised):
    """LSTM with layer normalisation of both products and of the memory on its way out.

    Source: Ba, Kiros & Hinton (2016), Layer normalization, eqs. 20 to 22.
    Reading: one bias a gate; that of the forget gate starts at 0.
    """

    definition = (
        "f, i, o, g = norm(W x; g_x) + norm(R h; g_h) + b",
        "c = σ(f) ⊙ c + σ(i) ⊙ tanh(g)",
        "h = σ(o) ⊙ tanh(norm(c; g_c) + b_c)",
    )

    @property
    def names(self) -> tuple[str, ...]:
        return "h", "c"

    def received(self, hidden: int) -> int:
        return 4 * hidden

    def more(self, hidden: int) -> Shapes:
        G = 4 * hidden
        vectors: Shapes = {"g_x": (G,), "g_h": (G,), "g_c": (hidden,), "b_c": (hidden,)}
        return {"R": (hidden, G)} | vectors

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        return zeros(like, batch, hidden), zeros(like, batch, hidden)

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        f, i, o, g = (wx + scaled(h @ params["R"], params["g_h"][:, None])).chunk(4, -1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        h = sigmoid(o) * tanh(scaled(c, params["g_c"][:, None]) + params["b_c"][:, None])
        return h, (h, c)


@dataclass(frozen=True)
class GRULN(Normalised):
    """GRU with layer normalisation of both products.

    Source: Ba, Kiros & Hinton (2016), Layer normalization, supplementary material.
    Reading: gates and candidate are normalised together per product, and the reset gate acts after
        the recurrent product, as there.
    """

    definition = (
        "a = norm(W x; g_x) + b,   u = norm(R h; g_h), each of z, r and n",
        "z = σ(a_z + u_z),   r = σ(a_r + u_r)",
        "h = z ⊙ h + (1 − z) ⊙ tanh(a_n + r ⊙ u_n)",
    )

    @property
    def names(self) -> tuple[str, ...]:
        return ("h",)

    def received(self, hidden: int) -> int:
        return 3 * hidden

    def more(self, hidden: int) -> Shapes:
        G = 3 * hidden
        return {"R": (hidden, G), "g_x": (G,), "g_h": (G,)}

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        return (zeros(like, batch, hidden),)

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        z, r, n = wx.chunk(3, -1)
        u_z, u_r, u_n = scaled(h @ params["R"], params["g_h"][:, None]).chunk(3, -1)
        z = sigmoid(z + u_z)
        h = z * h + (1 - z) * tanh(n + sigmoid(r + u_r) * u_n)
        return h, (h,)
