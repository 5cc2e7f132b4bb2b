"""The native engine: a cell's step and its derivative as one compiled function through all of time. CPU only.

Axes: K replicas   T time steps   B batch   G stacked blocks   H state width.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from rnnbench.engine.loop import Params, State
from rnnbench.engine.native import build, emit, memory
from rnnbench.engine.native.program import lowered
from rnnbench.engine.plan import Plan
from rnnbench.errors import UserError

REAL = {torch.float32: "float", torch.float64: "double"}
_kernels: dict[tuple[int, torch.dtype], "Kernel"] = {}


def unroll(plan: Plan, params: Params, wx_KTBG: Tensor, state: State) -> tuple[Tensor, State]:
    """All steps from `state`: the outputs (K, T, B, H) and the last state."""
    names = tuple(params)
    learns = torch.is_grad_enabled() and any(t.requires_grad for t in (wx_KTBG, *params.values(), *state))
    outputs, *last = _Through.apply(  # type: ignore[no-untyped-call]
        kernel(plan, wx_KTBG.dtype), names, learns, wx_KTBG, *params.values(), *state
    )
    return outputs, tuple(last)


def source(plan: Plan) -> str:
    """The C++ of this cell, without what is the same for all cells."""
    return emit.steps(lowered(plan))


def why_not(plan: Plan, dtype: torch.dtype, device: str) -> str | None:
    """Why this engine cannot compute this cell here, or None. Compiles it."""
    if device != "cpu":
        return f"the native engine computes on the CPU, not on {device}"
    try:
        kernel(plan, dtype)
    except UserError as error:
        return str(error)
    return None


class Kernel:
    """A compiled program, and how it is called."""

    def __init__(self, plan: Plan, dtype: torch.dtype) -> None:
        if dtype not in REAL:
            raise UserError(f"the native engine computes in float32 or float64, not in {dtype}; use engine=loop")
        memory.keep_pages()
        self.plan = plan
        made = lowered(plan)
        self.library = build.library(emit.source(made, REAL[dtype]))
        self.reads_inputs = emit.reads_inputs(made)
        self.idle = sum(len(p.columns) for p in made.products) < len(plan.blocks["R"])  # a product that nothing reads has no slope
        self.state, self.groups = len(plan.state), len(plan.groups)

    def call(self, sizes: Sequence[int], *places: Tensor | None) -> Any:
        """The Call of work.hpp: sizes, then addresses."""
        addresses = [0 if t is None else t.data_ptr() for t in places]
        count = 6 + 6 + (self.groups + 1) * 2 + 6 + self.state * 4
        return (ctypes.c_int64 * count)(*sizes, *addresses)

    def measure(self, sizes: Sequence[int]) -> list[int]:
        numbers = (ctypes.c_int64 * 4)()
        self.library.measure(self.call(sizes), numbers)
        return list(numbers)

    def blocks(self, params: Mapping[str, Tensor]) -> list[Tensor | None]:
        """The parameters of a step in the order of Call; the last product's place is spare."""
        return [*(params[f"R{g}"] for g in range(self.groups)), None, params.get("p"), params.get("b")]


def kernel(plan: Plan, dtype: torch.dtype) -> Kernel:
    key = (id(plan), dtype)
    if key not in _kernels:
        _kernels[key] = Kernel(plan, dtype)  # keeps the plan, and with it its id
    return _kernels[key]


class _Through(torch.autograd.Function):
    """One call forward, one call backward."""

    @staticmethod
    def forward(ctx: Any, made: Kernel, names: tuple[str, ...], learns: bool, wx_KTBG: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        wx_KTBG, *rest_ = (t.detach().contiguous() for t in (wx_KTBG, *rest))
        params, state = dict(zip(names, rest_, strict=False)), rest_[len(names) :]
        K, T, B, _ = wx_KTBG.shape
        H, threads = state[0].shape[-1], torch.get_num_threads()
        sizes = (K, T, B, H, threads, T if learns else min(T, 2))
        scratch, _, _, row = made.measure(sizes)
        outputs, kept, work = (wx_KTBG.new_empty(shape) for shape in ((K, T, B, H), (K, sizes[-1], B, row), (threads, scratch)))
        last = [torch.empty_like(s) for s in state]
        made.library.forward(made.call(sizes, wx_KTBG, *made.blocks(params), *state, outputs, kept, *last, work))
        if learns:
            ctx.made, ctx.sizes, ctx.names = made, sizes, names
            ctx.save_for_backward(wx_KTBG if made.reads_inputs else None, outputs, kept, *rest_)
            ctx.set_materialize_grads(False)
        return outputs, *last

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope_outputs: Tensor | None, *slope_last: Tensor | None) -> tuple[Tensor | None, ...]:
        wx_KTBG, outputs, kept, *rest = ctx.saved_tensors
        made, sizes, names = ctx.made, ctx.sizes, ctx.names
        params, state = dict(zip(names, rest, strict=False)), rest[len(names) :]
        _, scratch, partial, _ = made.measure(sizes)
        arriving = [None if s is None else s.contiguous() for s in (slope_outputs, *slope_last)]
        slopes = {name: torch.zeros_like(t) if made.idle else torch.empty_like(t) for name, t in params.items() if name != "W"}
        slope_state = [torch.empty_like(s) for s in state]
        slopes_shape = (*outputs.shape[:3], outputs.shape[3] * len(made.plan.blocks["W"]))
        slope_wx, work, sums = (outputs.new_empty(shape) for shape in (slopes_shape, (sizes[4], scratch), (partial,)))
        given = (wx_KTBG, *made.blocks(params), *state, outputs, kept, *[None] * len(state), work)
        made.library.backward(made.call(sizes, *given, *arriving, slope_wx, *made.blocks(slopes), *slope_state, sums))
        return None, None, None, slope_wx, *(slopes.get(name) for name in names), *slope_state
