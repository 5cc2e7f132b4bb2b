"""The end-to-end memory network.

Axes: K replicas   T time steps   B batch   M sentences   H units.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from rnnbench.engine.layer import Draws, Layer, Place, Shapes
from rnnbench.engine.loop import Params, State, product
from rnnbench.errors import UserError


@dataclass(frozen=True)
class MemN2N(Layer):
    """End-to-end memory network: a question attends to the sentences before it, in several hops.

    Source: Sukhbaatar, Szlam, Weston & Fergus (2015), End-to-end memory networks.
    Reading: sentences as bags of words, with the temporal encoding; adjacent weights are tied, but
        for the read-out. No linear start and no random noise. At every step the question is the
        sentence so far, so that an answer may be asked for anywhere.

    hops: of attention. memory: so many of the latest sentences are seen. stops: the symbols that
    end a sentence, which the task says.
    """

    hops: float = 3
    memory: float = 50
    stops: tuple[int, ...] = ()

    placed = ("stops",)
    definition = (
        "m_i = Σ_j E_k x_ij + T_k(age of i),   c_i = Σ_j E_{k+1} x_ij + T_{k+1}(age of i)",
        "u = Σ_j E_0 q_j",
        "p = softmax(uᵀ m_i),   u = u + Σ_i p_i c_i   (hop k)",
        "y = u",
    )

    @property
    def told(self) -> str:
        return f"{self.hops:g} hops over the last {self.memory:g} sentences"

    def at(self, place: Place) -> "MemN2N":
        whole("hops", self.hops)
        whole("memory", self.memory)
        if place.index or place.layers > 1:
            raise UserError(
                "model.layers: a memory network reads words, not the outputs of a layer; set "
                "model.layers=1 and cell.constants.hops"
            )
        if not place.stops:
            raise UserError(
                "cell=memn2n reads sentences of words, and this task has none; it is for stories: "
                "task=babi, task=babi_own"
            )
        return replace(self, stops=place.stops)

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        tables = int(self.hops) + 1
        return {"E": (tables, inputs, hidden), "T": (tables, int(self.memory), hidden)}

    def start_of(self, shapes: Shapes, draw: Draws) -> dict[str, np.ndarray]:
        return {name: draw(name).normal(0, 0.1, shape) for name, shape in shapes.items()}

    def flops(self, inputs: int, hidden: int) -> int:
        """Of a step that is answered, with a full memory whose sums are there already."""
        return int(self.hops) * 4 * int(self.memory) * hidden

    def carried(self, inputs: int, hidden: int, steps: int) -> int:
        """Sums of every sentence, of each table; steps: as many sentences at most."""
        return (int(self.hops) + 1) * hidden * min(int(self.memory), steps)

    def kept(self, hidden: int) -> int:
        return (int(self.hops) + 1) * (hidden + int(self.memory))

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x: symbols (K, T, B)."""
        ends = torch.isin(x, torch.tensor(self.stops, device=x.device))
        sentence = ends.cumsum(1) - ends.long()  # the number of each word's sentence: (K, T, B)
        members = F.one_hot(sentence.transpose(1, 2)).to(params["E"])  # (K, B, T, M)
        counted = members.shape[-1]
        age = sentence.transpose(1, 2).unsqueeze(-1) - torch.arange(counted, device=x.device)
        seen = (age >= 1) & (age <= int(self.memory))  # sentences before that of step t
        place = (age - 1).clamp(0, int(self.memory) - 1)
        words = [product(x, E).transpose(1, 2) for E in params["E"].unbind(1)]  # (K, B, T, H)
        sums = [members.transpose(2, 3) @ word for word in words]  # (K, B, M, H)
        times = params["T"].unbind(1)
        u = _so_far(words[0], members)
        for hop in range(int(self.hops)):
            old = torch.einsum("kbth,kah->kbta", u, times[hop]).gather(3, place)
            scores = (u @ sums[hop].transpose(2, 3) + old).masked_fill(~seen, -torch.inf)
            p = torch.where(seen.any(-1, keepdim=True), scores.softmax(-1), 0.0)
            p = torch.where(seen, p, 0.0)
            ages = torch.zeros_like(p[..., :1]).expand(*p.shape[:3], int(self.memory))
            by_age = ages.scatter_add(3, place, p)
            u = u + p @ sums[hop + 1] + torch.einsum("kbta,kah->kbth", by_age, times[hop + 1])
        return u.transpose(1, 2), state


def _so_far(words: Tensor, members: Tensor) -> Tensor:
    """The sum of the words of step t's sentence up to t: (K, B, T, H)."""
    sums = words.cumsum(2)
    before = sums - words
    # where a sentence begins, what was summed before it; the same all along the sentence
    first = members.cumsum(2) * members == 1
    begun = (first.to(words) * members).transpose(2, 3) @ before  # (K, B, M, H)
    return sums - members @ begun


def whole(name: str, value: float, least: int = 1, most: int = 10_000) -> int:
    """A constant that must be a whole number."""
    if value != int(value) or not least <= value <= most:
        raise UserError(
            f"cell.constants.{name} must be a whole number from {least} to {most}, got {value:g}"
        )
    return int(value)
