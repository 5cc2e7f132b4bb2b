"""A pack: runs of equal shape, trained at once along the replica axis K.

A single run is a pack of one.

Runs of a pack may differ in seed, the optimiser's numbers, clipping, initialisation, forget bias
and input noise.
"""

import os
import re
from collections.abc import Callable, Sequence
from copy import copy as shallow_copy
from typing import Any

import numpy as np
import torch

from rnnbench.draw import Draw
from rnnbench.engine import library, loop, native
from rnnbench.engine.batches import Feeder
from rnnbench.engine.init import glorot, initial
from rnnbench.engine.network import Network, Unroll
from rnnbench.engine.optimizers import Optimizer, Schedule
from rnnbench.equations.plan import Plan, plan
from rnnbench.errors import UserError
from rnnbench.settings import Engine, Model, Settings, Train, one_of, shape
from rnnbench.tasks.contract import Task

ENGINES: dict[str, Unroll] = {
    "loop": loop.unroll,
    "native": native.unroll,
    "torch": library.unroll,
}


class Pack:
    """Everything that training K runs needs: task, data, network, optimiser, schedule, engine."""

    def __init__(self, runs: Sequence[Settings], function: Callable[..., Any], task: Task) -> None:
        assert all(shape(run) == shape(runs[0]) for run in runs), (
            "the runs of a pack have equal shapes"
        )
        first = runs[0]
        self.runs, self.task, self.train = runs, task, first.train
        self.steps, self.eval_every = in_steps(first.train, task)
        self.plan = plan(function, first.cell.constants)
        self.device, self.engine, self.unroll = chosen(
            first.engine, self.plan, getattr(torch, first.model.dtype), len(runs)
        )
        self.threads = torch.get_num_threads()
        self.hidden = width(self.plan, first.model, task)
        dtype = getattr(torch, first.model.dtype)
        self.feeder = Feeder(task, tuple(run.seed for run in runs), dtype, self.device)
        fits(self.plan, first.model, task, self.hidden, len(runs))
        self._rehearse()
        self.network = Network(
            self.plan,
            len(runs),
            task.inputs,
            self.hidden,
            first.model.layers,
            task.outputs,
            task.symbols,
            dtype,
            self.device,
        )
        self._initialise()
        self.compiled = self.engine == "native"  # also what is not the layer's
        optims = [run.optim for run in runs]
        self.optimizer = Optimizer(optims, self.network.flat, self.compiled)
        self.schedule = Schedule(optims, self.steps)
        self.noise = [run.train.input_noise for run in runs]
        if task.symbols and any(self.noise):
            raise UserError(
                "train.input_noise needs real-valued inputs; this task's inputs are symbols: set "
                "it to 0"
            )

    def taken(self, replicas: Sequence[int]) -> "Pack":
        """Some of the runs, to go on with; their parameters and optimiser state are copied."""
        made = shallow_copy(self)
        made.runs = [self.runs[k] for k in replicas]
        made.noise = [self.noise[k] for k in replicas]
        made.feeder = self.feeder.of(replicas)
        made.network = self.network.taken(replicas)
        made.optimizer = self.optimizer.taken(replicas, made.network.flat)
        made.schedule = self.schedule.taken(replicas)
        return made

    def _rehearse(self) -> None:
        """Draw data once, so that what they or their size forbid is known before anything is
        written.
        """
        model, size = self.runs[0].model, self.train.batch
        steps = self.feeder.training(0, 1).x.shape[1]
        columns = (
            model.layers * self.hidden * len(self.plan.blocks["W"])
        )  # of the hoisted products: less than training needs
        refuse_above_memory(
            f"train.batch={size} sequences of {steps} steps",
            "activations",
            size * steps * columns * len(self.runs),
            model,
            "smaller batches",
        )
        self.feeder.training(0, size)

    def _initialise(self) -> None:
        named = self.network.views(self.network.flat)
        for k, run in enumerate(self.runs):
            draw = Draw(run.seed)
            for layer in range(run.model.layers):
                inputs = self.task.inputs if layer == 0 else self.hidden
                values = initial(
                    self.plan, run.cell, draw, layer, inputs, self.hidden, self.task.horizon
                )
                for name, value in values.items():
                    named[f"{layer}.{name}"][k] = torch.from_numpy(value)
            named["readout.W"][k] = torch.from_numpy(
                glorot(draw("init readout"), self.hidden, self.task.outputs, 0)
            )

    def noisy(self, x: torch.Tensor, step: int) -> torch.Tensor:
        """Inputs (K, T, B, I) with Gaussian noise of each run's own strength and stream."""
        if not any(self.noise):
            return x
        drawn = np.zeros(x.shape, np.float32)
        for run, std, row in zip(self.runs, self.noise, drawn, strict=True):
            if std:
                Draw(run.seed)("input noise", step).standard_normal(dtype=np.float32, out=row)
                row *= std
        return x + torch.from_numpy(drawn).to(x)

    def kept(self, shape_TB: tuple[int, int], step: int) -> list[torch.Tensor] | None:
        """What dropout leaves of the inputs of every layer but the first: (K, T, B, H) of 0 and 1 /
        (1 - rate).
        """
        rate = self.runs[0].model.dropout
        if not rate:
            return None
        size = (*shape_TB, self.hidden)
        masks = [
            np.stack(
                [
                    Draw(run.seed)(f"dropout {layer}", step).random(size, np.float32) >= rate
                    for run in self.runs
                ]
            )
            for layer in range(1, self.runs[0].model.layers)
        ]
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


def chosen(
    engine: Engine, plan: Plan, dtype: torch.dtype, replicas: int
) -> tuple[str, str, Unroll]:
    """(device, engine and, if it is second best, why, its unroll) for what the settings ask."""
    device = engine.device
    one_of("engine", engine.name, ("auto", *ENGINES))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d+)?", device):
        raise UserError(f"engine.device must be auto, cpu, cuda or cuda:N, got '{device}'")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"engine.device={device}: this PyTorch ({torch.__version__}) sees no CUDA device; use "
            f"engine.device=cpu"
        )
    if (index := int(device.partition(":")[2] or 0)) and index >= torch.cuda.device_count():
        raise UserError(
            f"engine.device={device}: this machine has CUDA devices 0 to "
            f"{torch.cuda.device_count() - 1}"
        )
    processors = os.cpu_count() or 1
    if engine.threads is not None and engine.threads > 2 * processors:
        raise UserError(
            f"engine.threads={engine.threads}: this machine has {processors} processors; use at "
            f"most {2 * processors} threads"
        )
    if engine.threads is not None:
        torch.set_num_threads(engine.threads)
    if engine.name == "loop":
        return device, "loop", loop.unroll
    refused = library.why_not(plan)
    if engine.name == "torch" and refused:
        raise UserError(f"engine=torch: {refused}; use engine=auto")
    alone = engine.name == "auto" and device.startswith("cuda") and replicas == 1
    if engine.name == "torch" or (alone and not refused):
        return device, "torch", library.unroll
    if reason := native.why_not(plan, dtype, device):
        if engine.name == "native":
            raise UserError(f"engine=native: {reason}")
        return device, f"loop ({reason})", loop.unroll
    return device, "native", native.unroll


def width(plan: Plan, model: Model, task: Task) -> int:
    """Units per layer: as set, or those whose parameter count comes closest to `model.match`."""
    if model.match is None:
        return model.hidden
    wanted, hidden = int(model.match.partition(":")[2]), 1
    if parameters(plan, model, task, 1) > wanted:
        least = parameters(plan, model, task, 1)
        raise UserError(
            f"model.match={model.match}: one unit alone has {least} parameters on this task; ask "
            f"for at least that"
        )
    while (
        parameters(plan, model, task, hidden + 1) <= wanted
    ):  # grows fast: widths are in the thousands at most
        hidden += 1
    return min(hidden, hidden + 1, key=lambda h: abs(parameters(plan, model, task, h) - wanted))


def parameters(plan: Plan, model: Model, task: Task, hidden: int) -> int:
    """Trainable numbers of one network: every layer and the read-out."""
    layers = plan.count(task.inputs, hidden) + (model.layers - 1) * plan.count(hidden, hidden)
    return layers + (hidden + 1) * task.outputs


def fits(plan: Plan, model: Model, task: Task, hidden: int, replicas: int) -> None:
    """Refuse a network whose parameters, gradients and optimiser state cannot be in memory."""
    needed = 6 * parameters(plan, model, task, hidden) * replicas
    refuse_above_memory(
        f"model.hidden={hidden}, model.layers={model.layers}",
        "parameters and optimiser",
        needed,
        model,
        "fewer units",
    )


def refuse_above_memory(asked: str, what: str, numbers: int, model: Model, remedy: str) -> None:
    """Refuse what needs more numbers in memory than this machine can hold."""
    needed, present = (
        numbers * (8 if model.dtype == "float64" else 4) / 2**30,
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
    )
    if needed > present:
        raise UserError(
            f"{asked} needs {needed:.3g} GiB for {what}; this machine has {present:.0f} GiB: use "
            f"{remedy}"
        )
