"""The `torch` engine: nn.LSTM, nn.GRU and nn.RNN for the cells that they compute; on CUDA that is
cuDNN.

The one place that knows how our blocks lie in the weights of torch.nn; exporting and verifying use
it too.

Axes: K replicas   T time steps   B batch   I input width   G stacked gates   H state width.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnbench.engine import loop
from rnnbench.engine.loop import Params, State
from rnnbench.equations.plan import Plan
from rnnbench.equations.program import MATRICES

ORDER = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")  # in which torch.nn takes them


@dataclass(frozen=True)
class Twin:
    """A module of torch.nn that computes one of our cells.

    gates: our blocks in the order in which the module stacks them.
    inner: the bias inside the recurrent product of the last gate, where the cell has one.
    nonlinearity: of nn.RNN.
    """

    module: type[nn.LSTM] | type[nn.GRU] | type[nn.RNN]
    gates: str
    inner: str | None = None
    nonlinearity: str | None = None

    @property
    def name(self) -> str:
        return f"nn.{self.module.__name__}"

    @property
    def options(self) -> dict[str, Any]:
        """What the module takes beside its sizes."""
        return {"nonlinearity": self.nonlinearity} if self.nonlinearity else {}

    def weights(self, blocks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One layer's weights by their names in torch.nn, from blocks whose rows are units.

        blocks: "W.z" (H, I), "R.z" (H, H), "b.z" (H). Ours is one bias a gate: the second of
        torch.nn is zero but for `inner`.
        """
        stacked = {
            family: torch.cat([blocks[f"{family}.{gate}"] for gate in self.gates])
            for family in "WRb"
        }
        second = torch.zeros_like(stacked["b"])
        if self.inner:
            inner = blocks[f"b.{self.inner}"]
            second = torch.cat([second[: -len(inner)], inner])
        return dict(zip(ORDER, (stacked["W"], stacked["R"], stacked["b"], second), strict=True))


TWINS = {
    "tanh": Twin(nn.RNN, "h", nonlinearity="tanh"),
    "relu": Twin(nn.RNN, "h", nonlinearity="relu"),
    "lstm": Twin(nn.LSTM, "ifzo"),
    "np": Twin(nn.LSTM, "ifzo"),
    "gru_reset_after": Twin(nn.GRU, "rzn", inner="m"),
}


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a cell's function comes with rnnbench: a user's may carry the name of one of ours
    and other equations.
    """
    return function.__module__.startswith("rnnbench.cells.")


def twin_of(plan: Plan) -> Twin | None:
    """The module that computes this cell, if there is one."""
    function = plan.program.function
    return TWINS.get(function.__name__) if is_ours(function) else None


def why_not(plan: Plan) -> str | None:
    """Why torch.nn does not compute this cell, or None."""
    if twin_of(plan):
        return None
    function = plan.program.function
    if not is_ours(function):
        reason = f"torch.nn is not known to compute {function.__name__}, a cell of your own"
    elif function.__name__ == "gru":
        reason = "nn.GRU resets after the recurrent product, gru before it"
    elif plan.blocks["p"] and len(plan.state) > 1:
        reason = "nn.LSTM has no peepholes"
    else:
        reason = f"torch.nn does not compute {function.__name__}"
    return f"{reason}; it computes {', '.join(TWINS)}"


def unroll(plan: Plan, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
    """All steps from `state`: the outputs (K, T, B, H) and the last state; replica after replica.

    x: inputs (K, T, B, I), or symbols (K, T, B). Symbols become one-hot vectors, since torch.nn
    multiplies.
    """
    twin = twin_of(plan)
    assert twin is not None, why_not(plan)
    W_KIG = params["W"]
    if not x.is_floating_point():
        x = F.one_hot(x, W_KIG.shape[1]).to(W_KIG.dtype)
    outputs, last = [], []
    for k in range(len(W_KIG)):
        weights = twin.weights(blocks_of(plan, params, k))
        made, *after = _through(twin, weights, x[k], tuple(s[k] for s in state))
        outputs.append(made)
        last.append(after)
    return torch.stack(outputs), tuple(torch.stack(parts) for parts in zip(*last, strict=True))


def blocks_of(plan: Plan, params: Params, k: int) -> dict[str, Tensor]:
    """Every block of replica k of a layer, rows are units: W.z (H, I), R.z (H, H), b.z and p.z (H);
    of a cell with one number a unit.
    """
    hidden = params["W"].shape[-1] // len(plan.blocks["W"])
    return {
        f"{family}.{name}": block[k].T if family in MATRICES else block[k, 0]
        for (family, name), block in loop.blocks_of(plan, params, hidden).items()
    }


def _through(
    twin: Twin, weights: Mapping[str, Tensor], x_TBI: Tensor, state: State
) -> tuple[Tensor, ...]:
    """The outputs (T, B, H) of one layer, and its last states (B, H)."""
    start = tuple(s.unsqueeze(0) for s in state)
    flat = _side_by_side(weights)
    learns = torch.is_grad_enabled()  # cuDNN keeps what its backward pass reads when it trains
    # biases, layers, dropout, training, two directions, batch first
    ways: Any = (True, 1, 0.0, learns, False, False)
    if twin.module is nn.LSTM:
        outputs, *last = torch.lstm(x_TBI, start, flat, *ways)
    elif twin.module is nn.GRU:
        outputs, *last = torch.gru(x_TBI, start[0], flat, *ways)
    else:
        simple: Any = torch.rnn_relu if twin.nonlinearity == "relu" else torch.rnn_tanh
        outputs, *last = simple(x_TBI, start[0], flat, *ways)
    return outputs, *(s.squeeze(0) for s in last)


def _side_by_side(weights: Mapping[str, Tensor]) -> list[Tensor]:
    """The weights as views of one piece of memory, as cuDNN wants them: elsewhere it copies them at
    every call.
    """
    tensors = [weights[name] for name in ORDER]
    whole = torch.cat([t.reshape(-1) for t in tensors])
    parts = whole.split([t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]
