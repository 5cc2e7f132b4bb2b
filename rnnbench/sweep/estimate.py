"""How long runs will take on one core, from how long runs took.

A training step costs a fixed time, a time for every value that its gates compute, and a time for
every floating-point operation of its recurrent products: 6 per weight, step of the sequence and
sequence (forward, and two products backward). The three are STEP, UNIT and OPERATION, fitted to the
8,204 runs of `results/` (native engine, packs of up to 32): half of the runs took between 0.66 and
1.5 times as long, evaluation and all. They are written here so that a plan needs no runs at hand;
runs that are at hand say how much more or less this machine takes, cell by cell and task by task.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from statistics import mean, median
from typing import Any

from rnnbench import catalogue
from rnnbench.draw import Draw
from rnnbench.errors import UserError
from rnnbench.runs.reading import gather
from rnnbench.runs.records import own_seconds
from rnnbench.settings import Settings, matched, typed

STEP, UNIT, OPERATION = 7e-4, 4.2e-9, 1e-11  # seconds; OPERATION is what a core does at its best
BRIEF = 100  # steps; shorter runs are mostly evaluation and say something only if alone
LOOKS = 20  # batches of one sequence whose lengths are looked at
TYPICAL_LAG = 40  # steps, from which a layer may take its size
LABELS = ("name", "digest", "type")  # of a task's settings; the others are its fields


@dataclass(frozen=True)
class Speed:
    """How much longer than this module's numbers say runs at hand took.

    ratios: by task and cell. runs: so many are at hand; engines: that trained them.
    """

    ratios: Mapping[tuple[str, str], float]
    runs: int
    engines: tuple[str, ...]

    def ratio(self, task: str, cell: str) -> float:
        """Of this cell on this task; what is not at hand takes the median of the cell on other
        tasks, or of other cells on this task, or of all; one if there is none.
        """
        if (task, cell) in self.ratios:
            return self.ratios[task, cell]
        of_cell = [ratio for pair, ratio in self.ratios.items() if pair[1] == cell]
        of_task = [ratio for pair, ratio in self.ratios.items() if pair[0] == task]
        return median(of_cell or of_task or list(self.ratios.values()) or [1.0])

    def hours(self, runs: Iterable[Settings]) -> float:
        """Core-hours of these runs, should none stop early."""
        known: dict[str, Budget] = {}
        total = 0.0
        for run in runs:
            ratio = self.ratio(run.task["name"], run.cell.name)
            planned = budget(run, known)
            total += ratio * seconds(sections(run, planned.steps), planned.length)
        return total / 3600


def measured(places: Sequence[Path]) -> Speed:
    """The speed of the runs on CPUs in these places: of each cell on each task the time of all runs
    over what it should have been.
    """
    took: defaultdict[tuple[str, str], float] = defaultdict(float)
    due: defaultdict[tuple[str, str], float] = defaultdict(float)
    runs, engines = 0, set()
    found = records(places)
    for record in [record for record in found if (record.get("steps") or 0) >= BRIEF] or found:
        time = own_seconds(record)
        if not time or (record.get("provenance") or {}).get("device") != "cpu":
            continue
        try:
            share = record["steps"] / record["settings"]["train"]["steps"]
            planned = seconds(record["settings"]) * share
        except (UserError, KeyError, TypeError):  # of a cell or a task that is not here any more
            continue
        pair = record["task"], record["cell"]
        took[pair] += time
        due[pair] += planned
        runs += 1
        engines.add(str(record["engine"]).split()[0])  # why no other did stands behind it
    return Speed({pair: took[pair] / due[pair] for pair in took}, runs, tuple(sorted(engines)))


def records(places: Sequence[Path]) -> list[dict[str, Any]]:
    """Of every run that has ended in these places, as far as they exist."""
    try:
        return [run.record for run in gather(*(place for place in places if place.exists()))]
    except UserError:  # no run, or no place
        return []


def sections(run: Settings, steps: int) -> dict[str, Any]:
    """Settings as a record has them, as far as `seconds` looks, with a budget in steps."""
    train = {**vars(run.train), "steps": steps}
    return {"cell": vars(run.cell), "task": run.task, "model": vars(run.model), "train": train}


@dataclass(frozen=True)
class Budget:
    """Optimiser steps of a run, and the length of its sequences where the data say it."""

    steps: int
    length: int | None = None


def budget(run: Settings, known: dict[str, Budget]) -> Budget:
    """As the settings say; where epochs are asked for, as the data say, if they can be had.

    known: budgets in epochs by what they follow from, filled as they are asked for.
    """
    if run.train.epochs is None:
        return Budget(run.train.steps)
    key = json.dumps([run.task, run.train.batch, run.train.epochs])
    if key not in known:
        from rnnbench.engine.pack import in_steps  # with PyTorch, which who only reads does without
        from rnnbench.training.run import load_task

        known[key] = Budget(run.train.steps)
        with suppress(UserError, OSError):
            task = load_task(run, lambda _: None)
            lengths = [len(task.batch(Draw(0), step, 1).x) for step in range(LOOKS)]
            known[key] = Budget(in_steps(run.train, task)[0], round(mean(lengths)))
    return known[key]


def seconds(settings: Mapping[str, Any], long: int | None = None) -> float:
    """What training a run to its last step takes on one core, by STEP, UNIT and OPERATION.

    long: the length of its sequences, where it is known better than from the settings.
    """
    model, train, task = settings["model"], settings["train"], settings["task"]
    cell = settings["cell"]
    blocks = products(cell["step"], tuple(sorted(cell["constants"].items())))
    asked = matched(model["match"])
    weights = asked.parameters if asked else blocks * model["hidden"] ** 2
    fields = tuple(sorted((key, value) for key, value in task.items() if key not in LABELS))
    rows = (long or length(task["type"], fields)) * train["batch"] * model["layers"]
    values = rows * sqrt(blocks * weights)
    return float(train["steps"] * (STEP + UNIT * values + OPERATION * 6 * rows * weights))


@cache
def products(step: str, constants: tuple[tuple[str, float], ...]) -> int:
    """How many products of the state with a square matrix a cell makes in a step; at least one. A
    layer of another kind has about as many as its weights make up.
    """
    from rnnbench.engine.layer import Layer, Place
    from rnnbench.equations.plan import plan
    from rnnbench.layers import is_layer

    target = catalogue.resolve(step, "cell.step")
    if not is_layer(target):
        return max(len(plan(target, dict(constants)).blocks["R"]), 1)
    made: Layer = target(**dict(constants)).at(Place(0, 1, TYPICAL_LAG, symbols=False, stops=(0,)))
    units = 32 * made.multiple
    return max(round(made.count(units, units) / units**2), 1)


@cache
def length(kind: str, fields: tuple[tuple[str, Any], ...]) -> int:
    """The length of a task's sequences, as near as its settings say: its window, its horizon, or
    what a cut leaves of longer ones.
    """
    values = dict(fields)
    task = typed(catalogue.resolve(kind, "task.type"), values, "task")
    return int(values.get("window") or task.horizon or values.get("max_length") or 100)


def total_steps(runs: Iterable[Settings]) -> int:
    """Optimiser steps of these runs, should none stop early."""
    known: dict[str, Budget] = {}
    return sum(budget(run, known).steps for run in runs)
