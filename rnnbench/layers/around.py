"""What stands around another layer."""

from dataclasses import dataclass, replace
from typing import Self

import torch

from rnnbench.engine.layer import Layer, Unroll


@dataclass(frozen=True)
class Around(Layer):
    """Base of a layer with another one inside, which says how it is computed and of what sizes."""

    inner: Layer

    @property
    def multiple(self) -> int:  # type: ignore[override]
        return self.inner.multiple

    @property
    def told(self) -> str:
        return self.inner.told

    def chosen(
        self, engine: str, device: str, dtype: torch.dtype, replicas: int
    ) -> tuple[str, Unroll | None]:
        return self.inner.chosen(engine, device, dtype, replicas)

    def by(self, unroll: Unroll | None) -> Self:
        return replace(self, inner=self.inner.by(unroll))
