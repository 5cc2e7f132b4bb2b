"""nn.LSTM, nn.GRU and nn.RNN, for the cells that they compute; on CUDA that is cuDNN."""

import torch

from rnnbench.engine import library
from rnnbench.engine.unroller import Unroller
from rnnbench.equations.plan import Plan


def why_not(plan: Plan, dtype: torch.dtype, device: str) -> str | None:
    """What torch.nn lacks; the device does not matter."""
    reason = library.why_not(plan)
    return f"{reason}; use engine=auto" if reason else None


def rank(device: str, replicas: int) -> int:
    """First for a single run on CUDA; it computes replica after replica."""
    return 3 if device.startswith("cuda") and replicas == 1 else 0


UNROLLER = Unroller(library.unroll, why_not, rank)
