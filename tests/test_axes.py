"""Equal parameters, equal steps, equal arithmetic: who is ahead may depend on which."""

import numpy as np
import pandas as pd
import pytest

from rnnbench.stats import axes
from rnnbench.stats.selection import Variant, study

STEPS = np.arange(10, 110, 10)


EQUAL_UNITS = {("cheap", None): 0.020, ("dear", None): 0.025}
EQUAL_SIZE = {("cheap", "params:1000"): 0.03, ("dear", "params:1000"): 0.01}
EQUAL_WORK = {("cheap", "flops:2000"): 0.01, ("dear", "flops:2000"): 0.03}


@pytest.fixture
def table():
    """Two cells at equal units: `dear` has four times the parameters and learns a little faster a
    step; at equal parameters `cheap` is ahead.
    """
    return ranked(EQUAL_UNITS | EQUAL_SIZE)


def ranked(rates, flops=None):
    """rates: (cell, model.match) → how fast its loss falls a step. flops: cell → of a step; None
    in records that hold none.
    """
    params = {("cheap", None): 500, ("dear", None): 2000}
    rows, points = [], []
    for (cell, match), rate in rates.items():
        for seed in range(3):
            run = f"{cell}{match}{seed}"
            scores = np.exp(-rate * STEPS) * (1 + 0.01 * seed)
            rows.append(
                {
                    "id": run,
                    "cell": cell,
                    "seed": seed,
                    "model.match": match,
                    "value": scores[-1],
                    "valid": scores[-1],
                    "params": params.get((cell, match), 1000),
                    "flops": flops[cell] if flops else np.nan,
                }
            )
            points += [
                {"id": run, "step": step, "split": "valid", "column": "mse", "value": score}
                for step, score in zip(STEPS, scores, strict=True)
            ]
    frame = pd.DataFrame(rows).assign(task="adding", goal="min", metric="mse", status="finished")
    frame = frame.assign(diverged=False, baseline=1.0)
    frame = frame.assign(**{"task.name": "adding", "train.steps": 100, "train.batch": 20})
    points = pd.DataFrame(points)
    return axes.ranked(study(frame, "cheap"), points)


def first(table, axis):
    return table[(table["axis"] == axis) & (table["rank"] == 1)].iloc[0]


def test_ranks_at_each_axis(table):
    assert str(first(table, axes.PARAMETERS)["cell"]) == "cheap"
    assert str(first(table, axes.STEPS)["cell"]) == "dear"
    assert first(table, axes.STEPS)["score"] == pytest.approx(np.exp(-2.5) * 1.01)
    cheap = first(table, axes.BY_PARAMETERS)
    assert str(cheap["cell"]) == "cheap" and cheap["budget"] == 100 * 500 * 20
    dear = table[(table["axis"] == axes.BY_PARAMETERS) & (table["cell"] == Variant("dear"))].iloc[0]
    assert dear["score"] == pytest.approx(np.exp(-0.025 * 20) * 1.01)  # 25 steps, validated at 20


def test_arithmetic_is_what_records_say():
    """`dear` has four times the parameters, and does but a tenth more arithmetic."""
    table = ranked(EQUAL_UNITS | EQUAL_SIZE, {"cheap": 1000, "dear": 1100})
    assert axes.BY_PARAMETERS not in set(table["axis"])
    dear = first(table, axes.ARITHMETIC)
    assert str(dear["cell"]) == "dear" and dear["budget"] == 100 * 1000 * 20
    assert dear["score"] == pytest.approx(np.exp(-0.025 * 90) * 1.01)  # 90.9 steps


def test_cells_matched_by_arithmetic_are_compared_after_equal_steps():
    table = ranked(EQUAL_UNITS | EQUAL_SIZE | EQUAL_WORK)
    ahead = first(table, axes.ARITHMETIC)
    assert str(ahead["cell"]) == "dear" and ahead["score"] == pytest.approx(np.exp(-3) * 1.01)
    assert len(table) == 6


def test_cells_that_move_are_named(table):
    found = axes.moved(table)
    assert {str(one.cell) for one in found} == {"cheap", "dear"} and found[0].distance == 1
    assert found[0].ranks.keys() == {axes.PARAMETERS, axes.STEPS, axes.BY_PARAMETERS}
