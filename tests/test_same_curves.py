"""Whole runs learn alike with either engine.

The same seed gives the same curve up to rounding, which training then amplifies, so the curves are
compared as samples: ten seeds, paired, two one-sided t tests (TOST) on the mean validation loss
along the curve.

Stated before any run: the engines count as equal if the mean difference lies within 5 % of the
    loop's mean, at p < 0.05.
"""

from dataclasses import replace

import numpy as np
import pytest
from statsmodels.stats.weightstats import ttost_paired

from rnnbench.engine.native import build
from rnnbench.training.loop import Training

SEEDS, MARGIN, VALIDATIONS = 10, 0.05, 6
ADDING = (
    "cell=lstm",
    "task=adding",
    "task.length=20",
    "model.hidden=24",
    "train.batch=20",
    "optim.lr=0.01",
    "task.valid_size=200",
)
CHARLM = (
    "cell=gru",
    "task=charlm",
    "task.window=25",
    "model.hidden=24",
    "train.batch=10",
    "optim.lr=0.01",
    "train.eval_limit=1",
)

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler on this machine")


def along(pack, every):
    """The mean validation loss of every seed along its curve."""
    training, losses = Training(pack), []
    for _ in range(VALIDATIONS):
        for _ in range(every):
            training.update()
        losses.append([scores["loss"] for scores in training.evaluate("valid")])
    return np.mean(losses, 0)


def compared(settings_for, pack_of, chosen, every, mirror=None):
    curves = {}
    for engine in ("loop", "native"):
        runs = [settings_for(*chosen, f"seed={seed}", f"engine={engine}") for seed in range(SEEDS)]
        pack = pack_of(*(replace(run, paths=replace(run.paths, mirror=mirror)) for run in runs))
        assert pack.engine == engine
        curves[engine] = along(pack, every)
    loop, native = curves["loop"], curves["native"]
    assert loop.std() > 1e-4 * loop.mean(), "seeds differ: there is something to compare"
    margin = MARGIN * loop.mean()
    assert ttost_paired(native, loop, -margin, margin)[0] < 0.05, (native - loop).tolist()


def test_adding(settings_for, pack_of, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compared(settings_for, pack_of, ADDING, every=25)


def test_charlm(settings_for, pack_of, tmp_path, monkeypatch, mirror):
    """On real text."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compared(settings_for, pack_of, CHARLM, every=15, mirror=mirror)
