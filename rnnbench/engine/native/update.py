"""Clipping and the optimiser's update in one compiled pass over every replica. CPU only.

The reference is `engine.optimizers`, whose formulas these are.

Axes: K replicas   P parameters of one replica.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnbench.engine.native.head import library
from rnnbench.engine.native.words import Word, fields

RULES = ("sgd", "nesterov", "rmsprop", "adam")  # in the order of update.hpp
BUFFERS = ("velocity", "mean"), ("square",)  # the state by its names: first, second


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

    def __call__(self, gradients: Sequence[Tensor], rate_K: Tensor, loss_K: Tensor) -> Tensor:
        """One step; returns the norms of the gradients before clipping (K).

        gradients: (K, …) each, in the order in which `parameters` holds theirs. A replica whose
            loss or norm is not finite keeps parameters and state bit for bit.
        """
        norm_K = torch.empty_like(loss_K)
        self.numbers[:, 0] = rate_K
        parts = [g.contiguous() for g in gradients]
        words = self.words(parts, loss_K, norm_K)
        self.function(fields(words))
        return norm_K

    def words(self, gradients: Sequence[Tensor], loss_K: Tensor, norm_K: Tensor) -> list[Word]:
        """The Update of update.hpp, of as many replicas as the gradients have: (·, …) each, in
        rows without gaps.
        """
        sizes = [g[0].numel() for g in gradients]
        assert sum(sizes) == self.parameters.shape[1], f"gradients of {sum(sizes)} numbers"
        strides, places = [g.stride(0) for g in gradients], [g.data_ptr() for g in gradients]
        lists = [fields(numbers) for numbers in (sizes, strides, places)]
        first, second = (self._state(*names) for names in BUFFERS)
        return [
            *(self.rule, len(gradients[0]), len(gradients), torch.get_num_threads(), self.apart),
            *(
                *lists,
                loss_K,
                self.numbers,
                self.parameters,
                first,
                second,
                self._state("count"),
                norm_K,
            ),
        ]

    def _state(self, *names: str) -> Tensor | None:
        """The one of the buffers that this rule has."""
        return next((self.state[name] for name in names if name in self.state), None)
