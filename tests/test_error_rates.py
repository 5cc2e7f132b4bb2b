"""What the statistics promise, by simulation: how often families of equal cells err, how often
intervals hold the truth, how often what is detectable is found.

Few studies an entry; `scripts/operating_characteristics.py` does the same with thousands, and
results/bench/statistics.md holds what came out.
"""

import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from rnnbench.stats import families

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "operating_characteristics.py"
SIMULATED = runpy.run_path(str(SCRIPT))
RUNS, SHAPES = SIMULATED["RUNS"], tuple(SIMULATED["SHAPES"])


def noise(rate, studies):
    """Two standard errors of a share."""
    return 2 * math.sqrt(rate * (1 - rate) / studies)


@pytest.mark.parametrize("shape", SHAPES)
def test_families_of_equal_cells_rarely_decide_anything(shape):
    """At most 6 % of studies: with the baseline, with the best, of a single pair."""
    found = np.mean([SIMULATED["erring"](shape, n, 80, regroupings=99) for n in RUNS], axis=0)
    assert (found <= 0.06 + noise(0.05, 80 * len(RUNS))).all(), found


@pytest.mark.parametrize("shape", SHAPES)
def test_equality_at_the_margin_is_rarely_claimed(shape):
    found = np.mean([SIMULATED["equalled"](shape, n, 40) for n in RUNS], axis=0)
    assert (found <= 0.05 + noise(0.05, 40 * len(RUNS))).all(), found


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_hold_the_truth(shape):
    found = np.mean([SIMULATED["covering"](shape, n, 100) for n in RUNS], axis=0)
    assert (found >= 0.93 - noise(0.05, 100 * len(RUNS))).all(), found


@pytest.mark.parametrize("cells", [2, 10])
def test_detectable_differences_are_detected(cells):
    """In 78 to 82 % of studies."""
    found = np.mean([SIMULATED["finding"](n, cells, 200, 199) for n in RUNS])
    assert found == pytest.approx(0.8, abs=0.02 + noise(0.8, 200 * len(RUNS)))


def test_solving_always_is_told_from_solving_every_other_time():
    """Ten of ten against five of ten, ten runs each, solved runs as good in both: a comparison of
    means or of ranks alone decides less than half of such studies.
    """
    assert SIMULATED["solving"](100) >= 0.7


def test_equal_cells_beside_worse_ones_are_still_rarely_called_worse():
    """Three equal best cells among ten, the others far behind."""
    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(200):
        cells = list(rng.normal(size=(10, 8)) + np.repeat([0, 5], [3, 7])[:, None])
        found = families.with_best(cells, rng, 99)
        assert (found.p[3:] <= 0.05).all()
        wrong += (found.p[:3] <= 0.05).any()
    assert wrong / 200 <= 0.06 + noise(0.05, 200)


@pytest.mark.parametrize("shape", SHAPES)
def test_judging_with_looks_errs_no_more_than_once(shape):
    """Equal cells are called different, and cells apart by the margin equivalent, in 5 % of studies
    at most; the last interval holds the truth in 95 %.
    """
    better, worse, _, held, _ = SIMULATED["judging"](shape, 60)
    assert better + worse <= 0.05 + noise(0.05, 60) and held >= 0.93 - noise(0.05, 60)
    _, _, equivalent, held, _ = SIMULATED["judging"](shape, 60, gap=1.0)
    assert equivalent <= 0.05 + noise(0.05, 60) and held >= 0.93 - noise(0.05, 60)


def test_judging_finds_what_is_there():
    """Two standard deviations within 12 seeds nearly always, and fresh seeds confirm it."""
    better, confirmed, worse, seeds = SIMULATED["winning"]("two standard deviations", 60, 12)
    assert better >= 0.85 and confirmed >= 0.75 and worse == 0 and seeds < 12


@pytest.mark.parametrize("case", SIMULATED["APART"])
def test_intervals_hold_the_truth_where_cells_differ(case):
    found = np.mean([SIMULATED["covering_apart"](case, n, 100) for n in RUNS], axis=0)
    assert (found >= 0.93 - noise(0.05, 100 * len(RUNS))).all(), found


@pytest.mark.parametrize("case", SIMULATED["EFFECTS"])
def test_intervals_of_effects_in_claims_hold_the_truth(case):
    found = np.mean([SIMULATED["covering_effects"](case, n, 100) for n in RUNS], axis=0)
    assert (found >= 0.93 - noise(0.05, 100 * len(RUNS))).all(), found
