"""A contender in a process of its own, which times a pass whenever it is asked."""

import os
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rnnbench.bench.contender import Contender, Pass, plan_of
from rnnbench.errors import UserError

SHORT = 0.05  # seconds
STEADY = 0.05  # seconds for which training steps follow one another


def serve(asked: Connection, contender: Contender) -> None:
    """Answer `True` with what one pass took, `False` with what else there is to know, and end.

    Before all that: an empty text, or why this cannot be measured.
    """
    if contender.way == "lax.scan":  # it takes as many threads as there are processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: contender.threads])
    import torch

    torch.set_num_threads(contender.threads)
    torch.manual_seed(0)
    tiny = replace(contender, shape=(2, 3, contender.shape[2], 8), replicas=1)
    _layer(tiny)()  # what is loaded, or compiled, at the first call
    before = _resident("VmRSS")
    try:
        passes, known = _prepared(contender)
    except UserError as error:
        asked.send(str(error))
        return
    asked.send("")
    lasting = STEADY if contender.task else 0.0
    while asked.recv():
        asked.send({name: _warm(run, lasting) for name, run in passes.items()})
        # what comes second finds the machine as the first left it
        passes = dict(reversed(passes.items()))
    known["peak_bytes"] = _resident("VmHWM") - before
    if contender.way == "native":
        known |= _rates(contender)
    asked.send(known)


def _prepared(contender: Contender) -> tuple[dict[str, Pass], dict[str, Any]]:
    """What is timed, and what is known of it beforehand."""
    from rnnbench.bench import rates, steps

    if contender.task:
        return steps.prepared(contender)
    gflop = rates.layer_gflop(plan_of(contender.cell), contender.shape)
    return {"seconds": _layer(contender)}, {"gflop": contender.replicas * gflop}


def _rates(contender: Contender) -> dict[str, float]:
    from rnnbench.bench import rates

    known = {"product_gflops": rates.product_rate()}
    if contender.task:
        known["memory_gigabytes"] = rates.memory_rate()
    return known


def _warm(run: Pass, lasting: float = 0.0) -> float:
    """Seconds of a pass; a short one is made again, and counted once it has its memory in the
    caches again that others used in between. As many follow one another as last so long.
    """
    taken = _seconds(run)
    if taken > SHORT:
        return taken
    count = max(1, round(lasting / taken))
    started = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - started) / count


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


def _layer(contender: Contender) -> Pass:
    """Forward through one layer, backward, gradients of its weights. Slopes arrive at every
    output.
    """
    import torch

    from rnnbench.bench import peers
    from rnnbench.engine.engines import unrollers

    (B, T, I, H), K, way = contender.shape, contender.replicas, contender.way  # noqa: E741
    x, slope = torch.randn(K, T, B, I), torch.randn(K, T, B, H) / H
    if way.startswith("torch.nn"):
        return peers.library(contender.cell, x[0], slope[0])
    made = plan_of(contender.cell)
    params = {
        name: (torch.randn(K, *shape) / H**0.5).requires_grad_()
        for name, shape in made.shapes(I, H).items()
    }
    state = tuple(torch.zeros(K, B, H) for _ in made.state)
    if way in unrollers():
        weights, unroll = list(params.values()), unrollers()[way].unroll
        return lambda: torch.autograd.grad(unroll(made, params, x, state)[0], weights, slope)
    flat = {name: tensor.detach()[0].requires_grad_() for name, tensor in params.items()}
    first = tuple(s[0] for s in state)
    if way == "lax.scan":
        return peers.scanned(made, flat, x[0], first, slope[0])
    weights, outputs = list(flat.values()), peers.by_hand(made)
    return lambda: torch.autograd.grad(outputs(flat, x[0], first), weights, slope[0])
