"""Pictures of lectures: what is drawn is what their formulas say."""

import math

import numpy as np
import pytest
import torch

from rnnbench import cli
from rnnbench.nn import Recurrent
from rnnbench.tools import textbook


def drawn(monkeypatch, name):
    """What a picture hands to its chart."""
    found = {}
    monkeypatch.setattr(textbook.textbook, name, lambda *given: found.update(enumerate(given)))
    return found


def test_powers_grow_by_the_largest_eigenvalue(monkeypatch):
    found = drawn(monkeypatch, "powers")
    textbook.powers(radius=(0.8, 1.2), units=8, steps=200)
    for rho, norms in found[1].items():
        assert np.abs(found[0][rho]).max() == pytest.approx(rho)
        assert (norms[200] / norms[100]) ** 0.01 == pytest.approx(rho, rel=0.01)
        assert min(norms / float(rho) ** np.arange(201)) > 0.99  # never below ρ^k


def test_the_error_of_one_unit_is_that_of_its_formula():
    w, b, h = 5.5, -2.6, 0.5
    for _ in range(50):
        h = w / (1 + math.exp(-h)) + b
    expected = (1 / (1 + math.exp(-h)) - 0.7) ** 2
    given = (torch.tensor(value, dtype=torch.float64) for value in (w, b))
    assert textbook.error_of_one_unit(*given).item() == pytest.approx(expected)


def test_without_clipping_one_step_leaves_the_picture_and_with_it_none_does():
    lengths = {}
    for clip in (None, 1.0):
        path = np.array(textbook.descent((6.0, -3.0), 0.1, clip, 300))
        lengths[clip] = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert 3.8 < path[:, 0].min() <= path[:, 0].max() < 7.2  # the last is the clipped one
    assert lengths[None].max() > 50
    assert lengths[1.0].max() <= 0.1 + 1e-12


def test_sensitivity_is_that_of_finite_differences():
    norms = textbook.sensitivities("gru", 4, 3)
    torch.manual_seed(0)
    layer = Recurrent("gru", 4, 3, dtype=torch.float64)
    x = torch.randn(4, 20, 4, dtype=torch.float64)
    size, squares = 1e-6, torch.zeros(4, 20, dtype=torch.float64)
    for k in range(4):
        moved = x.clone()
        moved[0, :, k] += size
        squares += ((layer(moved)[0] - layer(x)[0]) / size).square().sum(-1)
    np.testing.assert_allclose(norms, squares.sqrt().mean(1).detach(), rtol=1e-4)


def test_a_latch_writes_holds_and_reads():
    x = torch.zeros(7, 3, dtype=torch.float64)
    x[:, 0] = torch.tensor([0.3, 1.5, -2.0, 0.7, 0.2, -1.0, 0.9])
    x[[1, 5], 1] = 1.0
    x[[3, 6], 2] = 1.0
    found = textbook.latch(x)
    first, second = math.tanh(1.5), math.tanh(-1.0)
    np.testing.assert_allclose(found["c"], [0, *[first] * 4, *[second] * 2], atol=1e-3)
    read = [0, 0, 0, math.tanh(first), 0, 0, math.tanh(second)]
    np.testing.assert_allclose(found["y"], read, atol=1e-3)
    assert (found["i"].round() == [0, 1, 0, 0, 0, 1, 0]).all()


@pytest.mark.parametrize("name", sorted(textbook.PICTURES))
def test_a_command_writes_a_picture(name, tmp_path, capsys):
    small = {"powers": ["steps=3", "units=4"], "cliff": ["updates=3"]}
    small |= {"sensitivity": ["steps=2", "units=2"]}
    words = ["picture", name, *small.get(name, []), "--out", str(tmp_path / "x.svg")]
    assert cli.main(words) == 0
    assert "saved in" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "x.svg").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["power"], "did you mean 'powers'"),
        (["powers", "radios=1"], "did you mean 'radius'"),
        (["powers", "radius=[]"], "a list of numbers"),
        (["powers", "radius=[-1]"], "at least 1e-09"),
        (["powers", "steps=2.5"], "a whole number"),
        (["powers", "steps=true"], "a whole number"),
        (["cliff", "clip=x"], "a number, got 'x'"),
        (["cliff", "clip"], "a number"),
        (["cliff", "w=.inf"], "at most 1e+06"),
        (["gates", "steps=3"], "at least 12"),
        (["powers", "units=1000000"], "at most 1000"),
    ],
)
def test_what_cannot_be_drawn_is_refused(words, said, capsys):
    assert cli.main(["picture", *words]) == 2
    assert said in capsys.readouterr().err
