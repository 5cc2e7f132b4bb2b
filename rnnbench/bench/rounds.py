"""Contenders take turns, one pass each, so that whatever else the machine does falls on all
alike.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import Any

from rnnbench.bench.contender import TASKS, Contender, Shape, serve
from rnnbench.bench.peers import MODULES
from rnnbench.compose import environment

KEEPING = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
}  # read by the C library when a process starts
WARM_UP = 2
PAUSE = 0.005  # seconds between two passes: threads that wait for more work have gone to sleep then
LOADED = [
    "rnnbench.bench.peers",
    "rnnbench.engine.pack",
    "rnnbench.training.run",
    "rnnbench.compose",
]
Row = dict[str, Any]


def contenders(
    cell: str, shape: Shape, peers: bool, threads: Sequence[int], replicas: int
) -> list[Contender]:
    """All that one round compares. Beyond the first number of threads: our engine and torch.nn.

    Peers have no replicas.
    """
    ways = ["native", "loop"]
    if peers and replicas == 1:
        ways += [
            "by hand",
            *(["torch.nn", "torch.nn kept"] if cell in MODULES else []),
            *(["lax.scan"] if find_spec("jax") else []),
        ]
    made = [Contender(cell, way, shape, threads[0], replicas) for way in ways]
    made += [
        Contender(cell, way, shape, count, replicas)
        for count in threads[1:]
        for way in ways
        if way in ("native", "torch.nn")
    ]
    task, longer = TASKS.get(shape[2], ("", 0))
    if task and shape[1] > longer + 1:
        made += [
            Contender(cell, way, shape, threads[0], replicas, task) for way in ("native", "loop")
        ]
    return made


def compared(round_: Sequence[Contender], repeats: int) -> list[Row]:
    """All contenders in turn, `repeats` times after warming up; each begins as often as it ends."""
    with ExitStack() as stack:
        running = [stack.enter_context(_process(c)) for c in round_]
        answers: list[list[Row]] = [[] for _ in running]
        for turn in range(WARM_UP + repeats):
            first = turn % len(running)
            for k in [*range(first, len(running)), *range(first)]:
                time.sleep(PAUSE)
                answers[k].append(_asked(running[k], True, round_[k]))
        return [
            asdict(c) | _summary(a[WARM_UP:], _asked(r, False, c))
            for c, r, a in zip(round_, running, answers, strict=True)
        ]


def _summary(answers: Sequence[Row], known: Row) -> Row:
    times = [a["seconds"] for a in answers]
    row = {"times": times, "median": median(times), "quartiles": spread(times)}
    if "kernel" in answers[0]:
        outside = [1 - a["kernel"] / a["seconds"] for a in answers]
        row |= {
            "kernel_median": median(a["kernel"] for a in answers),
            "outside": median(outside),
            "outside_quartiles": spread(outside),
        }
    if "gflop" in known:
        row["gflops"] = known.pop("gflop") / row["median"]
    return row | known


def spread(values: Sequence[float]) -> list[float]:
    """The quartiles."""
    return quantiles(values, n=4, method="inclusive")[::2] if len(values) > 1 else [values[0]] * 2


def _asked(process: Connection, more: bool, contender: Contender) -> Row:
    try:
        process.send(more)
        answer: Row = process.recv()
    except (EOFError, BrokenPipeError):
        raise RuntimeError(f"{contender} ended; what it said stands above") from None
    return answer


@contextmanager
def _process(contender: Contender) -> Iterator[Connection]:
    """A process of its own, so that none profits from the memory that another keeps: as fresh as
    after the imports.
    """
    kept = contender.way.endswith("kept")
    if kept:
        context: Any = multiprocessing.get_context("spawn")
    else:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LOADED)
    ours, theirs = context.Pipe()
    child = context.Process(target=serve, args=(theirs, contender), daemon=True)
    with environment(**(KEEPING if kept else {})):
        child.start()
    theirs.close()
    try:
        yield ours
        child.join(10)
    finally:
        child.terminate()
        child.join()
        ours.close()
