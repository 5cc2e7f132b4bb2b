"""A training step of K runs as compiled calls alone: layers forward, read-out and loss, layers
backward, clipping and optimiser. CPU only.

The reference is `engine.gradient`, which leaves the layers to autograd; the bits are the same.

As many runs as there are threads go through all of it at once, then the next ones: what one call
leaves, the next one finds in the caches, and outputs, gradients and what lies between are in memory
for these few alone.

Axes: K replicas   T time steps   B batch   I input width   H state width.
"""

import ctypes
from collections.abc import Sequence
from copy import copy as shallow_copy
from ctypes import byref
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnbench.engine.batches import Stacked
from rnnbench.engine.loop import State
from rnnbench.engine.native import Sizes, head, inputs, kernel, no_symbol
from rnnbench.engine.native.update import Update
from rnnbench.engine.native.words import Memory, Word, WordTable
from rnnbench.engine.network import Network
from rnnbench.equations.plan import Plan

Number, Address = ctypes.c_int64, ctypes.c_void_p
PARTS: tuple[str, ...] = ("forward", "head", "backward", "update")


class Given(NamedTuple):
    """What a step is given and what it leaves: (K, …) each."""

    x: Tensor
    y: Tensor
    mask: Tensor | None
    keep: Sequence[Tensor]
    starts: Sequence[Tensor]  # the states of the first layer, then those of the next
    lasts: Sequence[Tensor]
    loss: Tensor
    norm: Tensor

    def tensors(self) -> list[Tensor]:
        masks = [] if self.mask is None else [self.mask]
        return [
            *(self.x, self.y, *masks, *self.keep, *self.starts, *self.lasts, self.loss, self.norm)
        ]


@dataclass(frozen=True)
class Turn:
    """One call. part: of a step. counted: where in its words the number of replicas stands."""

    part: str
    function: Any  # of ctypes
    words: list[Word]
    counted: int


@dataclass(frozen=True)
class Prepared:
    """What is called for batches of one size. turns: function and first word of every call.

    held: lists to which words point.
    """

    parts: list[str]
    turns: np.ndarray
    table: WordTable
    held: list[Word]


class Step:
    """The training step of one pack, whose parameters and optimiser state it changes.

    kind: the loss.
    """

    def __init__(self, plan: Plan, network: Network, update: Update, kind: str) -> None:
        self.network, self.update, self.kind, self.parts = network, update, kind, PARTS
        self.made = kernel(plan, network.flat.dtype)
        self.library = head.library("step", network.flat.dtype)
        self.library.through.argtypes = [Address, Number, Address, Number, Number, Address]
        self.memory = Memory(network.flat)
        self.prepared: dict[tuple[Any, ...], Prepared] = {}

    def only(self, *parts: str) -> "Step":
        """Some of the parts, for who measures them; what the others would leave is as the last
        whole step left it.
        """
        made = shallow_copy(self)
        made.parts, made.prepared = parts, {}
        return made

    def __call__(
        self,
        batch: Stacked,
        states: Sequence[State],
        rate_K: Tensor,
        keep: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, list[State], bool]:
        """One step: the losses (K), the norms of the gradients before clipping (K), the states
        after the last time step, and whether all losses and norms are finite.

        keep: see `Network.run`. A replica whose loss or norm is not finite keeps parameters and
            optimiser state bit for bit.
        """
        flat, count = self.network.flat, self.made.state
        starts = [s.contiguous() for state in states for s in state]
        lasts = starts[0].new_empty(len(starts), *starts[0].shape).unbind()
        loss_K, norm_K = flat.new_empty(2, len(flat)).unbind()
        x, y = (self._given(tensor) for tensor in (batch.x, batch.y))
        mask = None if batch.mask is None else self._given(batch.mask)
        given = Given(x, y, mask, keep or (), starts, lasts, loss_K, norm_K)
        self.update.numbers[:, 0] = rate_K
        left = self._through(self._prepared(given, batch.last), given)
        after = [tuple(lasts[i : i + count]) for i in range(0, len(lasts), count)]
        return loss_K, norm_K, after, left == 0

    def _through(self, prepared: Prepared, given: Given) -> int:
        """Make all calls; how many replicas the update left as they were."""
        table, turns, refused = prepared.table(given.tensors()), prepared.turns, Number(0)
        left: int = self.library.through(
            *(turns.ctypes.data, len(turns), table.ctypes.data, *table.shape, byref(refused))
        )
        if not refused.value:
            return left
        if prepared.parts[refused.value - 1] == "head":
            raise head.no_class(given.y, self.network.shapes["readout.b"][0])
        raise no_symbol(given.x, self.network.shapes["0.W"][0])

    def _prepared(self, given: Given, last: bool) -> Prepared:
        drawn = (given.x, given.y, given.mask)
        laid = tuple(None if t is None else (t.shape, t.stride(0)) for t in drawn)
        key = (laid, len(given.keep), last, torch.get_num_threads())
        if key not in self.prepared:
            whole = self.memory.whole
            made = self._prepare(given, last)
            if self.memory.whole is not whole:  # the others point to what is gone
                self.prepared.clear()
            self.prepared[key] = made
        return self.prepared[key]

    def _prepare(self, given: Given, last: bool) -> Prepared:
        given = given._replace(starts=[s.view_as(s) for s in given.starts])  # each its own object
        portion = min(len(given.x), torch.get_num_threads())
        sizes = [self._sizes(given.x, layer, portion) for layer in range(self.network.layers)]
        space = self.memory.divided(self._shapes(sizes, last, bool(given.keep)))
        turns = [t for t in self._turns(given, last, sizes, space) if t.part in self.parts]
        words = [word for turn in turns for word in turn.words]
        starts = np.cumsum([0, *(len(turn.words) for turn in turns)])[:-1].tolist()
        calls = [
            (ctypes.cast(turn.function, ctypes.c_void_p).value, start)
            for turn, start in zip(turns, starts, strict=True)
        ]
        counted = [start + turn.counted for turn, start in zip(turns, starts, strict=True)]
        return Prepared(
            [turn.part for turn in turns],
            np.array(calls, np.int64),
            WordTable(words, len(given.x), portion, given.tensors(), counted),
            [word for word in words if isinstance(word, ctypes.Array)],
        )

    def _sizes(self, x: Tensor, layer: int, portion: int) -> Sizes:
        """The numbers with which a Call begins."""
        _, T, B = x.shape[:3]
        width, apart = self.network.shapes[f"{layer}.W"][0], self.network.flat.stride(0)
        return portion, T, B, width, self.network.hidden, torch.get_num_threads(), T, apart, apart

    def _shapes(
        self, sizes: Sequence[Sizes], last: bool, thins: bool
    ) -> dict[str, tuple[int, ...]]:
        """What a portion needs, by name."""
        portion, T, B, _, H, threads, *_ = sizes[0]
        needed = [self.made.measure(size) for size in sizes]
        outputs = (portion, T, B, H)
        shapes: dict[str, tuple[int, ...]] = {
            "gradient": (portion, self.network.flat.stride(0)),
            "work": (threads, max(max(forward, backward) for forward, backward, *_ in needed)),
            "sums": (portion, max(partial for _, _, partial, _ in needed) // portion),
        }
        for layer, (*_, row) in enumerate(needed):
            shapes |= {f"out {layer}": outputs, f"slope {layer}": outputs}
            shapes[f"kept {layer}"] = (portion, T, B, row)
            if layer and thins:
                shapes[f"thinned {layer}"] = outputs
        if last:
            shapes[f"slope {len(sizes) - 1}"] = (portion, B, H)
        return shapes

    def _turns(
        self, given: Given, last: bool, sizes: Sequence[Sizes], space: dict[str, Tensor]
    ) -> list[Turn]:
        """All calls of a portion, in turn.

        space: what it needs for itself. `slope l`: gradients that arrive at the outputs of layer l.
        """
        network, made = self.network, self.made
        slopes = network.views(space["gradient"][:, : network.count])
        forward, backward = list[Turn](), list[Turn]()
        x, top = given.x, len(sizes) - 1
        below: Tensor | None = None  # gradients that arrive at what this layer reads
        for layer, size in enumerate(sizes):
            own = network.own(network.params, layer)
            if below is not None and given.keep:
                keep, thinned = given.keep[layer - 1], space[f"thinned {layer}"]
                forward.append(self._thinned("forward", x, keep, thinned))
                backward.append(self._thinned("backward", below, keep, below))
                x = thinned
            mine = slice(layer * made.state, (layer + 1) * made.state)
            starts, lasts = given.starts[mine], given.lasts[mine]
            out, kept, slope = (space[f"{name} {layer}"] for name in ("out", "kept", "slope"))
            common = *inputs(x), *made.blocks(own), *starts, out, kept
            words = made.words(size, *common, *lasts, space["work"])
            forward.append(Turn("forward", made.library.forward, words, 0))
            nothing: list[Tensor | None] = [None] * made.state
            arriving = [None, slope, *nothing[1:]] if last and layer == top else [slope, *nothing]
            rest = *made.blocks(network.own(slopes, layer)), *nothing, space["sums"]
            words = made.words(size, *common, *nothing, space["work"], *arriving, below, *rest)
            backward.append(Turn("backward", made.library.backward, words, 0))
            x, below = out, slope
        read = x[:, -1] if last else x.flatten(1, 2)
        W, b = network.params["readout.W"], network.params["readout.b"]
        found = slope, slopes["readout.W"], slopes["readout.b"]
        words = head.words(self.kind, read, W, b, given.y, given.mask, given.loss, *found)
        function = head.library("head", read.dtype).head
        readout = Turn("head", function, words, 1)
        words = self.update.words(list(slopes.values()), given.loss, given.norm)
        update = Turn("update", self.update.function, words, 1)
        return [*forward, readout, *reversed(backward), update]

    def _given(self, tensor: Tensor) -> Tensor:
        """Real numbers of the network's kind, others as 64-bit numbers; what a portion gets has no
        gaps.
        """
        if tensor.is_floating_point():
            tensor = tensor.to(self.network.flat.dtype)
        elif tensor.dtype != torch.bool:
            tensor = tensor.to(torch.int64)
        if tensor.is_contiguous() or (torch.get_num_threads() == 1 and tensor[0].is_contiguous()):
            return tensor
        return tensor.contiguous()

    def _thinned(self, part: str, values: Tensor, keep: Tensor, to: Tensor) -> Turn:
        words: list[Word] = [len(values), values[0].numel(), values, keep, to]
        return Turn(part, self.library.thin, words, 0)
