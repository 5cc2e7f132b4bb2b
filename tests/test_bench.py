"""The benchmark measures what it says: peers compute the cell, ratios and tables follow from the
times, a small one runs whole.
"""

import json
import runpy
from pathlib import Path

import pytest
import torch

from rnnbench.bench import peers
from rnnbench.bench.command import distinct, measured, run, written
from rnnbench.bench.contender import Contender
from rnnbench.bench.ratios import of_layers
from rnnbench.bench.rounds import layers
from rnnbench.bench.tables import name_of, table
from rnnbench.catalogue import cells
from rnnbench.engine import loop
from rnnbench.engine.native import build
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError

CELLS = runpy.run_path(str(Path(__file__).parent.parent / "scripts" / "golden_products.py"))[
    "cells"
]()
T, B, I, H = 4, 3, 2, 5  # noqa: E741


def problem(name):
    """Plan, weights, inputs, states and slopes of one network."""
    generator = torch.Generator().manual_seed(0)
    made = plan(CELLS[name])

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    weights = {n: normal(*shape).requires_grad_() for n, shape in made.shapes(I, H).items()}
    return (
        made,
        weights,
        normal(T, B, I),
        tuple(0.2 + normal(B, H).abs() for _ in made.state),
        normal(T, B, H),
    )


def by_the_loop(made, weights, x, state, slope):
    """Its outputs, and gradients of the weights."""
    outputs = loop.unroll(
        made, {n: w[None] for n, w in weights.items()}, x[None], tuple(s[None] for s in state)
    )[0][0]
    return outputs, torch.autograd.grad(
        outputs, list(weights.values()), slope, materialize_grads=True
    )


@pytest.mark.parametrize("name", [n for n in CELLS if plan(CELLS[n]).program.plain])
def test_the_loop_by_hand_computes_the_cell(name):
    made, weights, x, state, slope = problem(name)
    outputs = peers.by_hand(made)(weights, x, state)
    slopes = torch.autograd.grad(outputs, list(weights.values()), slope, materialize_grads=True)
    expected, wanted = by_the_loop(made, weights, x, state, slope)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(slopes, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_after", "mut1", "slstm"])
def test_the_scan_computes_the_cell(name):
    pytest.importorskip("jax")
    made, weights, x, state, slope = problem(name)
    found = peers.scanned(made, weights, x, state, slope)()
    for wanted, block in zip(by_the_loop(made, weights, x, state, slope)[1], weights, strict=True):
        torch.testing.assert_close(
            torch.tensor(found[block].tolist()), wanted, rtol=1e-4, atol=1e-4
        )


def test_who_takes_part():
    ways = [
        (c.way, c.threads, c.task)
        for c in layers("lstm", (20, 100, 2, 128), True, [1, 2], 1)
        if c.way != "lax.scan"
    ]
    layer = [
        ("native", 1, ""),
        ("loop", 1, ""),
        ("by hand", 1, ""),
        ("torch.nn", 1, ""),
        ("torch.nn kept", 1, ""),
    ]
    assert ways == [
        *layer,
        ("native", 2, ""),
        ("torch.nn", 2, ""),
        ("native", 1, "adding"),
        ("loop", 1, "adding"),
    ]
    assert {c.way for c in layers("mut1", (20, 100, 50, 128), True, [1], 1)} - {"lax.scan"} == {
        "native",
        "loop",
        "by hand",
    }
    assert layers("lstm", (20, 20, 10, 8), True, [1], 2) == [
        Contender("lstm", way, (20, 20, 10, 8), 1, 2) for way in ("native", "loop")
    ]


def test_all_is_every_equation_once():
    found = distinct(set(cells()))
    assert {"lstm", "np", "gru", "relu"} <= set(found) and not {"lstm_b", "irnn"} & set(found)


def row(way, times, threads=1, task=""):
    spent = {
        "times": times,
        "median": sorted(times)[1],
        "quartiles": [min(times), max(times)],
        "peak_bytes": 2**21,
        "gflops": 1.0,
    }
    return {
        "cell": "lstm",
        "way": way,
        "shape": [2, 3, 4, 5],
        "threads": threads,
        "replicas": 1,
        "task": task,
        "share_of_product": 0.5,
        **spent,
    }


def test_ratios_are_to_native_of_the_same_round():
    rows = [
        row("native", [2, 2, 2]),
        row("torch.nn", [2, 4, 6]),
        row("native", [1, 1, 1], 2),
        row("torch.nn", [3, 3, 3], 2),
    ]
    found = {name_of(r): r.get("ratio") for r in of_layers(rows)}
    assert found == {"native": None, "torch.nn": 2, "2 threads": 2, "torch.nn, 2 threads": 3}
    assert rows[1]["ratio_quartiles"] == [1.5, 2.5]


def test_what_is_written(tmp_path):
    rows = of_layers(
        [
            row("native", [0.1, 0.2, 0.3]),
            row("loop", [0.4, 0.4, 0.4]),
            row("native", [0.1, 0.1, 0.1], 2),
        ]
    )
    made = {"cpu": "a processor", "versions": {"torch": "2"}, "git": None}
    load = {"before": [0.5], "after": [1.5]}
    record = {
        "kind": "bench",
        "rows": rows,
        "provenance": made,
        "load": load,
        "cpus": 2,
        "keeping": {},
        "product_gflops": 99.0,
        "repeats": 3,
        "warm_up": 2,
    }
    assert [path.name for path in written(record, tmp_path / "new")] == [
        "record.json",
        "table.md",
        "figure.svg",
        "figure.png",
    ]
    assert (
        json.loads((tmp_path / "new" / "record.json").read_text("utf-8"))["rows"][1]["ratio"] == 2
    )
    lines = (tmp_path / "new" / "table.md").read_text("utf-8").splitlines()
    assert "99 GFLOP/s" in lines[1] and "Load 0.5 before, 1.5 after" in lines[1]
    assert (
        [len(line) for line in lines[3:8]] == [len(lines[3])] * 5
        and "2.00 [1.67, 3.00]" in lines[6]
        and "gain 2.00" in lines[7]
    )
    assert "2 threads" in (tmp_path / "new" / "figure.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cells": ["lstn"]}, "lstn"),
        ({"shapes": ["1,2,3"]}, "batch,steps,inputs,units"),
        ({"repeats": 0}, "from 1 up"),
        ({"threads": []}, "from 1 up"),
        ({"replicas": [0]}, "from 1 up"),
        ({"replicas": [1, 2]}, "one number without --steps"),
        ({"steps": True, "threads": [1, 2]}, "--steps measures one thread"),
        ({"steps": True, "shapes": ["1,20,10,8"]}, "inputs of a task, 2 .* got 1,20,10,8"),
    ],
)
def test_what_cannot_be_measured_is_refused(given, said):
    with pytest.raises(UserError, match=said):
        run(
            **{
                "cells": ["lstm"],
                "shapes": [],
                "peers": False,
                "repeats": 1,
                "threads": [1],
                "replicas": [],
                "out": None,
            }
            | given
        )


@pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler on this machine")
def test_a_small_one(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    told = []
    record = measured([layers("tanh", (2, 4, 2, 8), True, [1], 1)], 1, told.append)
    rows = {(r["way"], r["task"]): r for r in record["rows"] if r["way"] != "lax.scan"}
    layer = {("native", ""), ("loop", ""), ("by hand", ""), ("torch.nn", ""), ("torch.nn kept", "")}
    assert rows.keys() == layer | {("native", "adding"), ("loop", "adding")}
    assert all(
        r["median"] > 0 and r["peak_bytes"] >= 0 and len(r["times"]) == 1 for r in record["rows"]
    )
    assert rows["native", ""]["gflops"] == pytest.approx(
        2e-9 * 2 * 4 * 8 * (3 * 8 + 2 * 2) / rows["native", ""]["median"]
    )
    assert rows["loop", "adding"]["outside"] < 1 and len(told) == 1
    assert "| tanh |" in table(record)
