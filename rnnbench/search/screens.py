"""A candidate through the screens, in one process, without a file: its settings and seeds are one
pack.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from rnnbench.draw import Draw
from rnnbench.engine.network import Network
from rnnbench.engine.pack import Pack
from rnnbench.equations.plan import Plan, plan
from rnnbench.errors import UserError
from rnnbench.layers.recurrent import Recurrent
from rnnbench.search.design import Screen
from rnnbench.search.writing import compiled
from rnnbench.settings import Cell, Settings, shape
from rnnbench.sweep.planning import Job, changed
from rnnbench.tasks.contract import Task
from rnnbench.training.loop import Training
from rnnbench.training.run import load_task

FINITE = "finite"  # the screen before all others
STEPS, UNITS, SEQUENCES = 50, 16, 4  # of that screen
LARGEST = 1e3  # an output beyond it after STEPS steps has diverged


@dataclass(frozen=True)
class Assignment:
    """What to do with a candidate: at each screen, train these settings of its grid.

    needed: screen → the score that is needed to go on; a screen that is missing asks nothing.
    """

    name: str
    text: str
    settings: Mapping[str, tuple[int, ...]]
    needed: Mapping[str, float]
    seeds: Mapping[str, tuple[int, ...]]
    through: bool = False


@dataclass(frozen=True)
class Trained:
    """One screen of a candidate. scores: of each setting, the mean of its seeds; None: diverged.

    seconds: of this process, building and compiling included.
    """

    screen: str
    settings: tuple[int, ...]
    scores: tuple[float | None, ...]
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Screened:
    """failed: the first screen that was not passed; empty: all were. why: in words."""

    name: str
    failed: str
    why: str
    trained: tuple[Trained, ...]
    seconds: float


class Stage(NamedTuple):
    """A screen, the settings that its words come to, and whether more is better (max) or less."""

    screen: Screen
    settings: Settings
    goal: str


Stages = Mapping[str, Stage]  # by the screen's name, in order


def screened(order: Assignment, stages: Stages) -> Screened:
    """Train a candidate until a screen stops it."""
    started = time.perf_counter()
    function = compiled(order.text, order.name)
    why = untrainable(function)
    failed, trained = FINITE if why else "", list[Trained]()
    for name, settings in order.settings.items():
        if failed == FINITE or (failed and not order.through):
            break
        stage = stages[name]
        try:
            made = train(order.name, function, stage, settings, order.seeds[name])
        except UserError as refused:  # what no engine can compute, or no width can match
            failed, why = failed or name, why or str(refused)
            break
        trained.append(made)
        best, needed = best_of(made.scores, stage.goal), order.needed.get(name)
        if needed is not None and not reaches(best, needed, stage.goal) and not failed:
            failed, why = name, f"{_number(best)} where {needed:.4g} is needed"
    return Screened(order.name, failed, why, tuple(trained), time.perf_counter() - started)


def untrainable(function: Callable[..., Any]) -> str:
    """Why this cell cannot be trained at all, from one pass over random inputs; empty: it can."""
    made = plan(function)
    network = _network(made)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, STEPS, SEQUENCES, UNITS, generator=generator)
    outputs, _ = network.run(None, x, network.zero_state(SEQUENCES))
    largest = outputs.detach().abs().max().item()
    if not largest < LARGEST:
        return f"outputs of {largest:.3g} after {STEPS} steps"
    weights = [view for name, view in network.params.items() if not name.startswith("readout")]
    slopes = torch.autograd.grad(outputs[:, -1].sum(), weights)
    if not all(slope.isfinite().all() for slope in slopes):
        return "gradients that are not finite"
    if not any(slope.any() for slope in slopes):
        return "no gradient reaches a weight"
    return ""


def _network(made: Plan) -> Network:
    network = Network([Recurrent(made)], 1, UNITS, UNITS, 1, False, torch.float32, "cpu")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, view in network.params.items():
            if view.dim() == 3:
                view.copy_(torch.randn(view.shape, generator=generator) / UNITS**0.5)
            elif name.startswith("readout"):
                view.zero_()
    return network


def train(
    name: str,
    function: Callable[..., Any],
    stage: Stage,
    settings: Sequence[int],
    seeds: Sequence[int],
) -> Trained:
    """Train these settings of a screen's grid, each with these seeds, as one pack."""
    started = time.perf_counter()
    screen = stage.screen
    training = pack_of(name, function, stage, settings, seeds)
    steps, every = training.pack.steps, training.pack.eval_every
    parameters = training.pack.network.count
    while training.step < steps and any(training.alive):
        training.update()
        if training.step % every == 0 or training.step == steps:
            training.validate()
    metric = screen.metric or training.pack.task.metric
    reached = [
        p.best_valid.get(metric) if p.status != "diverged" else None for p in training.progress
    ]
    scores = tuple(_mean(reached[k : k + len(seeds)]) for k in range(0, len(reached), len(seeds)))
    return Trained(screen.name, tuple(settings), scores, parameters, time.perf_counter() - started)


def pack_of(
    name: str,
    function: Callable[..., Any],
    stage: Stage,
    settings: Sequence[int],
    seeds: Sequence[int],
) -> Training:
    """Settings times seeds as one pack, before its first update."""
    cell = replace(stage.settings.cell, name=name)
    runs = []
    for index in settings:
        drawn = changed(Job(replace(stage.settings, cell=cell), ()), stage.screen.values(index))
        runs += [replace(drawn.settings, seed=seed) for seed in seeds]
    return Training(Pack(runs, Recurrent(plan(function)), _task(stage.settings)))


def best_of(scores: Sequence[float | None], goal: str) -> float | None:
    known = [score for score in scores if score is not None]
    if not known:
        return None
    return max(known) if goal == "max" else min(known)


def reaches(score: float | None, needed: float, goal: str) -> bool:
    if score is None:
        return False
    return score >= needed if goal == "max" else score <= needed


def composed(screens: Sequence[Screen]) -> Stages:
    """Every screen with the settings that its words come to. UserError where they are wrong."""
    from rnnbench.compose import compose

    found = {}
    for screen in screens:
        try:
            settings = compose(["cell=gru", *screen.train])
            settings = replace(settings, cell=candidates(settings.cell.init))
            first = changed(Job(settings, ()), screen.values(0)).settings
            assert shape(first) == shape(settings), "keys that may be drawn leave the shape alone"
            task = load_task(settings, lambda _: None)
        except UserError as refused:
            raise UserError(f"screens.{screen.name}: {refused}") from None
        if screen.metric and screen.metric not in task.baseline:
            raise UserError(
                f"screens.{screen.name}.metric: task {settings.task['name']} has "
                f"{', '.join(task.baseline)}, not '{screen.metric}'"
            )
        found[screen.name] = Stage(screen, first, screen.goal or task.goal)
    return found


def candidates(init: str) -> Cell:
    """The settings of a cell that is nobody's: no gate is known to keep its memory."""
    return Cell("candidate", "", None, None, init, None, {}, {})


def _task(settings: Settings) -> Task:
    return load_task(settings, lambda _: None)


def seeds_of(screen: Screen, seed: int) -> tuple[int, ...]:
    """The seeds of training in the search number `seed`."""
    return tuple(100 * seed + k for k in range(screen.seeds))


def drawn(screen: Screen, seed: int, purpose: str, without: set[int], count: int) -> list[int]:
    """Random settings of a screen's grid that were not tried."""
    left = [k for k in range(screen.size) if k not in without]
    order = Draw(seed)(f"settings {screen.name} {purpose}").permutation(len(left))
    return [left[k] for k in order[:count]]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None and math.isfinite(v)]
    return sum(known) / len(known) if len(known) == len(values) else None


def _number(value: float | None) -> str:
    return "divergence" if value is None else f"{value:.4g}"
