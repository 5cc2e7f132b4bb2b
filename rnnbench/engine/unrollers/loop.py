"""The reference: a plain PyTorch loop over time, for every cell, on every device."""

import torch

from rnnbench.engine import loop
from rnnbench.engine.unroller import Unroller
from rnnbench.equations.plan import Plan


def why_not(plan: Plan, dtype: torch.dtype, device: str) -> None:
    """Nothing is beyond it."""


def rank(device: str, replicas: int) -> int:
    """Where nothing else can."""
    return 1


UNROLLER = Unroller(loop.unroll, why_not, rank)
