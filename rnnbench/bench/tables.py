"""The record of a benchmark in Markdown: where it was measured, a row a contender, what the columns
mean.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnbench.bench.ratios import a_run

LAYERS = """
Times are wall time in ms: the median and quartiles of n passes of one layer (forward, backward,
gradients of its weights), after {warm_up} that were not counted; a pass below 50 ms is made twice,
and the second counts. All rows of a cell and shape took turns, each in a process of its own.
`by hand` is a loop over PyTorch operations, inputs multiplied before it, gates side by side;
`torch.nn kept` is `torch.nn` in reused memory, with {keeping}. A task instead of a layer: a whole
training step, and the share of it that is not the layer's forward and backward. MiB: the most
memory above what a tiny layer takes. Shares are of the best matrix product of one thread, per
thread. `gru` is compared with `torch.nn.GRU`, which resets after the product at the same cost.
""".strip()
STEPS = """
Times are wall time in ms of a run's training step (data, forward, backward, read-out, loss,
clipping, optimiser: Adam, for chorales Nesterov's method): the median and quartiles of n passes,
after {warm_up} that were not counted; in a pass, steps follow one another for 50 ms. All rows of a
cell and shape took turns, each in a process of its own, on one thread. `torch.nn`, or `by hand`
where it does not compute the cell, is a loop in PyTorch with torch's fused optimiser; `lax.scan` is
`jit(vmap(step))` in JAX. PyTorch, JAX: how many times as long a run's step takes there, in JAX with
as many replicas, or with those that suit it best where it was not measured with as many; alone: the
same for ours with the fewest replicas. Products, memory: share of the best matrix product and of
the best copy or triad of one thread; memory counts what a step reads and writes as if no cache held
it. From layer to rest: what part of the step is what, each timed alone. Read-out is with the loss
and what lies between; optimiser is with clipping; rest is what they leave. MiB: the most memory
above what a tiny layer takes.
""".strip()
PARTS = ("layer", "read-out", "data", "optimiser", "rest")
Row = Mapping[str, Any]


def table(record: Row) -> str:
    """The record in Markdown, columns aligned."""
    load, made = record["load"], record["provenance"]
    versions = ", ".join(f"{k} {v}" for k, v in made["versions"].items() if k in ("torch", "jax"))
    machine = f"{made['cpu']}, {record['cpus']} processors; {versions}; commit {made['git']}."
    best = f"Best matrix product of one thread: {record['product_gflops']:.0f} GFLOP/s."
    if "memory_gigabytes" in record:
        best += f" Best copy or triad: {record['memory_gigabytes']:.0f} GB/s."
    loads = f"Load {load['before'][0]:.1f} before, {load['after'][0]:.1f} after."
    keeping = " ".join(f"`{name}={value}`" for name, value in record["keeping"].items())
    columns, note = (_of_a_step, STEPS) if record["kind"] == "steps" else (_of_a_layer, LAYERS)
    lines = _aligned([columns(row) for row in record["rows"]])
    about = note.format(warm_up=record["warm_up"], keeping=keeping)
    return "\n".join([machine, f"{best} {loads} n = {record['repeats']}.", "", *lines, "", about])


def _aligned(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Rows of equal columns as the lines of a table."""
    head = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in head]
    lines = [head, *([row[name] for name in head] for row in rows)]
    padded = []
    for line in lines:
        cells = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        padded.append("| " + " | ".join(cells) + " |")
    padded.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return padded


def _of_a_layer(row: Row) -> dict[str, str]:
    ratio = _spread(row["ratio"], row["ratio_quartiles"]) if "ratio" in row else ""
    if row["way"] == "native" and ratio:
        ratio = f"gain {ratio}"
    replicas = f" × {row['replicas']}" if row["replicas"] > 1 else ""
    outside = ""
    if "outside" in row:
        low, high = row["outside_quartiles"]
        outside = f"{row['outside']:.0%} [{low:.0%}, {high:.0%}]"
    return {
        "cell": row["cell"],
        "batch, steps, inputs, units": ", ".join(map(str, row["shape"])),
        "what": (row["task"] or "layer") + replicas,
        "way": row["way"],
        "threads": str(row["threads"]),
        "ms [quartiles]": _milliseconds(row, 1, 1),
        "time of native": ratio,
        "GFLOP/s": f"{row['gflops']:.0f}" if "gflops" in row else "",
        "share": _share(row, "share_of_product"),
        "MiB": f"{row['peak_bytes'] / 2**20:.0f}",
        "outside": outside,
    }


def _of_a_step(row: Row) -> dict[str, str]:
    against, parts = row.get("against", {}), row.get("parts", {})
    return {
        "cell": row["cell"],
        "batch, steps, inputs, units": ", ".join(map(str, row["shape"])),
        "task": row["task"],
        "way": row["way"],
        "runs": str(row["replicas"]),
        "ms a run [quartiles]": _milliseconds(row, row["replicas"], 2 if a_run(row) >= 1e-3 else 3),
        **{name: _spread(*against[name]) if name in against else "" for name in AGAINST},
        "products": _share(row, "share_of_product"),
        "memory": _share(row, "share_of_memory"),
        **{name: f"{parts[name]:.0%}" if parts else "" for name in PARTS},
        "MiB": f"{row['peak_bytes'] / 2**20:.0f}",
    }


AGAINST = ("PyTorch", "JAX", "alone")


def name_of(row: Row) -> str:
    """'torch.nn', 'torch.nn, 2 threads', '2 threads' (native's gain from them)."""
    if row["way"] == "native" and "ratio" in row:
        return f"{row['threads']} threads"
    return str(row["way"]) + (f", {row['threads']} threads" if row["threads"] > 1 else "")


def _milliseconds(row: Row, runs: int, digits: int) -> str:
    middle, low, high = (1e3 * t / runs for t in (row["median"], *row["quartiles"]))
    return f"{middle:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _spread(middle: float, quartiles: Sequence[float]) -> str:
    low, high = quartiles
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


def _share(row: Row, name: str) -> str:
    return f"{row[name]:.0%}" if name in row else ""
