"""`rnnbench bench`: measures, shows a table, and leaves a record, the table and a figure."""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rnnbench import catalogue
from rnnbench.bench import ratios
from rnnbench.bench.contender import Contender, Shape, plan_of, task_of
from rnnbench.bench.drawing import of_layers, of_steps
from rnnbench.bench.rounds import KEEPING, WARM_UP, Row, compared, layers, training_steps
from rnnbench.bench.tables import name_of, table
from rnnbench.charts.plots import save
from rnnbench.errors import UserError, unknown
from rnnbench.runs.made import add_file

# batch, steps, inputs, units
SHAPES = ((20, 100, 2, 128), (50, 200, 10, 128), (100, 784, 1, 128), (32, 100, 50, 512))
STEP_SHAPES = (
    *((32, 100, 2, units) for units in (64, 16, 32, 128, 256)),
    *((batch, 100, 2, 64) for batch in (1, 4, 8, 20, 50)),
    *((1, 60, 88, units) for units in (50, 100, 200)),
    *((batch, 60, 88, 100) for batch in (4, 8, 20)),
)
CELLS = ("lstm", "gru", "gru_reset_after")
STEP_CELLS = ("lstm", "lstm_vanilla", "gru_reset_after", "gru")
STEP_TASKS = ("adding", "chorales")  # whose inputs are numbers: peers multiply
STEP_REPLICAS = (1, 8, 16, 64)
SCHEMA = 3
# what a contender reaches, which share of the best that is, and what measures the best
RATES = (
    ("gflops", "share_of_product", "product_gflops"),
    ("gigabytes_per_s", "share_of_memory", "memory_gigabytes"),
)


def run(
    cells: Sequence[str],
    shapes: Sequence[str],
    peers: bool,
    repeats: int,
    threads: Sequence[int],
    replicas: Sequence[int],
    out: str | None,
    steps: bool = False,
) -> dict[str, Any]:
    """Measure, show, and write to the folder `out`; the record. UserError for what cannot be
    measured.

    steps: whole training steps instead of a layer.
    """
    from rnnbench.console import say
    from rnnbench.engine.engines import refuse_threads
    from rnnbench.engine.pack import refuse_above_memory

    if out and Path(out).expanduser().exists() and not Path(out).expanduser().is_dir():
        raise UserError(f"--out={out}: there is something that is no folder; choose another")
    known = catalogue.cells()
    chosen = distinct(known) if [*cells] == ["all"] else cells or (STEP_CELLS if steps else CELLS)
    if wrong := [cell for cell in chosen if cell not in known]:
        raise unknown("cell", wrong[0], known, "rnnbench list cells")
    if not all(re.fullmatch(r"[1-9]\d*(,[1-9]\d*){3}", shape) for shape in shapes):
        given = " ".join(shapes)
        raise UserError(
            f"--shapes takes batch,steps,inputs,units such as 50,200,10,128, got {given}"
        )
    if min(repeats, *replicas, *(threads or [0])) < 1:
        raise UserError("--repeats, --threads and --replicas take numbers from 1 up")
    refuse_threads("--threads", max(threads))
    asked: list[Any] = [tuple(map(int, shape.split(","))) for shape in shapes]
    sizes = asked or list(STEP_SHAPES if steps else SHAPES)
    if steps:
        _refuse_for_steps(sizes, threads)
    elif len(replicas) > 1:
        raise UserError(f"--replicas takes one number without --steps, got {len(replicas)}")
    for batch, length, inputs, units in sizes:
        refuse_above_memory(
            f"--shapes {batch},{length},{inputs},{units}",
            "inputs, outputs and weights",
            max(replicas, default=1) * (batch * length * (inputs + 2 * units) + units * units),
            "float32",
            "smaller ones",
        )
    _refuse_what_cannot_be_compiled(chosen)
    if peers and find_spec("jax") is None:
        say("JAX is not installed and takes no part: pip install 'rnnbench[bench]'")

    def round_of(cell: str, shape: Shape) -> list[Contender]:
        if steps:
            return training_steps(cell, shape, peers, replicas or STEP_REPLICAS)
        return layers(cell, shape, peers, threads, replicas[0] if replicas else 1)

    rounds = [round_of(cell, shape) for shape in sizes for cell in chosen]
    record = measured(rounds, repeats, say)
    say(table(record))
    if out:
        for path in written(record, Path(out).expanduser()):
            say(str(path))
    return record


def _refuse_for_steps(shapes: Iterable[Shape], threads: Sequence[int]) -> None:
    if [*threads] != [1]:
        raise UserError("--steps measures one thread; leave --threads out")
    for shape in shapes:
        if task_of(shape) not in STEP_TASKS:
            given = ",".join(map(str, shape))
            raise UserError(
                "--steps takes --shapes with the inputs of a task, 2 (adding) or 88 (chorales), "
                f"and 2 steps at least, got {given}"
            )


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
    rounds: Sequence[Sequence[Contender]], repeats: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """The record: machine, best rates, and of every contender its times in seconds, peak memory,
    rates and ratios. Rounds are all of layers, or all of training steps.
    """
    from rnnbench.engine.provenance import provenance

    steps = bool(rounds[0][0].task)
    rows: list[Row] = []
    before = os.getloadavg()
    for k, contenders in enumerate(rounds, 1):
        fresh = compared(contenders, repeats)
        rows += ratios.of_steps(fresh) if steps else ratios.of_layers(fresh)
        say(f"{k} of {len(rounds)}: {_told(fresh)}")
    best = {}
    for rate, share, top in RATES:
        if not any(top in row for row in rows):
            continue
        best[top] = max(row.pop(top) for row in rows if top in row)
        for row in rows:
            if rate in row:
                row[share] = row[rate] / best[top] / row["threads"]
    made = provenance("cpu", max(c.threads for contenders in rounds for c in contenders))
    if any(row["way"] == "lax.scan" for row in rows):
        made["versions"]["jax"] = version("jax")
    return {
        "schema": SCHEMA,
        "kind": "steps" if steps else "bench",
        "repeats": repeats,
        "warm_up": WARM_UP,
        **best,
        "load": {"before": before, "after": os.getloadavg()},
        "cpus": os.cpu_count(),
        "keeping": KEEPING,
        "provenance": made,
        "rows": rows,
    }


def _told(rows: Sequence[Row]) -> str:
    """A round in a line."""
    first = rows[0]
    shape = ",".join(map(str, first["shape"]))
    said = [f"{first['cell']} at {shape}, native {first['median'] * 1e3:.1f} ms"]
    for row in rows:
        if "ratio" in row and not row["task"]:
            said.append(f"{name_of(row)} {row['ratio']:.1f} ×")
        for name, (ratio, _) in row.get("against", {}).items():
            said.append(f"{name} {ratio:.1f} × that of {row['replicas']}")
    return ", ".join(said)


def written(record: Mapping[str, Any], folder: Path) -> list[Path]:
    """record.json, table.md, figure.svg, figure.png."""
    add_file(folder / "record.json", json.dumps(record, indent=1) + "\n")
    add_file(folder / "table.md", table(record) + "\n")
    figure = of_steps if record["kind"] == "steps" else of_layers
    pictures = [save(figure(record["rows"]), folder / f"figure.{k}") for k in ("svg", "png")]
    return [folder / "record.json", folder / "table.md", *pictures]
