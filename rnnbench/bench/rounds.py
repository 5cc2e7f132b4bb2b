"""Contenders take turns, one pass each, so that whatever else the machine does falls on all
alike.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from importlib.util import find_spec
from multiprocessing.connection import Connection
from statistics import median, quantiles
from typing import Any

from rnnbench.bench.contender import Contender, Shape, task_of
from rnnbench.bench.peers import MODULES
from rnnbench.bench.serving import serve
from rnnbench.compose import environment
from rnnbench.engine.library import TWINS
from rnnbench.errors import UserError

# read by the C library when a process starts
KEEPING = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
WARM_UP = 2
MOST_IN_JAX = 8  # replicas: beyond, a run gains nothing, and a step takes seconds
PAUSE = 0.005  # seconds between two passes: threads that wait for more work have gone to sleep then
LOADED = [
    "rnnbench.bench.steps",
    "rnnbench.engine.pack",
    "rnnbench.training.run",
    "rnnbench.compose",
]
Row = dict[str, Any]


def layers(
    cell: str, shape: Shape, peers: bool, threads: Sequence[int], replicas: int
) -> list[Contender]:
    """All that one round over a layer compares, and a training step by our engines.

    Beyond the first number of threads: our engine and torch.nn. Peers have no replicas.
    """
    ways = ["native", "loop"]
    if peers and replicas == 1:
        ways.append("by hand")
        if cell in MODULES:
            ways += ["torch.nn", "torch.nn kept"]
        if find_spec("jax"):
            ways.append("lax.scan")
    made = [Contender(cell, way, shape, threads[0], replicas) for way in ways]
    for more in threads[1:]:
        scaling = [way for way in ways if way in ("native", "torch.nn")]
        made += [Contender(cell, way, shape, more, replicas) for way in scaling]
    if task := task_of(shape):
        ours = ("native", "loop")
        made += [Contender(cell, way, shape, threads[0], replicas, task) for way in ours]
    return made


def training_steps(
    cell: str, shape: Shape, peers: bool, replicas: Sequence[int]
) -> list[Contender]:
    """All that one round over whole training steps compares, on one thread: our engine with so many
    replicas, one run in PyTorch, and JAX with as many replicas as is worth while.
    """
    task = task_of(shape)
    made = [Contender(cell, "native", shape, 1, K, task) for K in replicas]
    if peers:
        made.append(Contender(cell, "torch.nn" if cell in TWINS else "by hand", shape, 1, 1, task))
        if find_spec("jax"):
            few = [K for K in replicas if K <= MOST_IN_JAX]
            made += [Contender(cell, "lax.scan", shape, 1, K, task) for K in few]
    return made


def compared(round_: Sequence[Contender], repeats: int) -> list[Row]:
    """All contenders in turn, `repeats` times after warming up; each begins as often as it ends."""
    with ExitStack() as stack:
        running = [stack.enter_context(_process(c)) for c in round_]
        for process, contender in zip(running, round_, strict=True):
            if refused := _answer(process, contender):
                raise UserError(
                    f"{contender.cell} at {','.join(map(str, contender.shape))}: {refused}"
                )
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
    if "layer" in answers[0]:
        shares = [_shares(answer) for answer in answers]
        row["parts"] = {name: median(s[name] for s in shares) for name in shares[0]}
        outside = [1 - s["layer"] for s in shares]
        row |= {"outside": median(outside), "outside_quartiles": spread(outside)}
    for work, rate in (("gflop", "gflops"), ("gigabytes", "gigabytes_per_s")):
        if work in known:
            row[rate] = known.pop(work) / row["median"]
    return row | known


def _shares(answer: Row) -> dict[str, float]:
    """What part of a step is what: the parts were timed alone; the rest is what they leave."""
    nothing = answer.get("nothing", 0.0)  # to call none of the compiled parts: of the rest
    parts = {name: answer[name] - nothing for name in ("layer", "optimiser")}
    parts |= {"data": answer["data"], "read-out": answer["network"] - answer["layer"]}
    shares = {name: part / answer["seconds"] for name, part in parts.items()}
    return shares | {"rest": 1 - sum(shares.values())}


def spread(values: Sequence[float]) -> list[float]:
    """The quartiles."""
    return quantiles(values, n=4, method="inclusive")[::2] if len(values) > 1 else [values[0]] * 2


def _asked(process: Connection, more: bool, contender: Contender) -> Row:
    with suppress(BrokenPipeError):  # what ended says nothing when it is asked for its answer
        process.send(more)
    answer: Row = _answer(process, contender)
    return answer


def _answer(process: Connection, contender: Contender) -> Any:
    try:
        return process.recv()
    except EOFError:
        raise UserError(
            f"{contender.cell} by {contender.way} at {','.join(map(str, contender.shape))} died, "
            f"perhaps out of memory; its output is above; use smaller --shapes"
        ) from None


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
