"""What an engine is: how it computes a cell's equations, and what it cannot do.

One of ours is a file in `engine/unrollers`; one from outside is an entry point of the group
`rnnbench.engine.unrollers`, or a file of one's own: `engine=path/to/file.py:NAME`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from rnnbench.engine.layer import Unroll
from rnnbench.equations.plan import Plan


def never(device: str, replicas: int) -> int:
    """The rank of an engine that `auto` leaves alone."""
    return 0


@dataclass(frozen=True)
class Unroller:
    """unroll: plan, parameters, inputs and states (K, …) → outputs and last states (see
    `engine.loop`, the reference); it is differentiated by autograd.

    why_not: why it cannot compute a plan in this precision on this device (cpu, cuda, cuda:1), or
    None. rank: on a device, for so many replicas, where it stands in the order in which engine=auto
    asks, the highest first; 0: it does not.
    """

    unroll: Unroll
    why_not: Callable[[Plan, torch.dtype, str], str | None]
    rank: Callable[[str, int], int] = never
