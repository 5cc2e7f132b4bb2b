"""The Jacobian of a step, ∂s_t/∂s_{t-1}, along a sequence: its singular values, spectral radius,
and the exponent of growth.

A state s is all states of a layer (h and c, say), one after the other; the layer's input is held.

Axes: K replicas   T time steps   B sequences   D numbers of all states.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from rnnbench.dynamics.recording import Recorded
from rnnbench.engine.loop import State

Step = Callable[[State], State]


def jacobian(step: Step, state: State) -> Tensor:
    """∂step/∂state at `state` (each (K, B, …)) as (K, B, D, D): rows are what comes out, columns
    what went in.

    One backward pass: every row of the batch is repeated D times, and each copy is asked for
        another output.
    """
    K, B = state[0].shape[:2]
    many = numbers(state)
    D = sum(many)
    inputs = [s.detach().repeat_interleave(D, 1).requires_grad_() for s in state]
    with torch.enable_grad():
        outputs = step(tuple(inputs))
    flat = [output.flatten(2) for output in outputs]
    asked = (
        torch.eye(D, dtype=inputs[0].dtype, device=inputs[0].device)
        .repeat(B, 1)
        .expand(K, -1, -1)
        .split(many, -1)
    )
    found = torch.autograd.grad(flat, inputs, asked, allow_unused=True, materialize_grads=True)
    return torch.cat([slope.flatten(2) for slope in found], -1).view(K, B, D, D)


def numbers(state: State) -> list[int]:
    """Of each state, for one sequence."""
    return [s[0, 0].numel() for s in state]


def jacobian_at(layer: Recorded, t: int, sequences: int) -> Tensor:
    """The Jacobian of step t, for the first sequences."""

    wx = layer.wx[:, t : t + 1, :sequences].detach()
    fixed = Recorded(
        layer.plan,
        _detached(layer.params),
        wx.repeat_interleave(sum(numbers(layer.start)), 2),
        layer.start,
        [],
    )
    return jacobian(partial(fixed.step, 0), tuple(s[:, :sequences] for s in layer.before[t]))


def singular_values(jacobian_KBDD: Tensor) -> Tensor:
    """(K, B, D), the largest first; NaN where the Jacobian is not finite."""
    return _where_finite(torch.linalg.svdvals, jacobian_KBDD)


def spectral_radius(jacobian_KBDD: Tensor) -> Tensor:
    """The largest modulus of an eigenvalue, (K, B)."""
    return _where_finite(lambda j: torch.linalg.eigvals(j).abs(), jacobian_KBDD).amax(-1)


def _where_finite(spectrum: Callable[[Tensor], Tensor], matrices: Tensor) -> Tensor:
    """LAPACK refuses what is not finite."""
    fine = matrices.isfinite().flatten(-2).all(-1, keepdim=True)
    return torch.where(fine, spectrum(torch.where(fine.unsqueeze(-1), matrices, 0)), torch.nan)


def lyapunov(layer: Recorded, warm_up: int | None = None) -> Tensor:
    """The largest Lyapunov exponent of a layer along each sequence, in nats per step: (K, B).

    Method: Benettin, Galgani, Giorgilli & Strelcyn (1980), Lyapunov characteristic exponents for
        smooth dynamical systems
    and for Hamiltonian systems, Meccanica 15: a tangent vector is carried along by the Jacobians
        and set back to length 1 after every step; the exponent is the mean logarithm of its growth.
        For networks driven by inputs, as here, see Vogt, Puelma Touzel, Shlizerman & Lajoie (2022),
        On Lyapunov exponents for RNNs: what is measured is conditional on the input. The first
        `warm_up` steps (default: a quarter), in which the vector turns towards the direction that
        grows most, do not count; a sequence is finite, and so is the precision: about 1/T times the
        logarithm of how far the vector still had to turn.
    Below 0: two states under the same input become alike, the past is forgotten; above 0: they
        part, as in chaos. Layers above do not act on layers below, so that the exponents of a
        network are those of its layers. -inf: the vector vanished.
    """
    steps, state = len(layer.states), layer.start
    skip = steps // 4 if warm_up is None else warm_up
    K, B = state[0].shape[:2]
    many = numbers(state)
    drawn = torch.randn(sum(many), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tangent = drawn.to(layer.wx).expand(
        K, B, -1
    )  # the same for all, so that none depends on its company
    total = tangent.new_zeros(K, B)
    fixed = Recorded(layer.plan, _detached(layer.params), layer.wx.detach(), layer.start, [])
    for t, before in enumerate(layer.before):
        length = tangent.norm(dim=-1, keepdim=True)
        unit = torch.where(length > 0, tangent / length, 0)
        parts = zip(unit.split(many, -1), before, strict=True)
        along = [part.view_as(s) for part, s in parts]
        moved = pushed(partial(fixed.step, t), before, along)
        tangent = torch.cat([part.flatten(2) for part in moved], -1)
        if t >= skip:
            total += tangent.norm(dim=-1).log()
    return total / max(steps - skip, 1) if steps > skip else torch.full_like(total, math.nan)


def pushed(step: Step, state: State, tangent: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The Jacobian of a step at `state` times a tangent, each (K, B, …).

    By two backward passes: u·J is linear in u, and its derivative by u along the tangent is J times
        the tangent. PyTorch's forward mode does it in one, but takes seconds to load.
    """
    inputs = [s.detach().requires_grad_() for s in state]
    with torch.enable_grad():
        outputs = step(tuple(inputs))
        u = [torch.zeros_like(s, requires_grad=True) for s in outputs]
        back = torch.autograd.grad(
            outputs, inputs, u, create_graph=True, allow_unused=True, materialize_grads=True
        )
    return torch.autograd.grad(back, u, tangent, allow_unused=True, materialize_grads=True)


def _detached(params: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach() for name, tensor in params.items()}
