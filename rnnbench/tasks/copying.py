"""Copy memory: symbols shown at the start are recalled after a long gap."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, log

import numpy as np
from scipy.special import entr
from torch import Tensor

from rnnbench.tasks.contract import Batch, Generated, Scores, at_least, hits, pointwise_loss, summed


@dataclass(frozen=True)
class Copy(Generated):
    """Read `items` symbols, wait, and recall them in order when the delimiter has come.

    Inputs are `items` symbols out of 1…alphabet, length - 1 blanks (0), the delimiter (alphabet +
    1) and blanks to the
    end: length + 2·items steps. The answer is blank but for the `items` steps after the delimiter.
        The loss is the mean over all steps; `nats` reports it, `recall` and `recall_nats` look at
        the recalled symbols alone.

    Source: Hochreiter & Schmidhuber (1997), Long short-term memory; Arjovsky, Shah & Bengio (2016),
        Unitary evolution recurrent neural networks; for `variable`, Henaff, Szlam & LeCun (2016),
        Recurrent orthogonal networks and long-memory tasks.
    Reading: one-hot symbols and a single delimiter, as in Arjovsky et al.; Bai, Kolter & Koltun
        (2018) feed the digit as a magnitude and repeat the delimiter. With `variable` the delimiter
        comes 1…length steps after the last symbol; the number of steps stays length + 2·items, as
        in Tallec & Ollivier (2018). Their baseline for `nats`, items·ln(alphabet) / steps,
        remembers that the delimiter has come; ours knows the step and its input only, which is the
        same where the gap is fixed.
    """

    target: float | None = 0.99
    length: int = 100
    variable: bool = False
    items: int = 10
    alphabet: int = 8

    loss = "cross_entropy"
    metric = "recall"
    goal = "max"
    symbols = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, length=self.length, items=self.items)
        at_least(2, alphabet=self.alphabet)

    @property
    def inputs(self) -> int:
        return self.alphabet + 2

    @property
    def outputs(self) -> int:
        return self.alphabet + 1

    @property
    def steps(self) -> int:
        return self.length + 2 * self.items

    @property
    def horizon(self) -> int:
        """T_max of Tallec & Ollivier (2018)."""
        return self.length if self.variable else ceil(1.5 * self.length)

    @cached_property
    def baseline(self) -> dict[str, float]:
        """Any symbol will do. `nats`: an answer is due with the probability that its step has,
        seeing no delimiter there.
        """
        gaps = np.arange(1 if self.variable else self.length, self.length + 1)
        delimiter = self.items - 1 + gaps
        seen = np.bincount(delimiter, minlength=self.steps)
        begun, ended = (
            np.bincount(delimiter + lag, minlength=self.steps + 1)[: self.steps].cumsum()
            for lag in (1, self.items + 1)
        )
        # gaps with an answer at this step; gaps without the delimiter there
        due, blind = (begun - ended, len(gaps) - seen)
        share = due / np.maximum(blind, 1)
        timing = (blind * (entr(share) + entr(1 - share))).sum() / len(gaps)
        nats = (timing + self.items * log(self.alphabet)) / self.steps
        return {"recall": 1 / self.alphabet, "recall_nats": log(self.alphabet), "nats": float(nats)}

    def sample(self, rng: np.random.Generator, size: int) -> Batch:
        data = rng.integers(1, self.alphabet + 1, (self.items, size))
        gap = (
            rng.integers(1, self.length + 1, size) if self.variable else np.full(size, self.length)
        )
        x, y = np.zeros((2, self.steps, size), np.int64)
        delimiter, row = self.items - 1 + gap, np.arange(size)
        x[: self.items] = data
        x[delimiter, row] = self.alphabet + 1
        y[delimiter + np.arange(1, self.items + 1)[:, None], row] = data
        return Batch(x, y)

    def score(self, prediction: Tensor, y: Tensor, mask: Tensor | None) -> Scores:
        nats, recalled = pointwise_loss(self.loss, prediction, y), y > 0
        return {
            "recall": summed(hits(prediction, y), recalled),
            "recall_nats": summed(nats, recalled),
            "nats": summed(nats, mask),
        }
