"""Whole training steps: ours, part by part, and the same step as others write it, in PyTorch and in
JAX.

A step draws a batch, computes the loss and its gradient, clips it and updates the parameters.
Everybody begins with the same weights. A peer's batches have the shape and the distribution of
ours, drawn as its user would draw them.

Axes: K replicas   T time steps   B batch   I input width   C outputs   H state width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import count
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnbench.bench import peers, rates
from rnnbench.bench.contender import Contender, Pass, settings_for
from rnnbench.engine.batches import Stacked
from rnnbench.engine.engines import unrollers
from rnnbench.engine.library import ORDER, blocks_of, twin_of
from rnnbench.engine.loop import State
from rnnbench.engine.pack import Pack
from rnnbench.layers import layer_of
from rnnbench.settings import Optim
from rnnbench.tasks.chorales import KEYS, Chorales
from rnnbench.tasks.contract import Generated, Task
from rnnbench.training.loop import Training
from rnnbench.training.run import load_task

PIECES, SOUNDING = 229, 4  # of the JSB chorales: sequences for training, keys in a frame
Arrays = tuple[np.ndarray, np.ndarray]


class Invented(Chorales):
    """Chorales that need no file: as many as the JSB set has, all `max_length` transitions long."""

    @cached_property
    def rolls(self) -> dict[str, list[np.ndarray]]:
        assert self.max_length is not None
        rng = np.random.default_rng(0)
        sounds = rng.random((PIECES, self.max_length + 1, KEYS)) < SOUNDING / KEYS
        pieces = list(sounds.astype(np.uint8))
        return {"train": pieces, "valid": pieces[:20], "test": pieces[:20]}


def prepared(contender: Contender) -> tuple[dict[str, Pass], dict[str, Any]]:
    """What is timed of a contender's training step, and the work in it: gflop, gigabytes."""
    pack = pack_of(contender, contender.way if contender.way in unrollers() else "loop")
    task, last = pack.task, pack.feeder.training(0, 1).last
    work = rates.step_gflop(pack.plan, contender.shape, task.outputs, last)
    buffers = len(pack.optimizer.rule.buffers)
    traffic = rates.step_gigabytes(pack.plan, contender.shape, task.outputs, last, buffers)
    known = {"gflop": contender.replicas * work, "gigabytes": contender.replicas * traffic}
    if contender.way in unrollers():
        return parts_of(pack), known
    whole: Pass = Jitted(pack) if contender.way == "lax.scan" else Plain(pack, contender.way)
    return {"seconds": whole}, known


def pack_of(contender: Contender, engine: str) -> Pack:
    """The runs of a contender, one a seed."""
    settings = settings_for(contender, engine)
    runs = [replace(settings, seed=seed) for seed in range(contender.replicas)]
    return Pack(runs, layer_of(settings.cell, settings.model), load_task(settings, print))


def parts_of(pack: Pack) -> dict[str, Pass]:
    """A whole step of ours; and alone, on a batch that lies ready: data, the layer, the network
    (the layer, read-out and loss, forward and backward), the optimiser with clipping; and, where
    all but the data are compiled calls, what it takes to make none of them.
    """
    training, size = Training(pack), pack.train.batch
    still = pack.taken(range(len(pack.runs)))  # whose parameters stay as they are
    batch, states = still.feeder.training(0, size), still.network.zero_state(size)
    steps = count(1)
    passes: dict[str, Pass] = {
        "seconds": training.update,
        "data": lambda: still.feeder.training(next(steps), size),
    }
    if still.whole_step is None:
        return passes | _by_autograd(still, batch, states)
    zero_K, whole = torch.zeros_like(pack.schedule.rate(0)), still.whole_step
    whole(batch, states, zero_K)
    parts = {
        "nothing": (),
        "layer": ("forward", "backward"),
        "network": ("forward", "head", "backward"),
        "optimiser": ("update",),
    }
    made = {name: whole.only(*chosen) for name, chosen in parts.items()}
    return passes | {name: partial(step, batch, states, zero_K) for name, step in made.items()}


def _by_autograd(pack: Pack, batch: Stacked, states: list[State]) -> dict[str, Pass]:
    network = pack.network
    params, lowest = network.layer(0), network.stack[0].by(pack.unroll)
    weights = list(params.values())
    slope = torch.randn(*batch.x.shape[:3], pack.hidden) / pack.hidden

    def layer() -> Any:
        outputs, _ = lowest(params, batch.x, states[0])
        return torch.autograd.grad(outputs, weights, slope)

    loss_K, gradient, _ = pack.gradient(batch, states)
    gradients, zero_K = list(gradient.values()), torch.zeros_like(pack.schedule.rate(0))
    return {
        "layer": layer,
        "network": lambda: pack.gradient(batch, states),
        "optimiser": lambda: pack.optimizer.step(gradients, zero_K, loss_K),
    }


def batches(task: Task, size: int, seed: int) -> Iterator[Arrays]:
    """x (T, B, I) and y, for ever, as one draws them with NumPy: fresh ones, or from arrays that
    were prepared once.
    """
    rng = np.random.default_rng(seed)
    if isinstance(task, Generated):
        while True:
            batch = task.sample(rng, size)
            yield batch.x, batch.y
    assert isinstance(task, Invented)
    frames = np.stack(task.rolls["train"], 1).astype(np.float32)  # (T + 1, sequences, keys)
    while True:
        order = rng.permutation(frames.shape[1])
        for first in range(0, len(order) - size + 1, size):
            chosen = frames[:, order[first : first + size]]
            yield chosen[:-1], chosen[1:]


class Plain:
    """PyTorch as its users write it: a module, torch's optimiser, a loop. One run."""

    def __init__(self, pack: Pack, way: str) -> None:
        optim = pack.runs[0].optim
        self.batches = batches(pack.task, pack.train.batch, seed=0)
        self.last, self.kind = pack.feeder.training(0, 1).last, pack.task.loss
        self.model: nn.Module = Module(pack) if way == "torch.nn" else ByHand(pack)
        self.readout = nn.Linear(pack.hidden, pack.task.outputs)
        with torch.no_grad():
            self.readout.weight.copy_(pack.network.params["readout.W"][0].T)
            self.readout.bias.copy_(pack.network.params["readout.b"][0])
        self.parameters = [*self.model.parameters(), *self.readout.parameters()]
        self.optimizer = torch_optimizer(optim, self.parameters)
        self.clip_norm = optim.clip_norm

    def __call__(self) -> Tensor:
        x, y = next(self.batches)
        return self.update(torch.from_numpy(x), torch.from_numpy(y))

    def update(self, x: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        outputs = self.model(x)
        prediction = self.readout(outputs[-1] if self.last else outputs)
        loss = torch_loss(self.kind, prediction, y)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip_norm)
        self.optimizer.step()
        return loss.detach()


class Module(nn.Module):
    """A module of torch.nn with the weights of a pack's first run: outputs (T, B, H).

    It learns two biases a gate where we learn one.
    """

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        twin = twin_of(pack.plan)
        assert twin is not None, f"torch.nn does not compute {pack.runs[0].cell.name}"
        self.rnn = twin.module(pack.task.inputs, pack.hidden, **twin.options)
        given = twin.weights(blocks_of(pack.plan, pack.network.layer(0), 0))
        self.rnn.load_state_dict({f"{name}_l0": given[name].detach() for name in ORDER})

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.rnn(x)[0]
        return outputs


class ByHand(nn.Module):
    """The loop over time that one writes by hand, with the weights of a pack's first run."""

    def __init__(self, pack: Pack) -> None:
        super().__init__()
        layer = pack.network.layer(0)
        given = {name: nn.Parameter(tensor[0].detach().clone()) for name, tensor in layer.items()}
        self.weights = nn.ParameterDict(given)
        self.outputs = peers.by_hand(pack.plan)
        self.states, self.hidden = len(pack.plan.state), pack.hidden

    def forward(self, x: Tensor) -> Tensor:
        zero = x.new_zeros(x.shape[1], self.hidden)
        return self.outputs(dict(self.weights.items()), x, (zero,) * self.states)


def torch_optimizer(optim: Optim, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
    """torch's own, fused: the fastest that it has."""
    if optim.name == "adam":
        betas = (optim.beta1 or 0.0, optim.beta2 or 0.0)
        return torch.optim.Adam(
            parameters, lr=optim.lr, betas=betas, eps=optim.eps or 0.0, fused=True
        )
    assert optim.name == "nesterov"
    momentum = optim.momentum or 0.0
    return torch.optim.SGD(parameters, lr=optim.lr, momentum=momentum, nesterov=True, fused=True)


def torch_loss(kind: str, prediction: Tensor, y: Tensor) -> Tensor:
    """The mean over positions; over keys, bernoulli is a sum."""
    if kind == "mse":
        return F.mse_loss(prediction, y)
    assert kind == "bernoulli"
    return F.binary_cross_entropy_with_logits(prediction, y, reduction="sum") / y[..., 0].numel()


class Jitted:
    """JAX: one step compiled whole, `jit(vmap(step))` with a `scan` over time; K runs, each with
    weights of its own.
    """

    def __init__(self, pack: Pack) -> None:
        import jax
        from jax import numpy as jnp

        optim, replicas = pack.runs[0].optim, len(pack.runs)
        self.streams = [batches(pack.task, pack.train.batch, seed) for seed in range(replicas)]
        given = pack.network.params.items()
        self.params = {name: jnp.asarray(tensor.detach().numpy()) for name, tensor in given}
        self.state = {}
        for name in pack.optimizer.rule.buffers:
            self.state[name] = jax.tree.map(jnp.zeros_like, self.params)
        self.count = jnp.zeros(replicas)
        last, states = pack.feeder.training(0, 1).last, len(pack.plan.state)
        outputs = peers.scan_of(pack.plan)
        step = jax_step(outputs, optim, pack.task.loss, last, states, pack.hidden)
        self.step = jax.jit(jax.vmap(step), donate_argnums=(0, 1, 2))

    def __call__(self) -> Any:
        drawn = [next(stream) for stream in self.streams]
        x, y = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
        return self.update(x, y)

    def update(self, x: np.ndarray, y: np.ndarray) -> Any:
        import jax

        new = self.step(self.params, self.state, self.count, x, y)
        self.params, self.state, self.count, loss = new
        return jax.block_until_ready(loss)


def jax_step(
    outputs: Callable[..., Any], optim: Optim, kind: str, last: bool, states: int, hidden: int
) -> Callable[..., Any]:
    """One run's step: (params, state, count, x, y) → the same three afterwards, and the loss."""
    import jax
    from jax import numpy as jnp

    over, momentum = jax.tree.map, optim.momentum or 0.0
    b1, b2, eps = optim.beta1 or 0.0, optim.beta2 or 0.0, optim.eps or 0.0

    def loss_of(params: Mapping[str, Any], x: Any, y: Any) -> Any:
        layer = [name for name in params if name.startswith("0.")]
        weights = {name.removeprefix("0."): params[name] for name in layer}
        zero = jnp.zeros((x.shape[1], hidden), x.dtype)
        made = outputs(weights, x, (zero,) * states)
        prediction = (made[-1] if last else made) @ params["readout.W"] + params["readout.b"]
        if kind == "mse":
            return jnp.square(prediction - y).mean()
        each = jax.nn.softplus(prediction) - prediction * y
        return each.sum(-1).mean()

    def step(params: Any, state: Any, count: Any, x: Any, y: Any) -> tuple[Any, Any, Any, Any]:
        loss, gradient = jax.value_and_grad(loss_of)(params, x, y)
        if optim.clip_norm is not None:
            norm = jnp.sqrt(sum(jnp.square(g).sum() for g in jax.tree.leaves(gradient)))
            factor = jnp.minimum(1, optim.clip_norm / (norm + 1e-6))
            gradient = over(lambda g: g * factor, gradient)
        params, state = updated(params, gradient, state, count + 1)
        return params, state, count + 1, loss

    def updated(params: Any, gradient: Any, state: Any, count: Any) -> tuple[Any, Any]:
        if optim.name == "nesterov":
            velocity = over(lambda v, g: momentum * v + g, state["velocity"], gradient)
            ahead = over(lambda v, g: g + momentum * v, velocity, gradient)
            return over(lambda p, a: p - optim.lr * a, params, ahead), {"velocity": velocity}
        mean = over(lambda m, g: b1 * m + (1 - b1) * g, state["mean"], gradient)
        square = over(lambda s, g: b2 * s + (1 - b2) * g * g, state["square"], gradient)
        rate, root = optim.lr / (1 - b1**count), jnp.sqrt(1 - b2**count)
        change = over(lambda m, s: rate * m / (jnp.sqrt(s) / root + eps), mean, square)
        return over(jnp.subtract, params, change), {"mean": mean, "square": square}

    return step
