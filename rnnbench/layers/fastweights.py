"""Matrices as states: linear attention, the delta rule, the matrix memory of xLSTM.

Axes: K replicas   B batch   A heads   D units of a head   H units.
"""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, exp, maximum, sigmoid
from torch.nn import functional as F

from rnnbench.engine.layer import Draws, Place, Shapes
from rnnbench.engine.loop import Params, State
from rnnbench.layers.stepped import Stepped, whole, zeros


@dataclass(frozen=True)
class FastWeights(Stepped):
    """Base of layers with a D × D matrix a head, written by keys and values, read by queries."""

    heads: float = 1

    @property
    def multiple(self) -> int:  # type: ignore[override]
        return int(self.heads)

    def at(self, place: Place) -> "FastWeights":
        whole("heads", self.heads)
        return self

    def flops(self, inputs: int, hidden: int) -> int:
        """Products with the input, and four of the size of the matrices."""
        squares = hidden * hidden // int(self.heads)
        return 2 * inputs * self.received(hidden) + 8 * squares + 10 * hidden

    def kept(self, hidden: int) -> int:
        return self.received(hidden) + hidden * hidden // int(self.heads)

    def matrices(self, like: Tensor, batch: int, hidden: int) -> Tensor:
        heads = int(self.heads)
        return zeros(like, batch, heads, hidden // heads, hidden // heads)

    def in_heads(self, x: Tensor) -> Tensor:
        """(K, B, H) as (K, B, A, D)."""
        split: Tensor = x.view(*x.shape[:-1], int(self.heads), -1)
        return split


def outer(a: Tensor, b: Tensor) -> Tensor:
    return a.unsqueeze(-1) * b.unsqueeze(-2)


def read(matrix: Tensor, by: Tensor) -> Tensor:
    """Σ_i by_i · row i."""
    return (matrix * by.unsqueeze(-1)).sum(-2)


@dataclass(frozen=True)
class LinearAttention(FastWeights):
    """Linear attention: a sum of key–value products, read by the query.

    Source: Katharopoulos, Vyas, Pappas & Fleuret (2020), Transformers are RNNs: fast autoregressive
        Transformers with linear attention.
    """

    definition = (
        "q, k = elu(W_q x) + 1, elu(W_k x) + 1,   v = W_v x",
        "S = S + k vᵀ,   z = z + k",
        "y = Sᵀ q / (z · q)",
    )

    @property
    def names(self) -> tuple[str, ...]:
        return "S", "z"

    def received(self, hidden: int) -> int:
        return 3 * hidden

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        matrices = self.matrices(like, batch, hidden)
        return matrices, matrices[..., 0]

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        S, z = state
        q, k, v = (self.in_heads(part) for part in wx.chunk(3, -1))
        q, k = F.elu(q) + 1, F.elu(k) + 1
        S, z = S + outer(k, v), z + k
        y = read(S, q) / (z * q).sum(-1, keepdim=True)
        return y.flatten(-2), (S, z)


@dataclass(frozen=True)
class DeltaNet(FastWeights):
    """Linear attention by the delta rule: what a key held before is replaced, not added to.

    Source: Schlag, Irie & Schmidhuber (2021), Linear Transformers are secretly fast weight
        programmers; keys and queries as in Yang, Wang, Zhang, Shen & Kim (2024), Parallelizing
        linear Transformers with the delta rule over sequence length.
    Reading: without the convolution and the norm around it. reach: of the writing strength; 2 lets
        a transition have the eigenvalue −1 (Grazzi et al., 2025).
    """

    reach: float = 1

    definition = (
        "q, k = unit(silu(W_q x)), unit(silu(W_k x)),   v = W_v x",
        "β = reach · σ(W_β x), a number a head",
        "S = S + β k (v − Sᵀ k)ᵀ",
        "y = Sᵀ q",
    )

    @property
    def names(self) -> tuple[str, ...]:
        return ("S",)

    def received(self, hidden: int) -> int:
        return 3 * hidden + int(self.heads)

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        return (self.matrices(like, batch, hidden),)

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        (S,) = state
        A = int(self.heads)
        beta = self.reach * sigmoid(wx[..., -A:]).unsqueeze(-1)
        q, k, v = (self.in_heads(part) for part in wx[..., :-A].chunk(3, -1))
        q, k = F.normalize(F.silu(q), dim=-1), F.normalize(F.silu(k), dim=-1)
        S = S + outer(beta * k, v - read(S, k))
        return read(S, q).flatten(-2), (S,)


@dataclass(frozen=True)
class MLSTM(FastWeights):
    """Matrix LSTM: a matrix of key–value products, with exponential gates and a normaliser.

    Source: Beck et al. (2024), xLSTM: extended long short-term memory, eqs. 19 to 27.
    Reading: the sigmoid form of the forget gate, whose bias starts between 3 and 6 over heads, as
        in the authors' code; the output gate is dense. Without the block around it
        (model.block=residual is another).
    """

    definition = (
        "q = W_q x,   k = W_k x / √D,   v = W_v x,   o = σ(W_o x + b_o)",
        "m' = max(log σ(f̃) + m, ĩ),   f = exp(log σ(f̃) + m − m'),   i = exp(ĩ − m')",
        "C = f C + i k vᵀ,   n = f n + i k",
        "y = o ⊙ Cᵀ q / max(|n · q|, exp(−m'))",
    )

    @property
    def names(self) -> tuple[str, ...]:
        return "C", "n", "m"

    def received(self, hidden: int) -> int:
        return 4 * hidden + 2 * int(self.heads)

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        matrices = self.matrices(like, batch, hidden)
        return matrices, matrices[..., 0], matrices[..., 0, 0]

    def start_of(self, shapes: Shapes, draw: Draws) -> dict[str, np.ndarray]:
        made = super().start_of(shapes, draw)
        A = int(self.heads)
        made["b"][-A:] = np.linspace(3, 6, A)
        return made

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        C, n, m = state
        A = int(self.heads)
        q, k, v, o = (self.in_heads(part) for part in wx[..., : -2 * A].chunk(4, -1))
        k = k / k.shape[-1] ** 0.5
        i, f = wx[..., -2 * A : -A], F.logsigmoid(wx[..., -A:])
        most = maximum(f + m, i)
        kept, written = exp(f + m - most).unsqueeze(-1), exp(i - most).unsqueeze(-1)
        C = kept.unsqueeze(-1) * C + outer(written * k, v)
        n = kept * n + written * k
        size = maximum((n * q).sum(-1).abs(), exp(-most)).unsqueeze(-1)
        y = sigmoid(o) * read(C, q) / size
        return y.flatten(-2), (C, n, most)
