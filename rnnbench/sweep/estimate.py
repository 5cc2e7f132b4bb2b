"""How long runs will take, from how fast runs were: work in floating-point operations, speed in
operations per second of a core.

Work counts what a network multiplies: 6 operations (forward, and two products backward) per
    recurrent weight, step of the sequence, sequence and optimiser step. Input products, evaluation
    and everything else are in the measured speed, not in the count.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rnnbench import catalogue
from rnnbench.errors import UserError
from rnnbench.runs.reading import gather
from rnnbench.settings import parameters_asked, typed
from rnnbench.sweep.planning import Job

BRIEF = (
    100  # steps; shorter runs are mostly evaluation, and tell something only if there are no others
)
TYPICAL_LAG = 40  # steps, from which a layer may take its size
LABELS = ("name", "digest", "type")  # of a task's settings; the others are its fields


@dataclass(frozen=True)
class Speed:
    """Operations per second of one core: of each task that was measured, and of all; and what that
    rests on.
    """

    by_task: Mapping[str, float]
    overall: float
    runs: int
    engines: tuple[str, ...]

    def hours(self, jobs: Iterable[Job]) -> float:
        """Core-hours of these runs, should none stop early."""
        return (
            sum(
                work(sections(job)) / self.by_task.get(job.settings.task["name"], self.overall)
                for job in jobs
            )
            / 3600
        )


def measured(places: Sequence[Path]) -> Speed | None:
    """The speed of the runs on CPUs in these places; None if there are none.

    It is their work over their time, all runs of a task together: long runs, which are what is
    planned, count for what they are.
    """
    operations: dict[str, float] = {}
    seconds: dict[str, float] = {}
    runs, engines = 0, set()
    found = records(places)
    for record in [record for record in found if (record.get("steps") or 0) >= BRIEF] or found:
        took = sum((record.get("seconds") or {}).values()) / record.get(
            "replicas", 1
        )  # of a pack, whose runs share it
        if not took or (record.get("provenance") or {}).get("device") != "cpu":
            continue
        try:
            done = work(record["settings"]) * record["steps"] / record["settings"]["train"]["steps"]
        except (UserError, KeyError, TypeError):  # of a cell or a task that is not here any more
            continue
        task, runs = record["task"], runs + 1
        operations[task], seconds[task] = (
            operations.get(task, 0.0) + done,
            seconds.get(task, 0.0) + took,
        )
        engines.add(str(record["engine"]))
    if not runs:
        return None
    speeds = {task: operations[task] / seconds[task] for task in operations}
    return Speed(
        speeds, sum(operations.values()) / sum(seconds.values()), runs, tuple(sorted(engines))
    )


def records(places: Sequence[Path]) -> list[dict[str, Any]]:
    """Of every run that has ended in these places, as far as they exist."""
    try:
        return [run.record for run in gather(*(place for place in places if place.exists()))]
    except UserError:  # no run, or no place
        return []


def sections(job: Job) -> dict[str, Any]:
    """The settings of a run as a record has them, as far as `work` looks."""
    run = job.settings
    return {
        "cell": vars(run.cell),
        "task": run.task,
        "model": vars(run.model),
        "train": vars(run.train),
    }


def work(settings: Mapping[str, Any]) -> float:
    """Floating-point operations of training a run to its last step."""
    model, train = settings["model"], settings["train"]
    blocks = products(
        settings["cell"]["step"], tuple(sorted(settings["cell"]["constants"].items()))
    )
    weights = parameters_asked(model["match"]) or blocks * model["hidden"] ** 2
    task = settings["task"]
    length = steps(
        task["type"],
        tuple(sorted((key, value) for key, value in task.items() if key not in LABELS)),
    )
    return 6.0 * float(weights * model["layers"] * length * train["batch"] * train["steps"])


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
    made: Layer = target(**dict(constants)).at(Place(0, 1, TYPICAL_LAG, symbols=False))
    units = 32 * made.multiple
    return max(round(made.count(units, units) / units**2), 1)


@cache
def steps(kind: str, fields: tuple[tuple[str, Any], ...]) -> int:
    """The length of a task's sequences, as near as its settings say: its horizon, or what a window
    or a cut leaves of longer ones.
    """
    values = dict(fields)
    task = typed(catalogue.resolve(kind, "task.type"), values, "task")
    return int(task.horizon or values.get("window") or values.get("max_length") or 100)
