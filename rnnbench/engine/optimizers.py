"""Optimisers over one flat tensor: all parameters of K runs at once, each run with numbers of its
own.

Parameters and gradients are (K, P); learning rate, momentum, decay and clipping are vectors over K.
The update rules lie in `rules`, a file each; the clipping is that of torch.nn.utils, per replica.
Nothing reduces over K: a replica whose numbers are not finite leaves the others untouched. Knows
nothing of cells, tasks or losses.

Axes: K replicas   P parameters of one replica.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rnnbench import catalogue
from rnnbench.engine import rows
from rnnbench.engine.native.update import RULES, Update
from rnnbench.engine.rule import Rule
from rnnbench.errors import UserError
from rnnbench.settings import Optim


class Optimizer:
    """One kind of optimiser, clipping before it, for K replicas.

    state: (K, P) buffers, and for adam the (K,) number of updates. Which ones depends on the kind
        alone, never on the numbers of the replicas, so that rows can be cut out and stacked again
        with other companions.
    parameters: (K, P), what `step` changes. compiled: the same by native code in one pass, on the
        CPU.
    """

    def __init__(self, optims: Sequence[Optim], parameters: Tensor, compiled: bool = False) -> None:
        assert len({o.name for o in optims}) == 1, "the runs of a pack share one kind of optimiser"
        assert parameters.dim() == 2 and len(parameters) == len(optims), (
            f"{len(optims)} runs, parameters {tuple(parameters.shape)}"
        )
        self.optims, self.parameters = tuple(optims), parameters
        self.name = optims[0].name
        self.rule: Rule = catalogue.kind("optim", self.name)
        self.state = {key: rows.zeros_like(parameters) for key in self.rule.buffers}
        if self.rule.counts:
            place = parameters.device
            self.state["count"] = torch.zeros(len(optims), dtype=torch.int64, device=place)

        self._clips_norm = any(o.clip_norm is not None for o in optims)
        self._clips_value = any(o.clip_value is not None for o in optims)
        self._clip_norm = self._column([_limit(o.clip_norm) for o in optims])
        self._clip_value = self._column([_limit(o.clip_value) for o in optims])
        derived = self.rule.derive(numbers_of(self.rule, optims))
        self._given = {
            name: None if values is None else self._column(values)
            for name, values in derived.items()
        }
        if optims[0].digest:
            self._rehearse()
        self.compiled: Update | None = None
        if compiled and self.name in RULES:
            numbers = torch.tensor([_numbers(o) for o in optims], dtype=torch.float64)
            self.compiled = Update(self.name, parameters, self.state, numbers)

    def _rehearse(self) -> None:
        """Try a user's rule on copies. Raises UserError with the place in the file."""
        state = {key: tensor.clone() for key, tensor in self.state.items()}
        still, rate = self.parameters.detach().clone(), self._column([0.0] * len(self.optims))
        try:
            self.rule.update(still, torch.zeros_like(still), rate, state, self._given)
        except Exception as error:
            raise UserError(f"optim.name: {catalogue.blame(error, self.name)}") from error

    def _column(self, values: Sequence[float]) -> Tensor:
        """(K, 1) for the parameters, of numbers in double precision."""
        return torch.tensor(values, dtype=torch.float64).to(self.parameters)[:, None]

    def taken(self, replicas: Sequence[int], parameters: Tensor) -> "Optimizer":
        """For some of the replicas, whose parameters these are: numbers and state."""
        optims = [self.optims[k] for k in replicas]
        made = Optimizer(optims, parameters, self.compiled is not None)
        made.load({key: tensor[list(replicas)] for key, tensor in self.state.items()})
        return made

    def step(self, gradients: Sequence[Tensor], rate_K: Tensor, loss_K: Tensor) -> Tensor:
        """Clip and update the parameters; returns the norms of the gradients before clipping (K).

        gradients: (K, …) each, in the order in which the parameters lie in their rows. A replica
            whose loss or norm is not finite keeps parameters and state bit for bit.
        """
        if self.compiled:
            return self.compiled(gradients, rate_K, loss_K)
        gradient_KP = torch.cat([part.flatten(1) for part in gradients], 1)
        norm_K = self.clip(gradient_KP)
        fine_K = norm_K.isfinite() & loss_K.isfinite()
        self.update(self.parameters, gradient_KP, rate_K, None if fine_K.all() else fine_K)
        return norm_K

    def load(self, state: Mapping[str, Tensor]) -> None:
        restore(self.state, state)

    @torch.no_grad()
    def clip(self, gradient_KP: Tensor) -> Tensor:
        """Clip in place; returns the norms before.

        First the norm, then the values, so one norm serves and both bounds hold.

        fmin, unlike clamp, takes 1 over NaN: an unclipped replica whose norm overflows keeps its
            gradient, as it would alone.
        """
        norm_K: Tensor = torch.linalg.vector_norm(gradient_KP, dim=1)
        if self._clips_norm:
            factor = self._clip_norm / (norm_K[:, None] + 1e-6)
            gradient_KP.mul_(factor.fmin(torch.ones_like(factor)))
        if self._clips_value:
            # many times faster than clamp_ with two columns
            torch.minimum(gradient_KP, self._clip_value, out=gradient_KP)
            torch.maximum(gradient_KP, -self._clip_value, out=gradient_KP)
        return norm_K

    @torch.no_grad()
    def update(
        self, parameters: Tensor, gradient_KP: Tensor, rate_K: Tensor, alive_K: Tensor | None = None
    ) -> None:
        """One step in place; replicas that are not alive keep parameters and state bit for bit.

        None: all are alive.
        """
        dead = (
            torch.empty(0, dtype=torch.int64)
            if alive_K is None
            else (~alive_K).nonzero()[:, 0].to(parameters.device)
        )
        tensors = [parameters, *self.state.values()] if len(dead) else []
        kept = [t.index_select(0, dead) for t in tensors]
        rate = rate_K.to(parameters)[:, None]
        self.rule.update(parameters, gradient_KP, rate, self.state, self._given)
        for tensor, before in zip(tensors, kept, strict=True):
            tensor.index_copy_(0, dead, before)


def numbers_of(rule: Rule, optims: Sequence[Optim]) -> dict[str, list[float]]:
    """What every replica has of an optimiser's numbers and constants."""
    made = {name: [getattr(o, name) for o in optims] for name in rule.numbers}
    for name, default in rule.constants.items():
        made[name] = [o.constants.get(name, default) for o in optims]
    return made


def _limit(clip: float | None) -> float:
    return math.inf if clip is None else clip


def _numbers(o: Optim) -> tuple[float, ...]:
    """What native code is told of an optimiser, in the order of its `Settings`."""
    clips = _limit(o.clip_norm), _limit(o.clip_value)
    fresh = o.decay if o.name == "rmsprop" else o.beta1
    return (o.lr, *clips, o.momentum or 0.0, o.eps or 0.0, 1 - (fresh or 0), 1 - (o.beta2 or 0), 0)


class Schedule:
    """The learning rates of K replicas, of whatever schedules, on the host in double precision.

    state: (K,) what plateaus have multiplied the rate by so far, and the evaluations since the last
        better one.
    """

    def __init__(self, optims: Sequence[Optim], total_steps: int) -> None:
        def vector(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64)

        self.optims, self.total_steps = tuple(optims), total_steps
        self._varies = any(o.schedule in ("cosine", "step") for o in optims)
        self._lr = vector([o.lr * (1 - (o.momentum or 0.0) * bool(o.dampen)) for o in optims])
        self._cosine = vector([o.schedule == "cosine" for o in optims])
        self._stair = vector([o.factor or 1.0 if o.schedule == "step" else 1.0 for o in optims])
        self._every = vector([o.every or 1.0 for o in optims])
        self._drop = vector([o.factor or 1.0 if o.schedule == "plateau" else 1.0 for o in optims])
        self._wait = vector([o.wait or 0.0 for o in optims])
        self.state = {
            "scale": torch.ones_like(self._lr),
            "since": torch.zeros(len(optims), dtype=torch.int64),
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        restore(self.state, state)

    def rate(self, step: int) -> Tensor:
        """(K,) for update number `step`, from 0.

        The cosine would be zero at `total_steps`, one past the last update.
        """
        if not self._varies:
            return self._lr * self.state["scale"]
        cosine = 1 + self._cosine * (math.cos(math.pi * step / self.total_steps) - 1) / 2
        return self._lr * cosine * self._stair ** (step // self._every) * self.state["scale"]

    def taken(self, replicas: Sequence[int]) -> "Schedule":
        """For some of the replicas."""
        made = Schedule([self.optims[k] for k in replicas], self.total_steps)
        made.load({key: tensor[list(replicas)] for key, tensor in self.state.items()})
        return made

    def observe(self, better_K: Tensor) -> None:
        """An evaluation took place; was it the best so far? A drop is for good: a later better one
        only ends the dropping.
        """
        since = self.state["since"]
        since.copy_(torch.where(better_K.to(since.device), 0, since + 1))
        self.state["scale"].mul_(torch.where(since > self._wait, self._drop, 1.0))


def restore(state: dict[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Copy in place, so that whatever holds the tensors (a captured graph) keeps seeing them."""
    assert state.keys() == saved.keys(), f"expected the state {sorted(state)}, got {sorted(saved)}"
    for key, tensor in state.items():
        assert tensor.shape == saved[key].shape, (
            f"{key}: expected {tuple(tensor.shape)}, got {tuple(saved[key].shape)}"
        )
        tensor.copy_(saved[key])
