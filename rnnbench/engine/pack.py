"""A pack: runs of equal shape, trained at once along the replica axis K.

A single run is a pack of one.

Runs of a pack may differ in seed, the optimiser's numbers, clipping, initialisation, forget bias
and input noise.
"""

import os
from collections.abc import Sequence
from copy import copy as shallow_copy

import numpy as np
import torch

from rnnbench.draw import Draw
from rnnbench.engine.batches import Feeder, Stacked
from rnnbench.engine.engines import prepared
from rnnbench.engine.gradient import Gradient, loss_and_gradient
from rnnbench.engine.init import glorot
from rnnbench.engine.layer import Layer
from rnnbench.engine.loop import State
from rnnbench.engine.native.step import Step
from rnnbench.engine.network import Network, equations, stacked, widths
from rnnbench.engine.optimizers import Optimizer, Schedule
from rnnbench.equations.plan import Plan
from rnnbench.errors import UserError
from rnnbench.settings import Model, Settings, Train, shape
from rnnbench.tasks.contract import Task


class Pack:
    """Everything that training K runs needs: task, data, network, optimiser, schedule, engine.

    kind: of layer, that the network is made of. horizon: of the task that it was trained on, where
    it is run on another of the same shape.
    """

    def __init__(
        self, runs: Sequence[Settings], kind: Layer, task: Task, horizon: int | None = None
    ) -> None:
        assert all(shape(run) == shape(runs[0]) for run in runs), (
            "the runs of a pack have equal shapes"
        )
        first = runs[0]
        self.runs, self.task, self.train = runs, task, first.train
        self.steps, self.eval_every = in_steps(first.train, task)
        dtype, model = getattr(torch, first.model.dtype), first.model
        self.device = prepared(first.engine)
        self.engine, self.unroll = kind.chosen(first.engine.name, self.device, dtype, len(runs))
        trained = task.horizon if horizon is None else horizon
        self.stack = stacked(
            kind, model.layers, trained, task.symbols, task.stops, reach=task.horizon
        )
        if first.train.probe_every and self.stack[0].plan is None:
            raise UserError(
                f"train.probe_every={first.train.probe_every} looks into the equations of cells; "
                f"{kind.name} is a layer of another kind: leave it out"
            )
        self.threads = torch.get_num_threads()
        self.hidden = width(self.stack, model, task)
        self.feeder = Feeder(task, tuple(run.seed for run in runs), dtype, self.device)
        fits(self.stack, model, task, self.hidden, len(runs))
        self._rehearse()
        self.network = Network(
            self.stack,
            len(runs),
            task.inputs,
            self.hidden,
            task.outputs,
            task.symbols,
            dtype,
            self.device,
            context(self.stack, task),
        )
        self._initialise()
        self.compiled = self.engine == "native"  # also what is not the layer's
        optims = [run.optim for run in runs]
        self.optimizer = Optimizer(optims, self.network.flat, self.compiled)
        self.whole_step = self._whole_step()
        self.schedule = Schedule(optims, self.steps)
        self.noisy_states = bool(model.recurrent_dropout or model.zoneout)
        self.noise = [run.train.input_noise for run in runs]
        if task.symbols and any(self.noise):
            raise UserError(
                "train.input_noise needs real-valued inputs; this task's inputs are symbols: set "
                "it to 0"
            )

    @property
    def plan(self) -> Plan:
        """The equations of its cell. Raises UserError if its layers are of another kind."""
        return equations(self.stack)

    def taken(self, replicas: Sequence[int]) -> "Pack":
        """Some of the runs, to go on with; their parameters and optimiser state are copied."""
        made = shallow_copy(self)
        made.runs = [self.runs[k] for k in replicas]
        made.noise = [self.noise[k] for k in replicas]
        made.feeder = self.feeder.of(replicas)
        made.network = self.network.taken(replicas)
        made.optimizer = self.optimizer.taken(replicas, made.network.flat)
        made.schedule = self.schedule.taken(replicas)
        made.whole_step = made._whole_step()
        return made

    def _whole_step(self) -> Step | None:
        """The training step in compiled calls alone, if there are cells and nothing else."""
        plan, update = self.stack[0].plan, self.optimizer.compiled
        if plan is None or update is None:
            return None
        return Step(plan, self.network, update, self.task.loss)

    def advance(
        self,
        batch: Stacked,
        states: Sequence[State],
        rate_K: torch.Tensor,
        keep: Sequence[torch.Tensor] | None = None,
        network: Network | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, list[State], bool]:
        """One optimiser step of every run: the losses (K), the norms of the gradients before
        clipping (K), the states after the last time step, and whether all losses and norms are
        finite.

        network: whose gradient it is, where that is not this pack's (see `perturbed`). A run whose
        loss or norm is not finite keeps parameters and optimiser state bit for bit.
        """
        if self.whole_step and network in (None, self.network):
            return self.whole_step(batch, states, rate_K, keep)
        loss_K, gradient, after = self.gradient(batch, states, keep, network)
        norm_K = self.optimizer.step(list(gradient.values()), rate_K, loss_K)
        fine_K = loss_K.isfinite() & norm_K.isfinite()
        states = [tuple(s.detach() for s in state) for state in after]
        return loss_K, norm_K, states, bool(fine_K.all())

    def gradient(
        self,
        batch: Stacked,
        states: Sequence[State],
        keep: Sequence[torch.Tensor] | None = None,
        network: Network | None = None,
    ) -> tuple[torch.Tensor, Gradient, list[State]]:
        """As `engine.gradient.loss_and_gradient`, for this task and, unless another is given, this
        network.
        """
        network = network or self.network
        return loss_and_gradient(
            network, self.unroll, batch, states, self.task.loss, keep, self.compiled
        )

    def _rehearse(self) -> None:
        """Draw data once, so that what they or their size forbid is known before anything is
        written.
        """
        model, size = self.runs[0].model, self.train.batch
        long, name = self.task.horizon or 0, self.runs[0].task["name"]
        kept = sum(layer.kept(self.hidden) for layer in self.stack)
        refuse_above_memory(
            f"task={name}: one sequence of up to {long} steps",
            "activations",
            long * kept // 2,  # chrono starts ask for a longer lag than there is
            model.dtype,
            "shorter sequences (task.length)",
        )
        steps = self.feeder.training(0, 1).x.shape[1]
        refuse_above_memory(
            f"train.batch={size} sequences of {steps} steps",
            "activations",
            size * steps * kept * len(self.runs),
            model.dtype,
            "smaller batches",
        )
        if not self.feeder.training(0, size).last and model.bidirectional:
            raise UserError(
                "model.bidirectional=true reads a sequence from its end, before any answer: only "
                "for tasks that are answered after the last step of sequences of equal length"
            )

    def _initialise(self) -> None:
        named = self.network.views(self.network.flat)
        reads = widths(self.stack, self.task.inputs, self.hidden)
        for k, run in enumerate(self.runs):
            draw = Draw(run.seed)
            for index, (layer, inputs) in enumerate(zip(self.stack, reads, strict=True)):
                values = layer.initial(
                    run.cell, draw, index, inputs, self.hidden, self.task.horizon
                )
                for name, value in values.items():
                    named[f"{index}.{name}"][k] = torch.from_numpy(value)
            rows, columns = self.network.shapes["readout.W"]
            named["readout.W"][k] = torch.from_numpy(glorot(draw("init readout"), rows, columns, 0))

    def noisy(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """Inputs (K, T, B, I) with Gaussian noise of each run's own strength and stream."""
        if not any(self.noise):
            return x
        return x + self._drawn("input noise", step, self.noise, x)

    def perturbed(self, step: int) -> Network:
        """The network with which a step's gradient is taken: every parameter with Gaussian noise of
        each run's own stream (Graves, 2011); the network itself where there is none.
        """
        std = self.train.weight_noise
        if not std:
            return self.network
        made = self.network.taken(range(len(self.runs)))
        with torch.no_grad():
            made.flat.add_(self._drawn("weight noise", step, [std] * len(self.runs), made.flat))
        return made

    def _drawn(
        self, purpose: str, step: int, strengths: Sequence[float], like: torch.Tensor
    ) -> torch.Tensor:
        """Gaussian numbers of this shape (K, …), of a strength and a stream for each run."""
        drawn = np.zeros(like.shape, np.float32)
        for run, std, row in zip(self.runs, strengths, drawn, strict=True):
            if std:
                Draw(run.seed)(purpose, step).standard_normal(dtype=np.float32, out=row)
                row *= std
        return torch.from_numpy(drawn).to(like)

    def thinned(self, states: list[State], steps: int, step: int) -> list[State]:
        """The states before a training step, with the noise that layers put on their recurrence."""
        made = []
        for index, state in enumerate(states):
            draws = [Draw(run.seed)(f"recurrence {index}", step) for run in self.runs]
            layer = self.stack[index] if index < len(self.stack) else None
            made.append(layer.thinned(state, steps, draws) if layer else state)
        return made

    def kept(self, shape_TB: tuple[int, int], step: int) -> list[torch.Tensor] | None:
        """What dropout leaves of the inputs of every layer but the first: (K, T, B, ·) of 0 and 1 /
        (1 - rate).
        """
        rate = self.runs[0].model.dropout
        if not rate:
            return None
        sizes = [(*shape_TB, width) for width in widths(self.stack, self.task.inputs, self.hidden)]
        masks = []
        for layer, size in list(enumerate(sizes))[1:]:
            draws = [Draw(run.seed)(f"dropout {layer}", step) for run in self.runs]
            masks.append(np.stack([draw.random(size, np.float32) >= rate for draw in draws]))
        return [torch.from_numpy(mask).to(self.network.flat) / (1 - rate) for mask in masks]


def in_steps(train: Train, task: Task) -> tuple[int, int]:
    """Budget and steps between validations in optimiser steps, also where they are given in epochs.

    Raises UserError where the task knows no epochs.
    """
    in_epochs = {
        "train.epochs": train.epochs,
        "train.eval_every": train.eval_every if isinstance(train.eval_every, str) else None,
    }
    asked = [f"{key}={value}" for key, value in in_epochs.items() if value is not None]
    if not asked:
        return train.steps, int(train.eval_every)
    epoch = task.epoch(train.batch)
    if epoch is None:
        raise UserError(
            f"{', '.join(asked)}: this task draws its training data without end, so that there "
            f"is no epoch; set train.steps and train.eval_every to numbers of steps"
        )
    if epoch == 0:
        task.batch(Draw(0), 0, train.batch)  # says itself what does not fit
    steps = train.steps if train.epochs is None else train.epochs * epoch
    every = train.eval_every if isinstance(train.eval_every, int) else epoch
    return steps, every


def width(stack: Sequence[Layer], model: Model, task: Task) -> int:
    """Units per layer: as set, or those whose parameters or FLOPs come closest to `model.match`.

    Raises UserError for a number of units that the layers cannot have.
    """
    step = stack[0].multiple
    if model.matched is None:
        if model.hidden % step:
            raise UserError(
                f"model.hidden={model.hidden}: {stack[0].name} needs a multiple of {step:g} units"
            )
        return model.hidden
    kind, wanted = model.matched
    counted, words = (parameters, "parameters") if kind == "params" else (flops, "FLOPs a step")
    hidden = step
    if (least := counted(stack, task, step)) > wanted:
        raise UserError(
            f"model.match={model.match}: {'one unit' if step == 1 else f'{step} units'} alone has "
            f"{least} {words} on this task; ask for at least that"
        )
    ahead = step
    while counted(stack, task, hidden + ahead) <= wanted:
        ahead *= 2
    while ahead >= step:
        if counted(stack, task, hidden + ahead) <= wanted:
            hidden += ahead
        ahead //= 2
    return min(hidden, hidden + step, key=lambda h: abs(counted(stack, task, h) - wanted))


def parameters(stack: Sequence[Layer], task: Task, hidden: int) -> int:
    """Trainable numbers of one network: every layer and the read-out."""
    reads = widths(stack, task.inputs, hidden)
    layers = sum(layer.count(n, hidden) for layer, n in zip(stack, reads, strict=True))
    return layers + (stack[-1].width(hidden) + 1) * task.outputs


def flops(stack: Sequence[Layer], task: Task, hidden: int) -> int:
    """Floating-point operations of the network in one step of one sequence, forward: every layer
    and the read-out.
    """
    reads = widths(stack, task.inputs, hidden)
    layers = sum(layer.flops(n, hidden) for layer, n in zip(stack, reads, strict=True))
    return layers + 2 * stack[-1].width(hidden) * task.outputs


def context(stack: Sequence[Layer], task: Task) -> int:
    """Steps of the window before that layers without states are shown, where sequences go on from
    window to window; 0: none.
    """
    return 0 if stack[0].names else task.going_on or 0


def fits(stack: Sequence[Layer], model: Model, task: Task, hidden: int, replicas: int) -> None:
    """Refuse a network whose parameters, gradients and optimiser state cannot be in memory."""
    needed = 6 * parameters(stack, task, hidden) * replicas
    refuse_above_memory(
        f"model.hidden={hidden}, model.layers={model.layers}",
        "parameters and optimiser",
        needed,
        model.dtype,
        "fewer units",
    )


def refuse_above_memory(asked: str, what: str, numbers: int, dtype: str, remedy: str) -> None:
    """Refuse what needs more numbers in memory than this machine can hold."""
    needed = numbers * (8 if dtype == "float64" else 4) / 2**30
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if needed > present:
        raise UserError(
            f"{asked} needs {needed:.3g} GiB for {what}; this machine has {present:.0f} GiB: use "
            f"{remedy}"
        )
