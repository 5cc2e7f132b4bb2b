"""The embedded Reber grammar: the last choice of a string repeats the first, far behind."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor

from rnnbench.tasks.contract import Batch, Generated, Scores, at_least, hits, pointwise_loss, summed

SYMBOLS = "BTPSXVE"
INNER = ("B1", "T2 P3", "S2 X4", "T3 V5", "X3 S6", "P4 V6", "E7")  # the grammar: symbol, next state
SHORTEST = len("BTBTXSETE")


def _edges() -> dict[tuple[int, int], int]:
    """(state, symbol) → state of the embedded grammar. State 0 is behind the first B."""
    inner = len(INNER)
    closed = 1 + 2 * (inner + 1)
    edges = {}
    for outer, first in (("T", 1), ("P", 2 + inner)):
        edges[0, outer] = first
        for state, ways in enumerate(INNER):
            for way in ways.split():
                edges[first + state, way[0]] = first + int(way[1])
        edges[first + inner, outer] = closed
    edges[closed, "E"] = closed + 1
    return {(state, SYMBOLS.index(symbol)): after for (state, symbol), after in edges.items()}


EDGES = _edges()
END = max(EDGES.values())  # the state of a complete string
PLACES, LETTERS = range(END + 1), range(7)
NEXT = np.array([[EDGES.get((place, letter), END) for letter in LETTERS] for place in PLACES])
LEGAL = np.array([[(place, letter) in EDGES for letter in LETTERS] for place in PLACES])
CHOICES = np.array([*(np.flatnonzero(row)[[0, -1]] for row in LEGAL[:END]), (-1, -1)])


@dataclass(frozen=True)
class Reber(Generated):
    """Predict the next symbol of strings of the embedded Reber grammar, such as `BTBPVVETE`.

    A string is B, then T or P, then a string of Reber's grammar from B to E, then the same T or P,
    and E. Wherever two symbols are possible each is as probable as the other. `closing` is the
    accuracy at the T or P before the end, which takes memory over everything between; `legal` is
    the share of steps at which the most probable symbol is a possible one.

    Source: Hochreiter & Schmidhuber (1997), Long short-term memory, experiment 1; Reber (1967),
        Implicit learning of artificial grammars; Cleeremans, Servan-Schreiber & McClelland (1989),
        Finite state automata and simple recurrent networks.
    Reading: strings of more than `length` symbols are left out, so that batches have one shape. The
        papers count a string as learnt if, all along, the possible symbols have the highest
        outputs.
    """

    target: float | None = 0.99
    length: int = 40

    loss = "cross_entropy"
    metric = "closing"
    goal = "max"
    symbols = True
    inputs = len(SYMBOLS)
    outputs = len(SYMBOLS)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(SHORTEST, length=self.length)

    @property
    def horizon(self) -> int:
        return self.length - 3

    @property
    def steps(self) -> int:
        return self.length - 1

    @cached_property
    def baseline(self) -> dict[str, float]:
        """The step and the symbol are known: a sum over the states in which a string can be."""
        move = np.zeros(NEXT.shape[:1] * 2)
        for (state, _), after in EDGES.items():
            move[state, after] += 1 / LEGAL[state].sum()
        move[END, END] = 1
        finish = [np.eye(END + 1)[END]]  # from each state, the probability to end in 0, 1, … steps
        for _ in range(self.steps):
            finish.append(move @ finish[-1])
        share = np.zeros((len(SYMBOLS), END + 1))  # of the strings, by last symbol and state
        share[SYMBOLS.index("B"), 0] = 1
        steps = nats = legal = 0.0
        for left in range(self.steps, 0, -1):
            joint, moved = np.zeros((len(SYMBOLS), len(SYMBOLS))), np.zeros_like(share)
            for (state, symbol), after in EDGES.items():
                if finish[left][state]:
                    odds = finish[left - 1][after] / finish[left][state] / LEGAL[state].sum()
                    joint[:, symbol] += share[:, state] * odds
                    moved[symbol, after] += share[:, state].sum() * odds
            steps += joint.sum()
            nats += entr(joint).sum() - entr(joint.sum(1)).sum()
            legal += (share @ LEGAL).max(1).sum()
            share = moved
        return {"closing": 0.5, "legal": float(legal / steps), "nats": float(nats / steps)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        symbols = np.empty((self.length + 1, 0), np.int64)
        while symbols.shape[1] < size:
            strings = self._strings(rng, size + size // 8)
            symbols = np.concatenate([symbols, strings[:, strings[-1] < 0]], 1)  # or too long
        symbols = np.ascontiguousarray(symbols[:, :size])
        y = symbols[1:-1]
        mask = y >= 0
        return Batch(np.maximum(symbols[:-2], 0), np.where(mask, y, 0), mask)

    def _strings(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """(length + 1, size): the symbols of each string, then -1."""
        coin = rng.integers(0, 2, (self.length, size))
        symbols = np.empty((self.length + 1, size), np.int64)
        symbols[0], state = SYMBOLS.index("B"), np.zeros(size, np.int64)
        for step, side in enumerate(coin, 1):
            symbols[step] = CHOICES[state, side]
            state = NEXT[state, symbols[step]]
        return symbols

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        assert mask is not None
        right = hits(prediction, y)
        legal = legal_next(y).gather(-1, prediction.argmax(-1, keepdim=True))[..., 0].float()
        more = torch.zeros_like(mask)
        more[:, :-1] = mask[:, 1:]
        last_but_one = more.clone()
        last_but_one[:, :-1] &= ~more[:, 1:]
        return {
            "closing": summed(right, last_but_one),
            "legal": summed(legal, mask),
            "nats": summed(pointwise_loss(self.loss, prediction, y), mask),
        }


def legal_next(y: Tensor) -> Tensor:
    """Which symbols may stand where y, (K, T, B), does: (K, T, B, symbols) of booleans.

    Beyond the end of a string all values are without meaning.
    """
    move, legal = (torch.from_numpy(table).to(y.device) for table in (NEXT, LEGAL))
    state, states = torch.zeros_like(y[:, 0]), []
    for symbol in y.unbind(1):
        states.append(state)
        state = move[state, symbol]
    return legal[torch.stack(states, 1)]
