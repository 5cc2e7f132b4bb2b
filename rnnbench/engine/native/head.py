"""Read-out and loss in one compiled pass, forward and backward. CPU only.

The reference is `engine.gradient`: a linear read-out and `tasks.contract.pointwise_loss`, through
autograd.

Axes: K replicas   N rows (time steps and sequences)   H units   C outputs.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from rnnbench.engine.native import build
from rnnbench.engine.native.words import Word, fields

LOSSES = ("mse", "bernoulli", "cross_entropy")  # in the order of head.hpp
REAL = {torch.float32: "float", torch.float64: "double"}
FLAGS = tuple("-O3" if flag == "-O2" else flag for flag in build.FLAGS)  # plain loops: vectorise


@cache
def library(name: str, dtype: torch.dtype) -> ctypes.CDLL:
    """The compiled functions of NAME.hpp, on the vectors, products and threads of all cells."""
    folder = Path(__file__).parent
    parts = [(folder / f"{part}.hpp").read_text("utf-8") for part in ("kernel", "team", name)]
    return build.library("\n".join([f"#define REAL {REAL[dtype]}", *parts]), FLAGS)


def loss_and_gradient(
    loss: str, x: Tensor, W: Tensor, b: Tensor, y: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean loss of every replica (K), and its gradients with respect to x, W and b.

    x: (K, N, H), rows of each replica side by side. W: (K, H, C). b: (K, C). y: classes (K, N), or
    values (K, N, C). mask: (K, N), the rows that count; None: all of them.
    """
    K, N, H = x.shape
    C = W.shape[2]
    y = y.to(torch.int64 if loss == "cross_entropy" else x.dtype).contiguous()
    mask = None if mask is None else mask.contiguous()
    made = x.new_empty(K), x.new_empty(K, N, H), x.new_empty(K, H, C), x.new_empty(K, C)
    given = words(loss, x, W, b, y, mask, *made)
    if library("head", x.dtype).head(fields(given)):
        raise no_class(y, C)
    return made


def words(
    loss: str,
    x: Tensor,
    W: Tensor,
    b: Tensor,
    y: Tensor,
    mask: Tensor | None,
    mean: Tensor,
    slope_x: Tensor,
    slope_W: Tensor,
    slope_b: Tensor,
) -> list[Word]:
    """The Head of head.hpp, of as many replicas as x has; rows of y, mask and slope_x side by
    side.
    """
    strides = [t.stride(0) for t in (x, W, b, slope_W, slope_b)]
    sizes = LOSSES.index(loss), *x.shape, W.shape[2], torch.get_num_threads()
    return [*sizes, *strides, x, W, b, y, mask, mean, slope_x, slope_W, slope_b]


def no_class(y: Tensor, outputs: int) -> IndexError:
    return IndexError(f"classes are numbers from 0 to {outputs - 1}, got {y.min()} to {y.max()}")
