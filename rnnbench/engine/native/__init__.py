"""The native engine: a cell's step and its derivative as one compiled function through all of time.
CPU only.

Axes: K replicas   T time steps   B batch   I input width   H state width.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rnnbench.engine import loop
from rnnbench.engine.loop import Params, State
from rnnbench.engine.native import build, emit, head, memory
from rnnbench.engine.native.untraced import untraced
from rnnbench.engine.native.words import Word, fields
from rnnbench.equations.operations import mixes_units
from rnnbench.equations.plan import Plan
from rnnbench.equations.stages import staged
from rnnbench.errors import UserError

REAL = {torch.float32: "float", torch.float64: "double"}
Sizes = tuple[int, ...]  # the numbers with which a Call begins
_kernels: dict[tuple[int, torch.dtype], "Kernel"] = {}


@untraced
def unroll(plan: Plan, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
    """All steps from `state`: the outputs (K, T, B, H) and the last state.

    x: inputs (K, T, B, I), or symbols (K, T, B).
    """
    if 0 in x.shape[:3]:  # nothing to compute, but gradients have shapes
        return loop.unroll(plan, params, x, state)
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (x, *params.values(), *state))
    W = params["W"]
    made, x = kernel(plan, W.dtype), x.to(W.dtype if x.is_floating_point() else torch.int64)
    outputs, *last = _Through.apply(made, tuple(params), learns, x, *params.values(), *state)  # type: ignore[no-untyped-call]
    return outputs, tuple(last)


def source(plan: Plan) -> str:
    """The C++ of this cell, without what is the same for all cells."""
    return emit.steps(staged(plan))


def why_not(plan: Plan, dtype: torch.dtype, device: str) -> str | None:
    """Why this engine cannot compute this cell here, or None. Compiles it."""
    if device != "cpu":
        return f"the native engine computes on the CPU, not on {device}"
    try:
        kernel(plan, dtype)
        for name in ("head", "update", "step"):
            head.library(name, dtype)
    except UserError as error:
        return str(error)
    return None


class Kernel:
    """A compiled program, and how it is called."""

    def __init__(self, plan: Plan, dtype: torch.dtype) -> None:
        if dtype not in REAL:
            raise UserError(
                f"the native engine computes in float32 or float64, not in {dtype}; use engine=loop"
            )
        if not plan.program.plain:
            raise UserError(
                f"{plan.program.function.__name__} has states with shapes or starts of their own, "
                f"and the native engine computes one number a unit, from 0; use engine=loop"
            )
        if mixing := [v.op for v in plan.program.values if mixes_units(v)]:
            raise UserError(
                f"{mixing[0]} reads all units, and the native engine computes each by itself; use "
                f"engine=loop"
            )
        memory.keep_pages()
        self.plan = plan
        made = staged(plan)
        self.library = build.library(emit.source(made, REAL[dtype]))
        self.state, self.groups = len(plan.state), len(plan.groups)
        self.length = 9 + 7 + (self.groups + 1) * 2 + 6 + self.state * 4  # of a Call
        self.measured: dict[tuple[ctypes.CDLL, Sizes], list[int]] = {}

    def words(self, sizes: Sizes, *places: Tensor | None) -> list[Word]:
        """The Call of work.hpp: sizes, then addresses; those that are not given are none."""
        return [*sizes, *places, *[None] * (self.length - len(sizes) - len(places))]

    def measure(self, sizes: Sizes) -> list[int]:
        """Numbers that it needs: forward, backward, for sums, and to be kept of a row and step."""
        key = self.library, sizes  # vectors of another width need other numbers
        if key not in self.measured:
            numbers = (ctypes.c_int64 * 4)()
            self.library.measure(fields(self.words(sizes)), numbers)
            self.measured[key] = list(numbers)
        return self.measured[key]

    def blocks(self, params: Mapping[str, Tensor]) -> list[Tensor | None]:
        """The parameters in the order of Call."""
        return [
            *(params[f"R{g}"] for g in range(self.groups)),
            params["W"],
            params.get("p"),
            params.get("b"),
        ]


def kernel(plan: Plan, dtype: torch.dtype) -> Kernel:
    key = (id(plan), dtype)
    if key not in _kernels:
        _kernels[key] = Kernel(plan, dtype)  # keeps the plan, and with it its id
    return _kernels[key]


class _Through(torch.autograd.Function):
    """One call forward, one call backward."""

    @staticmethod
    def forward(
        ctx: Any, made: Kernel, names: tuple[str, ...], learns: bool, x: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        x, *state = (t.contiguous() for t in (x, *rest[len(names) :]))
        apart, weights = _laid(rest[: len(names)])
        params = dict(zip(names, weights, strict=True))
        K, T, B = x.shape[:3]
        W, H, threads = params["W"], state[0].shape[-1], torch.get_num_threads()
        sizes = (K, T, B, W.shape[1], H, threads, T if learns else min(T, 2), apart, 0)
        scratch, _, _, row = made.measure(sizes)
        outputs = W.new_empty((K, T, B, H))
        kept, work = W.new_empty((K, sizes[6], B, row)), W.new_empty(threads * scratch)
        last = [torch.empty_like(s) for s in state]
        given = (*inputs(x), *made.blocks(params), *state, outputs, kept, *last, work)
        if made.library.forward(fields(made.words(sizes, *given))):
            raise no_symbol(x, W.shape[1])
        if learns:
            ctx.made, ctx.sizes, ctx.names = made, sizes, names
            ctx.save_for_backward(x, outputs, kept, *weights, *state)
            ctx.set_materialize_grads(False)
        return outputs, *last

    @staticmethod
    @untraced
    def backward(
        ctx: Any, slope_outputs: Tensor | None, *slope_last: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                "the native engine has first derivatives only; for create_graph=True use "
                "engine='loop'"
            )
        x, outputs, kept, *rest = ctx.saved_tensors
        made, sizes, names = ctx.made, ctx.sizes, ctx.names
        weights, state = rest[: len(names)], rest[len(names) :]
        params, needed = dict(zip(names, weights, strict=True)), ctx.needs_input_grad[3:]
        _, scratch, partial, _ = made.measure(sizes)
        arriving = [None if s is None else s.contiguous() for s in (slope_outputs, *slope_last)]
        slopes = {
            name: torch.empty_like(t, memory_format=torch.contiguous_format)
            for name, t in params.items()
        }
        slope_x = torch.empty_like(x) if needed[0] else None
        starts = zip(state, needed[1 + len(names) :], strict=True)
        slope_state = [torch.empty_like(s) if need else None for s, need in starts]
        work, sums = outputs.new_empty(sizes[5] * scratch), outputs.new_empty(partial)
        given = (
            *inputs(x),
            *made.blocks(params),
            *state,
            outputs,
            kept,
            *[None] * len(state),
            work,
        )
        found = (*arriving, slope_x, *made.blocks(slopes), *slope_state, sums)
        made.library.backward(fields(made.words(sizes, *given, *found)))
        return None, None, None, slope_x, *slopes.values(), *slope_state


def _laid(params: Sequence[Tensor]) -> tuple[int, Sequence[Tensor]]:
    """How far apart replicas lie in every one of the parameters, and these; 0: contiguous ones."""
    apart = params[0].stride(0)
    if len(params[0]) > 1 and all(
        t.stride() == (apart, *t.shape[2:], 1) for t in params
    ):  # views of a matrix with a replica a row
        return apart, params
    return 0, [t.contiguous() for t in params]


def inputs(x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Symbols, numbers: one of them is there."""
    return (None, x) if x.is_floating_point() else (x, None)


def no_symbol(x: Tensor, count: int) -> IndexError:
    return IndexError(f"symbols are numbers from 0 to {count - 1}, got {x.min()} to {x.max()}")
