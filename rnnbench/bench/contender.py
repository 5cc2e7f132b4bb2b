"""One contender: a cell, a size and a way to compute it, in a process of its own, which times a
pass whenever it is asked.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

Shape = tuple[int, int, int, int]  # batch, steps, inputs, units
Pass = Callable[[], object]
SHORT = 0.05  # seconds
TASKS = {
    2: ("adding", 0),
    10: ("copy", 20),
}  # inputs → a task that needs no files, and by how many steps a sequence is longer than its length


@dataclass(frozen=True)
class Contender:
    """way: native or loop (our engines), by hand, torch.nn, torch.nn kept (in reused memory),
    lax.scan. task: a whole training step on it.
    """

    cell: str
    way: str
    shape: Shape
    threads: int = 1
    replicas: int = 1
    task: str = ""


def serve(asked: Connection, contender: Contender) -> None:
    """Answers `True` with what one pass took, `False` with what else there is to know, and ends."""
    if contender.way == "lax.scan":  # it takes as many threads as there are processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: contender.threads])
    import torch

    torch.set_num_threads(contender.threads)
    torch.manual_seed(0)
    _layer(
        replace(contender, shape=(2, 3, contender.shape[2], 8), replicas=1)
    )()  # what is loaded, or compiled, at the first call
    before = _resident("VmRSS")
    known: dict[str, Any] = {}
    passes = _training(contender, known) if contender.task else {"seconds": _layer(contender)}
    while asked.recv():
        asked.send({name: _warm(run) for name, run in passes.items()})
        passes = dict(
            reversed(passes.items())
        )  # what comes second finds the machine as the first left it
    known["peak_bytes"] = _resident("VmHWM") - before
    if not contender.task:
        known["gflop"] = _gflop(contender)
    if contender.way == "native":
        known["product_gflops"] = _product_rate()
    asked.send(known)


def _warm(run: Pass) -> float:
    """Seconds; what is short is done twice, and counted once it has its memory in the caches again
    that others used in between.
    """
    taken = _seconds(run)
    return taken if taken > SHORT else _seconds(run)


def _seconds(run: Pass) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _resident(what: str) -> int:
    """Bytes in memory: now (VmRSS; the peak starts again from here), or at most since then
    (VmHWM).
    """
    place = Path("/proc/self")
    if not (place / "status").exists():
        from rnnbench.engine.provenance import peak_memory

        return peak_memory("cpu")
    if what == "VmRSS":
        (place / "clear_refs").write_text("5", "utf-8")
    line = next(
        line for line in (place / "status").read_text("utf-8").splitlines() if line.startswith(what)
    )
    return int(line.split()[1]) * 1024


def plan_of(cell: str) -> Any:
    from rnnbench.catalogue import read, resolve
    from rnnbench.equations.plan import plan

    values = read("cell", cell)
    return plan(resolve(values["step"], "cell.step"), values.get("constants"))


def _layer(contender: Contender) -> Pass:
    """Forward through one layer, backward, gradients of its weights. Slopes arrive at every
    output.
    """
    import torch

    from rnnbench.bench import peers
    from rnnbench.engine.network import layer_shapes
    from rnnbench.engine.pack import ENGINES

    (B, T, I, H), K, way = contender.shape, contender.replicas, contender.way  # noqa: E741
    x, slope = torch.randn(K, T, B, I), torch.randn(K, T, B, H) / H
    if way.startswith("torch.nn"):
        return peers.library(contender.cell, x[0], slope[0])
    made = plan_of(contender.cell)
    params = {
        name: (torch.randn(K, *shape) / H**0.5).requires_grad_()
        for name, shape in layer_shapes(made, I, H).items()
    }
    state = tuple(torch.zeros(K, B, H) for _ in made.state)
    if way in ENGINES:
        weights, unroll = list(params.values()), ENGINES[way]
        return lambda: torch.autograd.grad(unroll(made, params, x, state)[0], weights, slope)
    flat = {name: tensor.detach()[0].requires_grad_() for name, tensor in params.items()}
    first = tuple(s[0] for s in state)
    if way == "lax.scan":
        return peers.scanned(made, flat, x[0], first, slope[0])
    weights, outputs = list(flat.values()), peers.by_hand(made)
    return lambda: torch.autograd.grad(outputs(flat, x[0], first), weights, slope[0])


def _training(contender: Contender, known: dict[str, Any]) -> dict[str, Pass]:
    """A whole training step, and the layer's forward and backward alone, on a batch that lies
    ready.
    """
    import torch

    from rnnbench.catalogue import resolve
    from rnnbench.compose import compose
    from rnnbench.engine.pack import Pack
    from rnnbench.training.loop import Training
    from rnnbench.training.run import load_task

    B, T, I, H = contender.shape  # noqa: E741
    size = [
        f"task.length={T - TASKS[I][1]}",
        f"train.batch={B}",
        f"model.hidden={H}",
        f"engine.threads={contender.threads}",
    ]
    settings = compose(
        [f"cell={contender.cell}", f"task={contender.task}", f"engine={contender.way}", *size]
    )
    runs = [settings] * contender.replicas
    pack = Pack(runs, resolve(settings.cell.step, "cell.step"), load_task(settings, print))
    training, batch = Training(pack), pack.feeder.training(0, B)
    params, state = pack.network.layer(0), pack.network.zero_state(B)[0]
    weights, slope = list(params.values()), torch.randn(len(runs), T, B, H) / H
    validated = _seconds(training.validate)
    known["validation_per_step"] = validated / pack.eval_every
    return {
        "seconds": training.update,
        "kernel": lambda: torch.autograd.grad(
            pack.unroll(pack.plan, params, batch.x, state)[0], weights, slope
        ),
    }


def _gflop(contender: Contender) -> float:
    """Of the products: the recurrent ones forward, backward and for their weights; those of the
    inputs forward and for theirs.
    """
    (B, T, I, H), made = contender.shape, plan_of(contender.cell)  # noqa: E741
    return float(
        2e-9
        * contender.replicas
        * B
        * T
        * H
        * (3 * H * len(made.blocks["R"]) + 2 * I * len(made.blocks["W"]))
    )


def _product_rate() -> float:
    """The best rate of a large matrix product on one thread, in GFLOP/s, over the libraries that
    PyTorch brings.
    """
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    ways: list[Pass] = [lambda: a @ b]
    if torch.backends.mkldnn.is_available():
        blocked = a.to_mkldnn(), b.to_mkldnn()
        ways.append(lambda: torch.nn.functional.linear(*blocked))
    return float(2e-9 * 1024**3 / min(_seconds(way) for way in ways for _ in range(8)))
