"""The temporal convolutional network.

Axes: K replicas   T time steps   B batch   I input width   H channels.
"""

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from torch import Tensor, relu
from torch.nn import functional as F

from rnnbench.engine.layer import Draws, Layer, Place, Shapes
from rnnbench.engine.loop import Params, State, product
from rnnbench.errors import UserError
from rnnbench.formatting import plural


@dataclass(frozen=True)
class TCN(Layer):
    """Temporal convolutional network: residual blocks of dilated causal convolutions.

    Source: Bai, Kolter & Koltun (2018), An empirical evaluation of generic convolutional and
        recurrent networks for sequence modeling.
    Reading: weights start as in PyTorch, uniform within 1/√(inputs · kernel): with the weight norm
        of the authors' time, that is what their code does, not N(0, 0.01²). No dropout within
        blocks; model.dropout acts between layers.

    kernel: taps of a convolution. levels: residual blocks, the dilation doubles from each to the
    next; 0: as many as the task's horizon needs.
    """

    kernel: float = 7
    levels: float = 0

    definition = (
        "conv_w(x)_t = b + Σ_{j<k} w_j x_{t−jd},  w = g v / ‖v‖",
        "block_d(x) = relu(P x + relu(conv(relu(conv(x)))))",
        "y = block_{2^(n−1)}(… block_2(block_1(x)))",
        "k kernel, d dilation, n levels; P: 1×1 where the widths differ, else identity",
    )

    def at(self, place: Place) -> "TCN":
        for name, value in (("kernel", self.kernel), ("levels", self.levels)):
            least = 2 if name == "kernel" else 0
            if value != int(value) or not least <= value <= 1000:
                raise UserError(
                    f"cell.constants.{name} must be a whole number from {least} to 1000, got "
                    f"{value:g}"
                )
        if self.levels:
            return self
        if place.horizon is None:
            raise UserError(
                "cell=tcn: this task names no longest lag that matters, from which the number of "
                "levels would follow; set it: cell.constants.levels=4"
            )
        levels = 1
        while self._field(levels) <= place.horizon:
            levels += 1
        return replace(self, levels=levels)

    @property
    def field(self) -> int:
        """The receptive field: how many steps, the present one included, an output depends on."""
        return self._field(int(self.levels))

    def _field(self, levels: int) -> int:
        return int(1 + 2 * (self.kernel - 1) * (2**levels - 1))

    @property
    def told(self) -> str:
        return (
            f"{plural(int(self.levels), 'level')} of kernel {self.kernel:g}: receptive field "
            f"{self.field} steps"
        )

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        taps, made = int(self.kernel), Shapes()
        for level in range(int(self.levels)):
            width = hidden if level else inputs
            made |= {
                f"{level}.v1": (taps, width, hidden),
                f"{level}.g1": (hidden,),
                f"{level}.b1": (hidden,),
                f"{level}.v2": (taps, hidden, hidden),
                f"{level}.g2": (hidden,),
                f"{level}.b2": (hidden,),
            }
            if width != hidden:
                made |= {f"{level}.P": (width, hidden), f"{level}.c": (hidden,)}
        return made

    def flops(self, inputs: int, hidden: int) -> int:
        matrices = [s for s in self.shapes(inputs, hidden).values() if len(s) > 1]
        return 2 * sum(map(prod, matrices)) + 6 * int(self.levels) * hidden

    def carried(self, inputs: int, hidden: int, steps: int) -> int:
        """What the two convolutions of every level reach back to."""
        total = 0
        for level in range(int(self.levels)):
            reach = min((int(self.kernel) - 1) * 2**level, steps)
            total += reach * (hidden if level else inputs) + reach * hidden
        return total

    def kept(self, hidden: int) -> int:
        return 2 * int(self.levels) * hidden * int(self.kernel)

    def start_of(self, shapes: Shapes, draw: Draws) -> dict[str, np.ndarray]:
        made: dict[str, np.ndarray] = {}
        for name, shape in shapes.items():
            level, _, kind = name.partition(".")
            if kind[0] in "vP":
                limit = prod(shape[:-1]) ** -0.5
                made[name] = draw(name).uniform(-limit, limit, shape)
            elif kind[0] == "g":  # the norms of v, so that w is v at the start
                v = made[f"{level}.v{kind[1]}"]
                made[name] = np.sqrt((v**2).sum((0, 1)))
            else:
                weights = f"{level}.P" if kind == "c" else f"{level}.v{kind[1]}"
                limit = prod(shapes[weights][:-1]) ** -0.5
                made[name] = draw(name).uniform(-limit, limit, shape)
        return made

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        for level in range(int(self.levels)):
            own = {n: params[f"{level}.{n}"] for n in ("v1", "g1", "b1", "v2", "g2", "b2")}
            made = relu(self._convolved(own, "1", x, 2**level))
            made = relu(self._convolved(own, "2", made, 2**level))
            P = params.get(f"{level}.P")
            past = x if P is None else product(x, P, params[f"{level}.c"].unsqueeze(1))
            x = relu(past + made)
        return x, state

    def _convolved(self, own: Params, which: str, x: Tensor, dilation: int) -> Tensor:
        v = own[f"v{which}"]
        w = v * (own[f"g{which}"] / v.square().sum((1, 2)).sqrt())[:, None, None]
        return causal(x, w, dilation) + own[f"b{which}"][:, None, None]


def causal(x: Tensor, w_KJIH: Tensor, dilation: int) -> Tensor:
    """Σ_j w_j x_{t − j·dilation}, zeros before the first step: (K, T, B, H).

    x: (K, T, B, I), or symbols (K, T, B).
    """
    taps, steps = w_KJIH.shape[1], x.shape[1]
    lags = [j * dilation for j in range(taps) if j * dilation < steps]
    if not x.is_floating_point():
        late = (_later(product(x, w_KJIH[:, j]), lag) for j, lag in enumerate(lags))
        return torch.stack(list(late)).sum(0)
    side_by_side = torch.cat([_later(x, lag) for lag in lags], -1)
    return product(side_by_side, w_KJIH[:, : len(lags)].flatten(1, 2))


def _later(x_KTBI: Tensor, lag: int) -> Tensor:
    """The same, so many steps later."""
    return F.pad(x_KTBI[:, : x_KTBI.shape[1] - lag], (0, 0, 0, 0, lag, 0)) if lag else x_KTBI
