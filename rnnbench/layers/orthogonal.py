"""A recurrent matrix that stays orthogonal while it learns.

Axes: K replicas   T time steps   B batch   I input width   H units.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, where
from torch.nn.functional import relu

from rnnbench.draw import Draw
from rnnbench.engine import engines
from rnnbench.engine.init import glorot
from rnnbench.engine.layer import Layer, Shapes, Unroll
from rnnbench.engine.loop import Params, State, unroll
from rnnbench.equations.plan import Plan, plan
from rnnbench.settings import Cell


def modulated(W, R, b, x, h):  # type: ignore[no-untyped-def]
    """Linear but for a threshold on the modulus: modReLU.

    Source: Arjovsky, Shah & Bengio (2016), Unitary evolution recurrent neural networks, eq. 8.
    """
    z = W.h @ x + R.h @ h
    size = relu(abs(z) + b.h)
    return where(z > 0, size, -size)


@dataclass(frozen=True, eq=False)
class ExpRNN(Layer):
    """Orthogonal RNN: the recurrent matrix is the exponential of a skew-symmetric one.

    Source: Lezcano-Casado & Martínez-Rubio (2019), Cheap orthogonal constraints in neural networks:
        a simple parametrization of the orthogonal and unitary group.
    Reading: the exponential at the origin throughout; rotations start with angles uniform in
        (−π, π), as in Henaff, Szlam & LeCun (2016); one learning rate for all parameters.
    """

    unroll: Unroll = unroll

    placed = ("unroll",)
    definition = (
        "R = exp(A − Aᵀ),   A below the diagonal",
        "z = W x + R h",
        "h = sign(z) ⊙ relu(|z| + b)",
    )

    @property
    def equations(self) -> Plan:
        """Of a step, with the orthogonal matrix as its recurrent one."""
        return EQUATIONS

    @property
    def names(self) -> tuple[str, ...]:
        return ("h",)

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        return {"W": (inputs, hidden), "A": (hidden * (hidden - 1) // 2,), "b": (hidden,)}

    def initial(
        self, cell: Cell, draw: Draw, index: int, inputs: int, hidden: int, horizon: int | None
    ) -> dict[str, np.ndarray]:
        self.refuse_gates(cell)
        A = np.zeros((hidden, hidden))
        angles = draw(f"init {index} A").uniform(-np.pi, np.pi, hidden // 2)
        rows = 2 * np.arange(hidden // 2)
        A[rows + 1, rows] = angles
        W = glorot(draw(f"init {index} W"), inputs, hidden, 0.0)
        return {"W": W, "A": A[np.tril_indices(hidden, -1)], "b": np.zeros(hidden)}

    def flops(self, inputs: int, hidden: int) -> int:
        """Without the exponential, which is computed once for all steps and sequences."""
        return self.equations.flops(inputs, hidden)

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        return (like.new_zeros(len(like), batch, hidden),)

    def chosen(
        self, engine: str, device: str, dtype: torch.dtype, replicas: int
    ) -> tuple[str, Unroll | None]:
        return engines.chosen(engine, self.equations, device, dtype, replicas)

    def by(self, unroll: Unroll | None) -> "ExpRNN":
        return self if unroll is None else ExpRNN(unroll)

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        W, b = params["W"], params["b"]
        R = rotation(params["A"], b.shape[-1])
        return self.unroll(self.equations, {"W": W, "R0": R, "b": b}, x, state)


def rotation(below_KN: Tensor, hidden: int) -> Tensor:
    """exp(A − Aᵀ) of what stands below the diagonal of A, row by row: (K, H, H)."""
    A = below_KN.new_zeros(len(below_KN), hidden, hidden)
    rows, columns = torch.tril_indices(hidden, hidden, -1)
    A = A.index_put((torch.arange(len(A))[:, None], rows, columns), below_KN)
    exponential: Tensor = torch.linalg.matrix_exp(A - A.transpose(1, 2))
    return exponential


EQUATIONS = plan(modulated)
