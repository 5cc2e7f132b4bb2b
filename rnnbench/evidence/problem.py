"""A small random problem, and the ways to compute it that are held against each other.

Every way maps a problem to the same named quantities: outputs, last states, and the gradients of
one weighted sum of them by every block of parameters, the inputs and the initial states.

Axes: K replicas   T time steps   B batch   I input width   H state width.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, vmap
from torch.func import functional_call

from rnnbench.engine.loop import unroll
from rnnbench.equations.plan import Plan
from rnnbench.equations.trace import with_numbers
from rnnbench.evidence.arithmetic import Step, gradient, leaves, sequence

K, T, B, I, H = 2, 4, 2, 2, 3  # noqa: E741

Quantities = dict[str, Tensor]
Forward = Callable[[dict[str, Tensor]], tuple[Tensor, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Problem:
    """given: every block ("W.z", (K, H, I), rows are units), "x" (K, T, B, I) and the initial
    states (K, B, H), by name. weights: what the outputs (K, T, B, H), then the last states are
    multiplied with to give the one number that is differentiated.
    """

    state: tuple[str, ...]
    given: dict[str, Tensor]
    weights: tuple[Tensor, ...]

    def to(self, dtype: torch.dtype) -> "Problem":
        return replace(
            self,
            given={n: t.to(dtype) for n, t in self.given.items()},
            weights=tuple(w.to(dtype) for w in self.weights),
        )

    @property
    def blocks(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.given.items() if "." in name}


def draw(plan: Plan, seed: int = 43) -> Problem:
    """Other weights in every replica. States start positive, because some are normalisers.

    seed: any will do in float64; this one is well conditioned for float32.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    shapes = {"W": (K, H, I), "R": (K, H, H), "p": (K, H), "b": (K, H)}
    given = {
        f"{family}.{name}": 0.8 * normal(*shapes[family])
        for family, names in plan.blocks.items()
        for name in names
    }
    given["x"] = normal(K, T, B, I)
    given |= {
        name: 0.2 + torch.rand((K, B, H), generator=generator, dtype=torch.float64)
        for name in plan.state
    }
    return Problem(plan.state, given, (normal(K, T, B, H), *(normal(K, B, H) for _ in plan.state)))


def differentiated(problem: Problem, forward: Forward) -> Quantities:
    """The quantities, with gradients by autograd."""
    given = {name: tensor.clone().requires_grad_() for name, tensor in problem.given.items()}
    outputs, state = forward(given)
    total = sum(
        ((w * v).sum() for w, v in zip(problem.weights, (outputs, *state), strict=True)),
        torch.zeros(()),
    )
    slopes = torch.autograd.grad(total, list(given.values()), materialize_grads=True)
    return _named(problem, (outputs.detach(), *(s.detach() for s in state)), slopes)


def _named(problem: Problem, values: tuple[Tensor, ...], slopes: tuple[Tensor, ...]) -> Quantities:
    names = [
        "the outputs",
        *(f"the last {s}" for s in problem.state),
        *(f"the gradient of {n}" for n in problem.given),
    ]
    return dict(zip(names, (*values, *slopes), strict=True))


def planned(plan: Plan) -> Forward:
    """What trains: hoisted, fused, all replicas at once."""

    def forward(given: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        columns = {"W": plan.blocks["W"]} | {
            f"R{g}": names for g, (_, names) in enumerate(plan.groups)
        }
        columns |= {family: plan.blocks[family] for family in "pb"}
        params = {
            key: torch.cat([given[f"{key[0]}.{name}"].transpose(1, -1) for name in names], -1)
            for key, names in columns.items()
            if names
        }
        return unroll(plan, params, given["x"], tuple(given[s] for s in plan.state))

    return forward


class _Family:
    """W, R, p or b as a cell sees it: W.z, R.if_."""

    def __init__(self, blocks: Mapping[str, Tensor]) -> None:
        self.blocks = blocks

    def __getattr__(self, name: str) -> Tensor | None:
        return self.blocks.get(name.rstrip("_"))  # None: read but never used, hence no block


def literal(
    function: Callable[..., Any], constants: Mapping[str, Any], state: tuple[str, ...]
) -> Forward:
    """The cell's function itself on single column vectors, mapped over replicas and batch."""
    cell = with_numbers(function)  # type: ignore[arg-type]
    takes = [
        n for n, a in inspect.signature(function).parameters.items() if a.kind is not a.KEYWORD_ONLY
    ]

    def once(blocks: dict[str, Tensor], x: Tensor, *old: Tensor) -> tuple[Tensor, ...]:
        families = {
            f: _Family({n.split(".")[1]: t for n, t in blocks.items() if n[0] == f}) for f in "WRpb"
        }
        known = families | {"x": x} | dict(zip(state, old, strict=True))
        new = cell(*(known[name] for name in takes), **constants)
        return new if isinstance(new, tuple) else (new,)

    step = vmap(vmap(once, in_dims=(None, *[0] * (1 + len(state)))))

    def forward(given: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        blocks = {n: t for n, t in given.items() if "." in n}
        now = tuple(given[s] for s in state)
        outputs = []
        for t in range(T):
            now = step(blocks, given["x"][:, t], *now)
            outputs.append(now[0])
        return torch.stack(outputs, 1), now

    return forward


def library(
    module: torch.nn.Module, gates: str, inner: str | None, state: tuple[str, ...]
) -> Forward:
    """A recurrent module of torch.nn with copied weights; its second bias holds `inner` in the last
    gate, else zeros.
    """

    def replica(given: dict[str, Tensor], k: int) -> tuple[Tensor, ...]:
        def stacked(family: str) -> Tensor:
            return torch.cat([given[f"{family}.{gate}"][k] for gate in gates])

        last = given[f"b.{inner}"][k] if inner else given["x"].new_zeros(H)
        second = torch.cat([torch.zeros_like(last).repeat(len(gates) - 1), last])
        weights = {
            "weight_ih_l0": stacked("W"),
            "weight_hh_l0": stacked("R"),
            "bias_ih_l0": stacked("b"),
            "bias_hh_l0": second,
        }
        start = tuple(given[s][k].unsqueeze(0) for s in state)
        outputs, after = functional_call(
            module, weights, (given["x"][k], start if len(state) > 1 else start[0])
        )
        return outputs, *(s.squeeze(0) for s in (after if len(state) > 1 else (after,)))

    def forward(given: dict[str, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        made = [replica(given, k) for k in range(K)]
        outputs, *after = map(torch.stack, zip(*made, strict=True))
        return outputs, tuple(after)

    return forward


def counted(problem: Problem, step: Step, constants: Mapping[str, Any]) -> Quantities:
    """The quantities by a scalar reference: Python numbers, one replica after the other,
    derivatives by complex steps.
    """
    values = [torch.zeros_like(w) for w in problem.weights]
    slopes = [torch.zeros_like(t) for t in problem.given.values()]
    step = partial(step, **constants)
    for k in range(K):
        of_k = {name: tensor[k] for name, tensor in problem.given.items()}
        given = {name: tensor.to(torch.complex128).tolist() for name, tensor in of_k.items()}
        weights = list(leaves([w[k].tolist() for w in problem.weights]))
        run = partial(_batch, step, problem.state, given)
        for kept, value in zip(values, run(), strict=True):
            kept[k] = torch.tensor(value, dtype=torch.complex128).real
        for kept, numbers in zip(slopes, given.values(), strict=True):
            found = gradient(partial(_weighted, weights, run), numbers)
            kept[k] = torch.tensor(found, dtype=torch.float64)
    return _named(problem, tuple(values), tuple(slopes))


def _batch(step: Step, state: tuple[str, ...], given: dict[str, Any]) -> tuple[list[Any], ...]:
    """Outputs by time and example, then each last state by example."""
    runs = []
    for b in range(B):
        inputs, start = [x[b] for x in given["x"]], tuple(given[s][b] for s in state)
        runs.append(sequence(step, given, inputs, start))
    outputs = [[outputs[t] for outputs, _ in runs] for t in range(T)]
    return outputs, *([last[s] for _, last in runs] for s in range(len(state)))


def _weighted(weights: list[complex], run: Callable[[], tuple[list[Any], ...]]) -> complex:
    return sum((w * v for w, v in zip(weights, leaves(run()), strict=True)), 0j)


def differences(got: Quantities, expected: Quantities) -> Iterator[tuple[float, str]]:
    """The largest error of every quantity, relative to its largest entry (absolute where all are
    zero).
    """
    for name, value in expected.items():
        scale = value.abs().max().item() or 1.0
        yield (got[name] - value).abs().max().item() / scale, name
