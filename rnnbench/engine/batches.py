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
from rnnbench.tasks.contract import Batch, Split, Task, stacked


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
        seeds = list(dict.fromkeys(self.seeds))
        drawn = self.task.together([Draw(seed) for seed in seeds], step, size)
        return self._stacked(drawn, [seeds.index(seed) for seed in self.seeds])

    def evaluation(self, split: Split, size: int, limit: int | None) -> Iterator[Stacked]:
        """The split in batches of `size`; at most `limit` of them."""
        seeds = dict.fromkeys(self.seeds if self.task.per_seed else self.seeds[:1])
        streams = {seed: self.task.evaluation(split, Draw(seed), size) for seed in seeds}
        for batches in islice(zip(*streams.values(), strict=True), limit):
            places = [list(seeds).index(seed) if self.task.per_seed else 0 for seed in self.seeds]
            yield self._stacked(stacked(batches), places)

    def _stacked(self, batch: Batch, places: list[int]) -> Stacked:
        """places: for every replica, which of the batches is its own."""
        x, y = self._tensor(batch.x, places), self._tensor(batch.y, places)
        mask = None if batch.mask is None else self._tensor(batch.mask, places)
        return Stacked(x, y, mask, batch.last, batch.carry)

    def _tensor(self, array: np.ndarray, places: list[int]) -> Tensor:
        whole = torch.from_numpy(array)
        whole = whole.to(self.device, self.dtype if whole.is_floating_point() else whole.dtype)
        if len(whole) == 1:  # one batch for all
            return whole.expand(len(places), *whole.shape[1:])
        return whole if len(whole) == len(places) else whole[places]
