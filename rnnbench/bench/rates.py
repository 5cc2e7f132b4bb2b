"""What the machine can do at most, and what a step asks of it: products and memory, of one thread.

Axes: K replicas   T time steps   B batch   I input width   C outputs   H state width.
"""

import time
from collections.abc import Callable

import torch

from rnnbench.bench.contender import Shape
from rnnbench.equations.plan import Plan

TRIES = 8
LARGE = 2**25  # numbers of an array that no cache holds: 128 MiB


def product_rate() -> float:
    """The best rate of a large matrix product, in GFLOP/s, over PyTorch's libraries."""
    torch.set_num_threads(1)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    ways: list[Callable[[], object]] = [lambda: a @ b]
    if torch.backends.mkldnn.is_available():
        blocked = a.to_mkldnn(), b.to_mkldnn()
        ways.append(lambda: torch.nn.functional.linear(*blocked))
    return 2e-9 * 1024**3 / min(_seconds(way) for way in ways for _ in range(TRIES))


def memory_rate() -> float:
    """The best rate of a copy and of a triad, a = b + s c, in GB/s: what is read and what is
    written counts once each.
    """
    torch.set_num_threads(1)
    a, b, c = torch.zeros(LARGE), torch.ones(LARGE), torch.ones(LARGE)
    copy = min(_seconds(lambda: a.copy_(b)) for _ in range(TRIES))
    triad = min(_seconds(lambda: torch.add(b, c, alpha=0.5, out=a)) for _ in range(TRIES))
    return 1e-9 * a.nbytes * max(2 / copy, 3 / triad)


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def layer_gflop(plan: Plan, shape: Shape) -> float:
    """Of a layer's products: the recurrent ones forward, backward and for their weights; those of
    the inputs forward and for theirs.
    """
    B, T, I, H = shape  # noqa: E741
    return 2e-9 * B * T * H * (3 * H * len(plan.blocks["R"]) + 2 * I * len(plan.blocks["W"]))


def step_gflop(plan: Plan, shape: Shape, outputs: int, last: bool) -> float:
    """Of a whole training step's products: the layer's, and the read-out's forward, backward and
    for its weights.
    """
    B, T, _, H = shape
    return layer_gflop(plan, shape) + 2e-9 * 3 * B * (1 if last else T) * H * outputs


def step_gigabytes(plan: Plan, shape: Shape, outputs: int, last: bool, buffers: int) -> float:
    """What a training step reads and writes at least, in float32, were nothing of it in a cache.

    Parameters: read forward, backward and by the optimiser, written once; gradients: written, read
    for the norm and by the optimiser; its `buffers` (adam 2, nesterov 1): read and written. Along
    the sequence: inputs read twice; the values of all gates, the states and their gradients written
    and read once.
    """
    B, T, I, H = shape  # noqa: E741
    parameters = plan.count(I, H) + (H + 1) * outputs
    positions = B * T
    along = positions * (2 * I + 2 * H * (len(plan.blocks["W"]) + 2 * len(plan.state)))
    readout = 2 * outputs * B * (1 if last else T)
    return 4e-9 * (parameters * (7 + 2 * buffers) + along + readout)
