"""Matrices (K, P) with a replica a row, each row at a multiple of 64 bytes.

Libraries round otherwise where numbers lie otherwise; so the bits of a replica do not depend on
which row it is, nor on how many there are.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNED = 64  # bytes


def zeros(rows: int, columns: int, dtype: torch.dtype, device: str | torch.device) -> Tensor:
    """(rows, columns) of zeros."""
    lanes = ALIGNED // dtype.itemsize
    wide = -(-columns // lanes) * lanes
    return torch.zeros(rows, wide, dtype=dtype, device=device)[:, :columns]


def zeros_like(matrix: Tensor) -> Tensor:
    return zeros(len(matrix), matrix.shape[1], matrix.dtype, matrix.device)


def taken(matrix: Tensor, chosen: Sequence[int]) -> Tensor:
    """A copy of some of the rows, in this order."""
    made = zeros(len(chosen), matrix.shape[1], matrix.dtype, matrix.device)
    return made.copy_(matrix[list(chosen)])
