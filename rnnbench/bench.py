"""How fast one layer is: forward, backward and gradients of its weights, against what else computes it.

Every contender lives in a process of its own, so that none profits from the memory that another keeps; they take turns,
one timing each, so that what else the machine does falls on all alike.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SHAPES = ((20, 100, 2, 128), (50, 200, 10, 128), (100, 784, 1, 128), (32, 100, 50, 512))  # batch, steps, inputs, units
MODULES = {"lstm": "LSTM", "np": "LSTM", "gru": "GRU", "gru_reset_after": "GRU", "tanh": "RNN"}  # of torch.nn; gru resets elsewhere, at equal cost
KEEPING = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
WARM_UP = 2


@dataclass(frozen=True)
class Contender:
    """way: native or loop (our engines), torch.nn, torch.nn kept (its memory may be used again), cells (a loop by hand over torch.nn's cells)."""

    cell: str
    way: str
    shape: tuple[int, int, int, int]
    threads: int
    replicas: int = 1


def bench(
    cells: Sequence[str],
    shapes: Iterable[tuple[int, int, int, int]] = SHAPES,
    peers: bool = True,
    repeats: int = 15,
    threads: Sequence[int] = (1,),
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """The record: machine, best matrix product, and for every contender its times in seconds, peak memory and rate."""
    from rnnbench.engine.provenance import provenance

    rows: list[dict[str, Any]] = []
    for shape in shapes:
        for cell in cells:
            for count in threads:
                rows += _round([Contender(cell, way, shape, count) for way in _ways(cell, peers)], repeats, say)
    best = max((row["product_gflops"] for row in rows if row["threads"] == 1), default=None)
    for row in rows:
        row["share_of_product"] = row["gflops"] / best / row["threads"] if best else None
    return {
        "schema": 1,
        "kind": "bench",
        "repeats": repeats,
        "product_gflops": best,
        "load": os.getloadavg(),
        "provenance": provenance("cpu", max(threads)),
        "rows": rows,
    }


def run(cells: Sequence[str], shapes: Sequence[str], peers: bool, repeats: int, threads: Sequence[int], out: str | None) -> None:
    """`rnnbench bench`: measure, show, and write the record to `out`. UserError for what cannot be measured."""
    from rnnbench import catalogue, records
    from rnnbench.errors import UserError, unknown
    from rnnbench.screen import say

    if wrong := [cell for cell in cells if cell not in catalogue.choices("cell")]:
        raise unknown("cell", wrong[0], catalogue.choices("cell"), "rnnbench list cells")
    if not all(re.fullmatch(r"[1-9]\d*(,[1-9]\d*){3}", shape) for shape in shapes):
        raise UserError(f"--shapes takes batch,steps,inputs,units such as 50,200,10,128, got {' '.join(shapes)}")
    sizes: Any = [tuple(map(int, shape.split(","))) for shape in shapes]
    record = bench(cells or ["lstm", "gru"], sizes or SHAPES, peers, repeats, threads, say)
    say(table(record))
    if out:
        records.write(Path(out), json.dumps(record, indent=1) + "\n")


def table(record: dict[str, Any]) -> str:
    """The record as lines: median and quartiles in ms, rate, and how many times faster than it our native engine is."""
    lines = [f"best matrix product, one thread: {record['product_gflops']:.0f} GFLOP/s; load {record['load'][0]:.1f}; n = {record['repeats']}"]
    fast = {(r["cell"], tuple(r["shape"]), r["threads"]): r["median"] for r in record["rows"] if r["way"] == "native"}
    for row in record["rows"]:
        ours = fast[row["cell"], tuple(row["shape"]), row["threads"]]
        times = f"{row['median'] * 1e3:8.1f} ms [{row['quartiles'][0] * 1e3:.1f}, {row['quartiles'][1] * 1e3:.1f}]"
        rates = f"{row['gflops']:4.0f} GFLOP/s ({row['share_of_product']:4.0%}) {row['peak_bytes'] / 2**20:5.0f} MiB"
        name = f"{row['cell']:18} {'·'.join(map(str, row['shape'])):14} {row['threads']} thread{'s' if row['threads'] > 1 else ' '} {row['way']:13}"
        lines.append(f"{name} {times:26} {rates}  native is {row['median'] / ours:.2f} times as fast")
    return "\n".join(lines)


def _ways(cell: str, peers: bool) -> list[str]:
    ways = ["native", "loop"]
    if peers and cell in MODULES:
        ways += ["torch.nn", "torch.nn kept"] + (["cells"] if cell != "tanh" else [])
    return ways


def _round(contenders: Sequence[Contender], repeats: int, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """All contenders in turn, `repeats` times."""
    with ExitStack() as stack:
        running = [stack.enter_context(_process(c)) for c in contenders]
        for turn in range(WARM_UP + repeats):
            for take in running:
                take(turn >= WARM_UP)
        rows = [asdict(c) | take(None) for c, take in zip(contenders, running, strict=True)]
    say(
        f"{contenders[0].cell} at {contenders[0].shape}, threads {contenders[0].threads}: "
        + ", ".join(f"{r['way']} {r['median']:.4f} s" for r in rows)
    )
    return rows


@contextmanager
def _process(contender: Contender) -> Iterator[Callable[[bool | None], dict[str, Any]]]:
    """A process that times one pass per question; the answer to None is the summary."""
    environment = os.environ | (KEEPING if contender.way.endswith("kept") else {}) | {"OMP_NUM_THREADS": str(contender.threads)}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", "rnnbench.bench", json.dumps(asdict(contender))], stdin=pipe, stdout=pipe, env=environment) as child:
        assert child.stdin and child.stdout
        answers, times, wall = child.stdout, list[float](), list[float]()
        questions = child.stdin

        def take(kept: bool | None) -> dict[str, Any]:
            questions.write(b"\n" if kept is not None else b"end\n")
            questions.flush()
            answer: dict[str, Any] = json.loads(answers.readline())
            if kept:
                times.append(answer["seconds"])
                wall.append(answer["cpu"])
            if kept is not None:
                return answer
            median = statistics.median(times)
            quartiles = statistics.quantiles(times, n=4)[::2]
            work = answer.pop("gflop")
            spent = {"times": times, "median": median, "quartiles": quartiles, "cpu_median": statistics.median(wall), "gflops": work / median}
            return answer | spent

        yield take


def _child(contender: Contender) -> None:
    """Answers on standard output: a pass per line of standard input."""
    import resource

    import torch

    torch.set_num_threads(contender.threads)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    passed = _layer(contender)
    for line in sys.stdin:
        if line.strip():
            peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            print(json.dumps({"peak_bytes": peak, "gflop": _gflop(contender), "product_gflops": _product_rate()}), flush=True)
            return
        started, cpu = time.perf_counter(), time.process_time()
        passed()
        print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}), flush=True)


def _layer(contender: Contender) -> Callable[[], object]:
    """One pass through the layer, whichever way computes it. Slopes arrive at every output."""
    import torch

    (B, T, D, H), K = contender.shape, contender.replicas
    if contender.way in ("native", "loop"):
        from rnnbench.engine import loop, native
        from rnnbench.engine.network import layer_shapes

        made = _plan(contender.cell)
        unroll = {"native": native.unroll, "loop": loop.unroll}[contender.way]
        params = {name: (torch.randn(K, *shape) / H**0.5).requires_grad_() for name, shape in layer_shapes(made, D, H).items()}
        x, slope = torch.randn(K, T, B, D), torch.randn(K, T, B, H) / H
        state = tuple(torch.zeros(K, B, H) for _ in made.state)
        weights = list(params.values())
        return lambda: torch.autograd.grad(unroll(made, params, x, state)[0], weights, slope)
    x, slope = torch.randn(T, B, D), torch.randn(T, B, H) / H
    kind = MODULES[contender.cell]
    if contender.way != "cells":
        module = getattr(torch.nn, kind)(D, H)
        weights = list(module.parameters())
        return lambda: torch.autograd.grad(module(x)[0], weights, slope)
    cell: Callable[[Any, Any], Any] = getattr(torch.nn, f"{kind}Cell")(D, H)
    weights = list(cell.parameters())  # type: ignore[attr-defined]

    def by_hand() -> object:
        outputs, state = [], (torch.zeros(B, H), torch.zeros(B, H)) if kind == "LSTM" else torch.zeros(B, H)
        for now in x.unbind(0):
            state = cell(now, state)
            outputs.append(state[0] if kind == "LSTM" else state)
        return torch.autograd.grad(torch.stack(outputs), weights, slope)

    return by_hand


def _plan(cell: str) -> Any:
    from rnnbench.catalogue import read, resolve
    from rnnbench.engine.plan import plan

    values = read("cell", cell)
    return plan(resolve(values["step"], "cell.step"), values.get("constants"))


def _gflop(contender: Contender) -> float:
    """Of the products: the recurrent ones forward, backward and for their weights; those of the inputs forward and for theirs."""
    (B, T, D, H), made = contender.shape, _plan(contender.cell)
    return 2e-9 * contender.replicas * B * T * H * (3 * H * len(made.blocks["R"]) + 2 * D * len(made.blocks["W"]))


def _product_rate() -> float:
    """The best rate of a large matrix product on one thread, in GFLOP/s, over the libraries that PyTorch brings."""
    import torch

    torch.set_num_threads(1)
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    ways: list[Callable[[], object]] = [lambda: a @ b]
    if torch.backends.mkldnn.is_available():
        blocked = a.to_mkldnn(), b.to_mkldnn()
        ways.append(lambda: torch.nn.functional.linear(*blocked))
    seconds = []
    for way in ways:
        for _ in range(8):
            started = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - started)
    return 2 * 1024**3 / min(seconds) / 1e9


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    _child(Contender(**{**given, "shape": tuple(given["shape"])}))
