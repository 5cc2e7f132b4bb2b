"""Batches of K seeds as tensors: stacked, padded to the longest, on the device.

Axes: K replicas   T time steps   B batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.tasks.contract import Batch, Split, Task


@dataclass(frozen=True)
class Stacked:
    """As `Batch`, with a leading axis K. y and mask: time first if not `last`."""

    x: Tensor
    y: Tensor
    mask: Tensor | None
    last: bool
    carry: bool


@dataclass(frozen=True)
class Feeder:
    """Batches of one task for K seeds."""

    task: Task
    seeds: tuple[int, ...]
    dtype: torch.dtype
    device: str

    def of(self, runs: Sequence[int]) -> "Feeder":
        """For some of the K."""
        return replace(self, seeds=tuple(self.seeds[k] for k in runs))

    def training(self, step: int, size: int) -> Stacked:
        drawn = {
            seed: self.task.batch(Draw(seed), step, size) for seed in dict.fromkeys(self.seeds)
        }
        return self._stacked([drawn[seed] for seed in self.seeds])

    def evaluation(self, split: Split, size: int, limit: int | None) -> Iterator[Stacked]:
        """The split in batches of `size`; at most `limit` of them."""
        seeds = dict.fromkeys(self.seeds if self.task.per_seed else self.seeds[:1])
        streams = {seed: self.task.evaluation(split, Draw(seed), size) for seed in seeds}
        for batches in islice(zip(*streams.values(), strict=True), limit):
            drawn = dict(zip(seeds, batches, strict=True))
            yield self._stacked(
                [drawn[seed] for seed in self.seeds] if self.task.per_seed else list(batches)
            )

    def _stacked(self, batches: Sequence[Batch]) -> Stacked:
        first = batches[0]
        masks = [b.mask for b in batches if b.mask is not None]
        return Stacked(
            x=self._tensor([b.x for b in batches]),
            y=self._tensor([b.y for b in batches], padded=not first.last),
            mask=self._tensor(masks) if masks else None,
            last=first.last,
            carry=first.carry,
        )

    def _tensor(self, arrays: Sequence[np.ndarray], padded: bool = True) -> Tensor:
        longest = max(len(a) for a in arrays)
        if padded and any(len(a) < longest for a in arrays):
            arrays = [
                np.concatenate([a, np.zeros((longest - len(a), *a.shape[1:]), a.dtype)])
                for a in arrays
            ]
        whole = torch.from_numpy(np.stack(arrays) if len(arrays) > 1 else arrays[0][None])
        whole = whole.to(self.device, self.dtype if whole.is_floating_point() else whole.dtype)
        return whole.expand(
            len(self.seeds), *whole.shape[1:]
        )  # one batch for all where seeds do not matter
