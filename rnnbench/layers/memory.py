"""Networks with a memory beside their units: the Stack-RNN and the neural Turing machine.

Axes: K replicas   B batch   H units   N rows of memory   D width of a row.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, sigmoid, tanh
from torch.nn import functional as F

from rnnbench.engine.layer import Place, Shapes
from rnnbench.engine.loop import Params, State
from rnnbench.formatting import plural
from rnnbench.layers.stepped import Stepped, whole, zeros

EMPTY = -1.0  # what an empty cell of a stack holds
TOP = 2  # cells of a stack that the units see


@dataclass(frozen=True)
class StackRNN(Stepped):
    """Stack-RNN: units that push on stacks and pop from them, by degrees.

    Source: Joulin & Mikolov (2015), Inferring algorithmic patterns with stack-augmented recurrent
        nets; vectors on the stack and a choice to leave it as in Delétang et al. (2023), Neural
        networks and the Chomsky hierarchy.
    Reading: units are tanh and see each other, too; actions are not rounded at test.

    stacks, size: how many, and of how many numbers a cell. cells: of a stack; 0: as many as the
    task's horizon has steps.
    """

    stacks: float = 1
    size: float = 8
    cells: float = 0

    definition = (
        "h = tanh(W x + R h + P top(S) + b),   top: the two uppermost cells",
        "a = softmax(A h + d): push, pop, rest, for every stack",
        "v = tanh(D h)",
        "S_0 = a_push v + a_pop S_1 + a_rest S_0",
        "S_i = a_push S_{i−1} + a_pop S_{i+1} + a_rest S_i",
    )

    def at(self, place: Place) -> "StackRNN":
        for name in ("stacks", "size"):
            whole(name, getattr(self, name))
        whole("cells", self.cells, 0)
        longest = max(place.horizon or 50, place.reach or 0)
        return self if self.cells else replace(self, cells=max(TOP, longest))

    @property
    def told(self) -> str:
        stacks = plural(int(self.stacks), "stack")
        return f"{stacks} of {self.cells:g} cells of {self.size:g} numbers"

    @property
    def names(self) -> tuple[str, ...]:
        return "h", "S"

    def received(self, hidden: int) -> int:
        return hidden

    def flops(self, inputs: int, hidden: int) -> int:
        stacks = int(self.stacks) * int(self.cells) * int(self.size)
        return super().flops(inputs, hidden) + 5 * stacks

    def more(self, hidden: int) -> Shapes:
        S, D = int(self.stacks), int(self.size)
        return {
            "R": (hidden, hidden),
            "P": (S * TOP * D, hidden),
            "A": (hidden, S * 3),
            "d": (S * 3,),
            "D": (hidden, S * D),
        }

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        shape = int(self.stacks), int(self.cells), int(self.size)
        return zeros(like, batch, hidden), zeros(like, batch, *shape) + EMPTY

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        h, stack = state
        seen = stack[:, :, :, :TOP].flatten(2)
        h = tanh(wx + h @ params["R"] + seen @ params["P"])
        asked = (h @ params["A"] + params["d"].unsqueeze(1)).unflatten(-1, (-1, 3))
        push, pop, rest = asked.softmax(-1)[..., None, None].unbind(-3)
        value = tanh(h @ params["D"]).unflatten(-1, (int(self.stacks), 1, -1))
        pushed = torch.cat([value, stack[:, :, :, :-1]], 3)
        popped = torch.cat([stack[:, :, :, 1:], torch.full_like(stack[:, :, :, :1], EMPTY)], 3)
        return h, (h, push * pushed + pop * popped + rest * stack)


@dataclass(frozen=True)
class NTM(Stepped):
    """Neural Turing machine: an LSTM with heads that read from and write to a memory.

    Source: Graves, Wayne & Danihelka (2014), Neural Turing machines, eqs. 1 to 9.
    Reading: heads address the memory before it is written. It starts with fixed small random rows
        and every head at the first of them, as Collier & Beel (2018), Implementing neural Turing
        machines, found starts to matter. Sharpening is in logarithms. The read-out sees the
        controller and what was read.

    rows, columns: of the memory. heads: readers, and as many writers.
    """

    rows: float = 64
    columns: float = 16
    heads: float = 1

    definition = (
        "y, c = LSTM(x, r, y, c)",
        "k, β, g, s, γ = linear(y), for every head; e = σ(·), a = tanh(·) for writers",
        "w_c = softmax(β cos(k, M)),   w_g = g w_c + (1 − g) w",
        "w = softmax(γ log Σ_j w_g(j) s(i − j))",
        "r = Σ_i w_i M_i   (old memory),   M_i = M_i ⊙ (1 − w_i e) + w_i a",
    )

    def at(self, place: Place) -> "NTM":
        for name, least in (("rows", 3), ("columns", 1), ("heads", 1)):
            whole(name, getattr(self, name), least)
        return self

    @property
    def told(self) -> str:
        heads = int(self.heads)
        memory = f"memory {self.rows:g} × {self.columns:g}"
        return f"{plural(heads, 'reader')} and {plural(heads, 'writer')}, {memory}"

    @property
    def names(self) -> tuple[str, ...]:
        return "y", "c", "r", "w", "M"

    @property
    def _asked(self) -> int:
        """Numbers of one head's address: key, strength, gate, three shifts, sharpening."""
        return int(self.columns) + 6

    def width(self, hidden: int) -> int:
        return hidden + int(self.heads) * int(self.columns)

    def received(self, hidden: int) -> int:
        return 4 * hidden

    def flops(self, inputs: int, hidden: int) -> int:
        """Beside a multiply-add for every parameter: of each reader and writer a comparison with
        all rows and a product with them, of a writer erasing and adding, and the weights.
        """
        A, N = int(self.heads), int(self.rows)
        memory = A * N * int(self.columns)
        return super().flops(inputs, hidden) + (2 * 2 + 2 + 5) * memory + 2 * A * 15 * N

    def more(self, hidden: int) -> Shapes:
        A, D = int(self.heads), int(self.columns)
        told = 2 * A * self._asked + 2 * A * D  # addresses of both kinds; erase and add
        return {
            "R": (hidden, 4 * hidden),
            "P": (A * D, 4 * hidden),
            "H": (hidden, told),
            "h": (told,),
        }

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        A, D, N = int(self.heads), int(self.columns), int(self.rows)
        limit = 1 / (N + D) ** 0.5
        drawn = np.random.default_rng(0).uniform(-limit, limit, (N, D))
        memory = torch.from_numpy(drawn).to(like).expand(len(like), batch, N, D)
        at_first = F.one_hot(torch.zeros(2 * A, dtype=torch.int64), N).to(like)
        places = at_first.expand(len(like), batch, 2 * A, N)
        units = zeros(like, batch, hidden)
        return units, units, zeros(like, batch, A * D), places, memory

    def step(self, params: Params, wx: Tensor, state: State) -> tuple[Tensor, State]:
        y, c, r, w, M = state
        A, D = int(self.heads), int(self.columns)
        z, i, f, o = (wx + y @ params["R"] + r @ params["P"]).chunk(4, -1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(z)
        y = sigmoid(o) * tanh(c)
        told = y @ params["H"] + params["h"].unsqueeze(1)
        asked, written = told.split([2 * A * self._asked, 2 * A * D], -1)
        w = addressed(asked.unflatten(-1, (2 * A, -1)), w, M)
        readers, writers = w[:, :, :A], w[:, :, A:]
        r = (readers @ M).flatten(2)
        erase, add = written.unflatten(-1, (2, A, D)).unbind(2)
        for head in range(A):
            place = writers[:, :, head].unsqueeze(-1)
            M = M * (1 - place * sigmoid(erase[:, :, head]).unsqueeze(2))
            M = M + place * tanh(add[:, :, head]).unsqueeze(2)
        return torch.cat([y, r], -1), (y, c, r, w, M)


def addressed(asked: Tensor, before: Tensor, M: Tensor) -> Tensor:
    """The weights of heads over rows. asked: (K, B, heads, D + 6); before: (K, B, heads, N)."""
    D = M.shape[-1]
    key, strength, gate, shift, sharp = asked.split([D, 1, 1, 3, 1], -1)
    alike = F.normalize(tanh(key), dim=-1) @ F.normalize(M, dim=-1).transpose(-1, -2)
    content = (F.softplus(strength) * alike).softmax(-1)
    mixed = sigmoid(gate) * content + (1 - sigmoid(gate)) * before
    left, stay, right = shift.softmax(-1).split(1, -1)
    moved = left * mixed.roll(-1, -1) + stay * mixed + right * mixed.roll(1, -1)
    sharpened: Tensor = ((1 + F.softplus(sharp)) * (moved + 1e-16).log()).softmax(-1)
    return sharpened
