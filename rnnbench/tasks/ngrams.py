"""Dynamic n-grams: learn the statistics of a sequence while reading it."""

from dataclasses import dataclass
from functools import cached_property
from math import log, pi

import numpy as np
import torch
from scipy.special import entr
from torch import Tensor

from rnnbench.tasks.contract import Batch, Generated, Scores, at_least, pointwise_loss
from rnnbench.tasks.vectors import per_sequence

START = 2


@dataclass(frozen=True)
class NGrams(Generated):
    """Predict every bit of a sequence whose rule is new each time.

    For every combination of the last `context` bits a probability of a one is drawn from
    Beta(½, ½); each bit is drawn with the probability that belongs to those before it, the first
    `context` bits with ½. `bits` is the cross-entropy of a sequence in bits, `excess` what that is
    above the best possible predictor's on the same sequences.

    Source: Graves, Wayne & Danihelka (2014), Neural Turing machines (dynamic n-grams; 200 bits,
        6-grams).
    Reading: all bits are scored, the first `context` with the others. The best predictor counts: it
        gives a one the probability (n₁ + ½) / (n₁ + n₀ + 1) after n₁ ones and n₀ zeros behind the
        same bits; it is Bayes' rule for this prior, and it needs 133.1 bits a sequence. What bits
        cost without memory is estimated once from 8,192 sequences, whatever the seed: less than one
        each, because a run of equal bits tends to go on.
    """

    target: float | None = 2
    length: int = 200
    context: int = 5

    loss = "bernoulli"
    metric = "excess"
    goal = "min"
    symbols = True
    inputs = 3
    outputs = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, context=self.context)
        at_least(self.context + 1, length=self.length)

    @property
    def horizon(self) -> int:
        return self.length

    @cached_property
    def baseline(self) -> dict[str, float]:
        """Whether a bit equals the one before it, at each step."""
        bits = self._bits(np.random.default_rng(0), 8192)
        equal = (bits[1:] == bits[:-1]).mean(1)
        blind = 1 + (entr(equal) + entr(1 - equal)).sum() / log(2)
        least = best_bits(torch.from_numpy(bits), self.context).mean()
        return {"excess": float(blind - least), "bits": float(blind)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        bits = self._bits(rng, size)
        x = np.concatenate([np.full((1, size), START), bits[:-1]])
        return Batch(x, bits[..., None].astype(np.float32))

    def _bits(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """(length, size) of 0 and 1."""
        contexts = 2**self.context
        table = rng.beta(0.5, 0.5, size * contexts)
        coin = rng.random((self.length, size))
        bits = np.empty((self.length, size), np.int64)
        bits[: self.context] = coin[: self.context] < 0.5
        own = np.arange(size) * contexts
        context = 2 ** np.arange(self.context)[::-1] @ bits[: self.context]
        for step in range(self.context, self.length):
            bit = coin[step] < table[own + context]
            bits[step] = bit
            context = (2 * context + bit) % contexts
        return bits

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        bits, count = per_sequence(pointwise_loss(self.loss, prediction, y) / log(2), mask)
        least = torch.stack([best_bits(one, self.context).sum() for one in y[..., 0].long()])
        return {"excess": (bits - least.to(bits), count), "bits": (bits, count)}


def best_bits(bits: Tensor, context: int) -> Tensor:
    """What the sequences (T, B) cost the best predictor, (B,), in bits.

    The product of its predictions behind one context is B(n₁ + ½, n₀ + ½) / B(½, ½), whatever the
    order of the ones and zeros.
    """
    steps, size = bits.shape
    behind = torch.zeros(steps - context, size, dtype=torch.long, device=bits.device)
    for lag in range(context):
        behind = 2 * behind + bits[lag : steps - context + lag]
    place = 2 * behind + bits[context:]
    count = torch.zeros(2 ** (context + 1), size, dtype=torch.float64, device=bits.device)
    count.scatter_add_(0, place, torch.ones_like(place, dtype=torch.float64))
    zeros, ones = count[::2] + 0.5, count[1::2] + 0.5
    likely = torch.lgamma(zeros) + torch.lgamma(ones) - torch.lgamma(zeros + ones) - log(pi)
    return context - likely.sum(0) / log(2)
