"""The Transformer, causal.

Axes: K replicas   T time steps   B batch   I input width   H units   D units of a head.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rnnbench.engine.layer import Draws, Layer, Place, Shapes
from rnnbench.engine.loop import Params, State, product
from rnnbench.errors import UserError
from rnnbench.formatting import plural
from rnnbench.settings import one_of

POSITIONS = ("none", "sinusoidal", "rotary", "learnt")
BASE = 10_000.0  # of the wavelengths of positions


@dataclass(frozen=True)
class Transformer(Layer):
    """Transformer: blocks of causal self-attention and a perceptron, normalised before each.

    Source: Vaswani et al. (2017), Attention is all you need; pre-norm and the start as in Radford
        et al. (2019), Language models are unsupervised multitask learners; rotary positions of Su
        et al. (2021), RoFormer.
    Reading: a layer of model.layers is one block; the first embeds its inputs, the last is followed
        by a norm. No dropout within blocks; model.dropout acts between them.

    heads: of attention. length: of the table of learnt positions. positions: none, sinusoidal,
    rotary or learnt (cell.options.positions).
    """

    heads: float = 4
    length: float = 512
    positions: str = "rotary"
    first: bool = True
    last: bool = True
    blocks: int = 1

    placed = ("first", "last", "blocks")
    definition = (
        "x = E x + position   (first layer)",
        "x = x + O softmax(Q Kᵀ / √D, over the past) V,   Q, K, V = W norm(x) + b, in heads",
        "x = x + B gelu(A norm(x) + a) + b",
        "y = norm(x)   (last layer)",
    )

    @property
    def multiple(self) -> int:  # type: ignore[override]
        return int(self.heads) * (2 if self.positions == "rotary" else 1)

    @property
    def told(self) -> str:
        blocks, heads = plural(self.blocks, "block"), plural(int(self.heads), "head")
        return f"{blocks}, {heads}, positions {self.positions}"

    def at(self, place: Place) -> "Transformer":
        one_of("cell.options.positions", self.positions, POSITIONS)
        for name, value in (("heads", self.heads), ("length", self.length)):
            if value != int(value) or value < 1:
                raise UserError(
                    f"cell.constants.{name} must be a whole number of at least 1, got {value:g}"
                )
        first, last = place.index == 0, place.index == place.layers - 1
        return replace(self, first=first, last=last, blocks=place.layers)

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        made: Shapes = {"E": (inputs, hidden)} if self.first else {}
        if self.first and self.positions == "learnt":
            made |= {"place": (int(self.length), hidden)}
        made |= {
            "norm1.gain": (hidden,),
            "norm1.bias": (hidden,),
            "QKV": (hidden, 3 * hidden),
            "qkv": (3 * hidden,),
            "O": (hidden, hidden),
            "o": (hidden,),
            "norm2.gain": (hidden,),
            "norm2.bias": (hidden,),
            "A": (hidden, 4 * hidden),
            "a": (4 * hidden,),
            "B": (4 * hidden, hidden),
            "b": (hidden,),
        }
        return made | ({"norm.gain": (hidden,), "norm.bias": (hidden,)} if self.last else {})

    def flops(self, inputs: int, hidden: int) -> int:
        """Without what attention costs of the past: 4 H more for every step that it looks at."""
        matrices = {n: s for n, s in self.shapes(inputs, hidden).items() if len(s) > 1}
        return 2 * sum(prod(s) for n, s in matrices.items() if n != "place")

    def carried(self, inputs: int, hidden: int, steps: int) -> int:
        """Keys and values of every step before."""
        return 2 * hidden * steps

    def kept(self, hidden: int) -> int:
        return 16 * hidden

    def start_of(self, shapes: Shapes, draw: Draws) -> dict[str, np.ndarray]:
        made = {}
        for name, shape in shapes.items():
            if len(shape) == 1:
                made[name] = np.full(shape, float(name.endswith("gain")))
                continue
            scale = 0.02 / (2 * self.blocks) ** 0.5 if name in ("O", "B") else 0.02
            made[name] = draw(name).normal(0, scale, shape)
        return made

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        if self.first:
            x = product(x, params["E"]) + self._placed(params, x.shape[1])
        read = normed(x, params["norm1.gain"], params["norm1.bias"])
        x = x + linear(
            self._attended(linear(read, params["QKV"], params["qkv"])), *_pair(params, "Oo")
        )
        read = normed(x, params["norm2.gain"], params["norm2.bias"])
        x = x + linear(F.gelu(linear(read, *_pair(params, "Aa"))), *_pair(params, "Bb"))
        return normed(x, params["norm.gain"], params["norm.bias"]) if self.last else x, state

    def _placed(self, params: Params, steps: int) -> Tensor | float:
        """What is added for the place of each step: (K, T, 1, H), or nothing."""
        E = params["E"]
        if self.positions == "learnt":
            if steps > self.length:
                raise UserError(
                    f"cell.constants.length={self.length:g}: learnt positions end there, and a "
                    f"sequence has {steps} steps; raise it, or choose other positions"
                )
            return params["place"][:, :steps].unsqueeze(2)
        if self.positions == "sinusoidal":
            hidden = E.shape[-1]
            angle = _angles(steps, hidden + hidden % 2, E)
            waves = torch.stack([angle.sin(), angle.cos()], -1).flatten(-2)[:, :hidden]
            return waves[None, :, None]
        return 0.0

    def _attended(self, qkv: Tensor) -> Tensor:
        K, T, B, width = qkv.shape
        heads = int(self.heads)
        parts = qkv.view(K, T, B, 3, heads, width // 3 // heads).permute(3, 0, 2, 4, 1, 5)
        query, key, value = parts.flatten(1, 2)  # (K·B, heads, T, D) each
        if self.positions == "rotary":
            angle = _angles(T, query.shape[-1], query)
            query, key = rotated(query, angle), rotated(key, angle)
        made = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        joined: Tensor = made.view(K, B, *made.shape[1:]).permute(0, 3, 1, 2, 4).flatten(3)
        return joined


def rotated(x: Tensor, angle_TD: Tensor) -> Tensor:
    """Neighbouring pairs of the last axis turned by these angles. x: (…, T, D); (T, D / 2)."""
    even, odd = x[..., ::2], x[..., 1::2]
    cos, sin = angle_TD.cos(), angle_TD.sin()
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


def _angles(steps: int, width: int, like: Tensor) -> Tensor:
    """Place t times BASE^(−2i / width): (T, width / 2)."""
    pairs = torch.arange(0, width, 2, dtype=torch.float64)
    angle = torch.arange(steps, dtype=torch.float64)[:, None] * BASE ** (-pairs / width)
    return angle.to(like)


def normed(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Layer normalisation over units. x: (K, T, B, H); gain and bias: (K, H)."""
    return F.layer_norm(x, x.shape[-1:]) * gain[:, None, None] + bias[:, None, None]


def linear(x: Tensor, W: Tensor, b: Tensor) -> Tensor:
    """x: (K, T, B, I); W: (K, I, O); b: (K, O)."""
    return product(x, W, b.unsqueeze(1))


def _pair(params: Params, names: str) -> tuple[Tensor, Tensor]:
    """A matrix and its bias: "Oo"."""
    return params[names[0]], params[names[1]]
