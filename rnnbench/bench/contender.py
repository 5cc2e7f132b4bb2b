"""What is compared: a cell, a size and a way to compute it, and the run whose step it makes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rnnbench.settings import Settings

Shape = tuple[int, int, int, int]  # batch, steps, inputs, units
Pass = Callable[[], object]
INVENTED = "rnnbench.bench.steps.Invented"
COPIED = 20  # steps by which a sequence of the copy task is longer than its length


@dataclass(frozen=True)
class Contender:
    """way: native or loop (our engines), by hand, torch.nn, torch.nn kept (in reused memory),
    lax.scan. task: a whole training step on it; empty: one layer.
    """

    cell: str
    way: str
    shape: Shape
    threads: int = 1
    replicas: int = 1
    task: str = ""


def task_of(shape: Shape) -> str:
    """The task without files whose inputs are as wide: adding, copy, or chorales that were
    invented; empty if there is none.
    """
    _, steps, inputs, _ = shape
    known = {2: "adding", 10: "copy", 88: "chorales"}
    least = {"adding": 2, "copy": COPIED + 2, "chorales": 2}
    task = known.get(inputs, "")
    return task if task and steps >= least[task] else ""


def settings_for(contender: Contender, engine: str) -> Settings:
    """Of a run whose training step the contender makes: Adam, for chorales Nesterov's method."""
    from rnnbench.compose import compose

    B, T, _, H = contender.shape
    sized = {
        "adding": [f"task.length={T}"],
        "copy": [f"task.length={T - COPIED}"],
        "chorales": [f"task.type={INVENTED}", f"+task.max_length={T}", "optim=nesterov"],
    }
    task = "own" if contender.task == "chorales" else contender.task
    chosen = [f"cell={contender.cell}", f"task={task}", f"engine={engine}"]
    sizes = [f"train.batch={B}", f"model.hidden={H}", f"engine.threads={contender.threads}"]
    return compose([*chosen, *sizes, *sized[contender.task]])


def plan_of(cell: str) -> Any:
    from rnnbench.catalogue import read, resolve
    from rnnbench.equations.plan import plan

    values = read("cell", cell)
    return plan(resolve(values["step"], "cell.step"), values.get("constants"))
