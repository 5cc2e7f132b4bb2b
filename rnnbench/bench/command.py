"""`rnnbench bench`: measures, shows a table, and leaves a record, the table and a figure."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnbench import catalogue
from rnnbench.bench.contender import Shape, plan_of
from rnnbench.bench.drawing import drawn
from rnnbench.bench.rounds import KEEPING, WARM_UP, compared, contenders, spread
from rnnbench.charts.style import save
from rnnbench.errors import UserError, unknown
from rnnbench.runs.made import add_file

SHAPES = (
    (20, 100, 2, 128),
    (50, 200, 10, 128),
    (100, 784, 1, 128),
    (32, 100, 50, 512),
)  # batch, steps, inputs, units
CELLS = ("lstm", "gru", "gru_reset_after")
SCHEMA = 2
NOTE = """
Times are wall time in ms: the median and quartiles of n passes of one layer (forward, backward,
gradients of its weights), after {warm_up} that were not counted; a pass below 50 ms is made twice,
and the second counts. All rows of a cell and shape took turns, each in a process of its own.
`by hand` is a loop over PyTorch operations, inputs multiplied before it, gates side by side;
`torch.nn kept` is `torch.nn` in reused memory, with {keeping}. A task instead of a layer: a whole
training step, and the share of it that is not the layer's forward and backward. MiB: the most
memory above what a tiny layer takes. Shares are of the best matrix product of one thread, per
thread. `gru` is compared with `torch.nn.GRU`, which resets after the product at the same cost.
""".strip()


def run(
    cells: Sequence[str],
    shapes: Sequence[str],
    peers: bool,
    repeats: int,
    threads: Sequence[int],
    replicas: int,
    out: str | None,
) -> None:
    """Measure, show, and write to the folder `out`. UserError for what cannot be measured."""
    from rnnbench.console import say

    known = [cell for cell in catalogue.choices("cell") if "step" in catalogue.read("cell", cell)]
    chosen = distinct(known) if [*cells] == ["all"] else cells or CELLS
    if wrong := [cell for cell in chosen if cell not in known]:
        raise unknown("cell", wrong[0], known, "rnnbench list cells")
    if not all(re.fullmatch(r"[1-9]\d*(,[1-9]\d*){3}", shape) for shape in shapes):
        raise UserError(
            f"--shapes takes batch,steps,inputs,units such as 50,200,10,128, got {' '.join(shapes)}"
        )
    if min(repeats, replicas, *(threads or [0])) < 1:
        raise UserError("--repeats, --threads and --replicas take numbers from 1 up")
    sizes: Any = [tuple(map(int, shape.split(","))) for shape in shapes] or SHAPES
    _refuse_what_cannot_be_compiled(chosen)
    record = measured(chosen, sizes, peers, repeats, threads, replicas, say)
    say(table(record))
    if out:
        for path in written(record, Path(out)):
            say(str(path))


def distinct(cells: Iterable[str]) -> list[str]:
    """The cells that differ in their equations, without those that differ in their start only."""
    steps: dict[str, str] = {}
    for cell in cells:
        values = catalogue.read("cell", cell)
        key = f"{values.get('step')} {values.get('constants')}"
        if key not in steps or values["step"].endswith(f".{cell}"):
            steps[key] = cell
    return sorted(steps.values())


def _refuse_what_cannot_be_compiled(cells: Iterable[str]) -> None:
    import torch

    from rnnbench.engine.native import why_not

    for cell in cells:
        if reason := why_not(plan_of(cell), torch.float32, "cpu"):
            raise UserError(f"{cell}: {reason}")


def measured(
    cells: Iterable[str],
    shapes: Iterable[Shape],
    peers: bool,
    repeats: int,
    threads: Sequence[int],
    replicas: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """The record: machine, best matrix product, and of every contender its times in seconds, peak
    memory, rate, and ratio to native.
    """
    from rnnbench.engine.provenance import provenance

    rows: list[dict[str, Any]] = []
    before, places = os.getloadavg(), [(shape, cell) for shape in shapes for cell in cells]
    for k, (shape, cell) in enumerate(places, 1):
        rows += (
            fresh := related(compared(contenders(cell, shape, peers, threads, replicas), repeats))
        )
        slower = ", ".join(
            f"{name_of(r)} {r['ratio']:.1f} ×" for r in fresh if "ratio" in r and not r["task"]
        )
        say(
            f"{k} of {len(places)}: {cell} at {','.join(map(str, shape))}, native "
            f"{fresh[0]['median'] * 1e3:.1f} ms; {slower}"
        )
    best = max(row["product_gflops"] for row in rows if "product_gflops" in row)
    for row in rows:
        if "gflops" in row:
            row["share_of_product"] = row["gflops"] / best / row["threads"]
    return {
        "schema": SCHEMA,
        "kind": "bench",
        "repeats": repeats,
        "warm_up": WARM_UP,
        "product_gflops": best,
        "load": {"before": before, "after": os.getloadavg()},
        "cpus": os.cpu_count(),
        "keeping": KEEPING,
        "provenance": provenance("cpu", max(threads)),
        "rows": rows,
    }


def related(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one round, each with how many times as long as native it took, or, if it is
    native on more threads, how many times less than on the first number of them: the ratio of
    medians, and the quartiles of the ratios of passes of one turn.
    """
    ours = {(r["task"], r["threads"]): r for r in rows if r["way"] == "native"}
    for row in rows:
        top, below = row, ours[row["task"], row["threads"]]
        if row is below:
            top = ours[row["task"], rows[0]["threads"]]
        if top is not below:
            turns = [a / b for a, b in zip(top["times"], below["times"], strict=True)]
            row |= {"ratio": top["median"] / below["median"], "ratio_quartiles": spread(turns)}
    return rows


def name_of(row: Mapping[str, Any]) -> str:
    """'torch.nn', 'torch.nn, 2 threads', '2 threads' (native's gain from them)."""
    if row["way"] == "native" and "ratio" in row:
        return f"{row['threads']} threads"
    return str(row["way"]) + (f", {row['threads']} threads" if row["threads"] > 1 else "")


def table(record: Mapping[str, Any]) -> str:
    """The record in Markdown, columns aligned."""
    head = [
        "cell",
        "batch, steps, inputs, units",
        "what",
        "way",
        "threads",
        "ms [quartiles]",
        "time of native",
        "GFLOP/s",
        "share",
        "MiB",
        "outside",
    ]
    lines = [head, *map(_cells, record["rows"])]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    padded = [
        "| "
        + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    padded.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    load, made = record["load"], record["provenance"]
    machine = (
        f"{made['cpu']}, {record['cpus']} processors; torch {made['versions']['torch']}; "
        f"commit {made['git']}"
    )
    loads = f"Load {load['before'][0]:.1f} before, {load['after'][0]:.1f} after."
    best = f"Best matrix product of one thread: {record['product_gflops']:.0f} GFLOP/s. {loads}"
    keeping = " ".join(f"`{name}={value}`" for name, value in record["keeping"].items())
    about = [f"{machine}.", f"{best} n = {record['repeats']}."]
    return "\n".join(
        [*about, "", *padded, "", NOTE.format(warm_up=record["warm_up"], keeping=keeping)]
    )


def _cells(row: Mapping[str, Any]) -> list[str]:
    low, high = row["quartiles"]
    times = f"{row['median'] * 1e3:.1f} [{low * 1e3:.1f}, {high * 1e3:.1f}]"
    ratio = (
        f"{row['ratio']:.2f} [{row['ratio_quartiles'][0]:.2f}, {row['ratio_quartiles'][1]:.2f}]"
        if "ratio" in row
        else ""
    )
    if row["way"] == "native" and ratio:
        ratio = f"gain {ratio}"
    rate = (
        [f"{row['gflops']:.0f}", f"{row['share_of_product']:.0%}"] if "gflops" in row else ["", ""]
    )
    what = (row["task"] or "layer") + (f" × {row['replicas']}" if row["replicas"] > 1 else "")
    outside = (
        f"{row['outside']:.0%} [{row['outside_quartiles'][0]:.0%}, "
        f"{row['outside_quartiles'][1]:.0%}]"
        if "outside" in row
        else ""
    )
    shape = ", ".join(map(str, row["shape"]))
    return [
        row["cell"],
        shape,
        what,
        row["way"],
        str(row["threads"]),
        times,
        ratio,
        *rate,
        f"{row['peak_bytes'] / 2**20:.0f}",
        outside,
    ]


def written(record: Mapping[str, Any], folder: Path) -> list[Path]:
    """record.json, table.md, figure.svg, figure.png."""
    add_file(folder / "record.json", json.dumps(record, indent=1) + "\n")
    add_file(folder / "table.md", table(record) + "\n")
    pictures = [
        save(drawn(record["rows"], name_of), folder / f"figure.{kind}") for kind in ("svg", "png")
    ]
    return [folder / "record.json", folder / "table.md", *pictures]
