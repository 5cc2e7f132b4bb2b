"""Clipping and the optimiser's update in one compiled pass over every replica. CPU only.

The reference is `engine.optimizers`, whose formulas these are.

Axes: K replicas   P parameters of one replica.
"""

import ctypes
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnbench.engine.native.head import library

RULES = ("sgd", "nesterov", "rmsprop", "adam")  # in the order of update.hpp
BUFFERS = ("velocity", "mean"), ("square",)  # the state by its names: first, second
FIELDS = 14
Numbers = ctypes.c_int64


class Update:
    """The update of one pack, bound to its parameters and optimiser state, which it changes.

    parameters, state: (K, P), rows of one layout; state["count"]: (K). numbers: (K, 8) float64,
        what every replica's optimiser is set to, in the order of `Settings` in update.hpp; the
        first is the learning rate, which every call sets.
    """

    def __init__(
        self, rule: str, parameters: Tensor, state: Mapping[str, Tensor], numbers: Tensor
    ) -> None:
        self.parameters, self.state, self.numbers = parameters, state, numbers
        self.apart = parameters.stride(0)
        matrices = [t for t in (parameters, *state.values()) if t.dim() == 2]
        assert all(t.stride() == (self.apart, 1) for t in matrices), "rows lie alike"
        self.rule = RULES.index(rule)
        self.function = library("update", parameters.dtype).update
        self.sizes: ctypes.Array[Numbers] | None = None

    def __call__(self, gradients: Sequence[Tensor], rate_K: Tensor, loss_K: Tensor) -> Tensor:
        """One step; returns the norms of the gradients before clipping (K).

        gradients: (K, …) each, in the order in which `parameters` holds theirs. A replica whose
            loss or norm is not finite keeps parameters and state bit for bit.
        """
        K, parts = len(self.parameters), [g.contiguous() for g in gradients]
        if self.sizes is None:
            sizes = [g[0].numel() for g in parts]
            assert sum(sizes) == self.parameters.shape[1], f"gradients of {sum(sizes)} numbers"
            self.sizes = (Numbers * len(sizes))(*sizes)
        self.numbers[:, 0] = rate_K
        norm_K = torch.empty_like(loss_K)
        places = (Numbers * len(parts))(*(g.data_ptr() for g in parts))
        first, second = (self._address(*names) for names in BUFFERS)
        fields = (Numbers * FIELDS)(
            *(self.rule, K, len(parts), torch.get_num_threads(), self.apart),
            *(ctypes.addressof(self.sizes), ctypes.addressof(places), loss_K.data_ptr()),
            *(self.numbers.data_ptr(), self.parameters.data_ptr(), first, second),
            *(self._address("count"), norm_K.data_ptr()),
        )
        self.function(fields)
        return norm_K

    def _address(self, *names: str) -> int:
        """Of the one of the buffers that this rule has; 0: none."""
        return next((self.state[name].data_ptr() for name in names if name in self.state), 0)
