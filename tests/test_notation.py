"""Cells in the letters of lectures and books, and drawn: the same equations."""

import inspect
import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rnnbench import cli
from rnnbench.catalogue import choices, read, resolve
from rnnbench.charts.cell import diagram
from rnnbench.equations import notation
from rnnbench.equations.text import unicode
from rnnbench.equations.trace import trace
from rnnbench.errors import UserError

CELLS = [
    name
    for name in choices("cell")
    if name != "own" and inspect.isfunction(resolve(read("cell", name)["step"], "cell.step"))
]
SVG = "{http://www.w3.org/2000/svg}"


def traced(name):
    values = read("cell", name)
    constants = values["constants"]
    return trace(resolve(values["step"], "cell.step"), constants), constants


PLAIN = [name for name in CELLS if traced(name)[0].plain]


@pytest.mark.parametrize("style", notation.STYLES)
@pytest.mark.parametrize("name", PLAIN)
def test_every_notation_of_every_cell_computes_the_cell(name, style):
    program, constants = traced(name)
    assert notation.difference(program, style, constants) < 1e-12


@pytest.mark.parametrize("name", sorted({*CELLS} - {*PLAIN}))
def test_states_with_shapes_are_printed_as_they_stand(name):
    program, _ = traced(name)
    assert notation.restated(program, "paper") == unicode(program)
    with pytest.raises(UserError, match=f"--notation=colah is for .* and {name} has states"):
        notation.restated(program, "colah")


def test_a_wrong_letter_is_noticed(monkeypatch):
    program, constants = traced("lstm")
    monkeypatch.setattr(notation._Restated, "_behind", lambda self, h, x: "@ behind(x, h_before)")
    assert notation.difference(program, "colah", constants) > 0.01


def test_the_lstm_as_sources_print_it():
    program, _ = traced("lstm")
    assert notation.restated(program, "cs231n").splitlines() == [
        "(iₜ; fₜ; oₜ; gₜ) = (σ; σ; σ; tanh)(W [hₜ₋₁; xₜ] + b)",
        "cₜ = gₜ ⊙ iₜ + cₜ₋₁ ⊙ fₜ",
        "hₜ = tanh(cₜ) ⊙ oₜ",
    ]
    assert "fₜ = σ(W_f [hₜ₋₁, xₜ] + b_f)" in notation.restated(program, "colah")
    assert "C̃ₜ = tanh(W_C̃ [hₜ₋₁, xₜ] + b_C̃)" in notation.restated(program, "colah")
    assert "fₜ = σ(W_if xₜ + b_if + W_hf hₜ₋₁ + b_hf)" in notation.restated(program, "pytorch")
    assert "q⁽ᵗ⁾ = σ(b_q + U_q x⁽ᵗ⁾ + W_q h⁽ᵗ⁻¹⁾)" in notation.restated(program, "goodfellow")
    assert notation.restated(program, "paper").startswith("zₜ = tanh(W_z xₜ + R_z yₜ₋₁ + b_z)")


def test_letters_that_would_collide_stay(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "from torch import sigmoid, tanh\n\n\n"
        "def mine(W, R, b, x, y, c):\n"
        "    g = sigmoid(W.g @ x + R.g @ y + b.g)\n"
        "    z = tanh(W.z @ x + R.z @ y + b.z)\n"
        "    c = g * c + (1 - g) * z\n"
        "    return tanh(c), c\n"
    )
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", "cell=mine.py:mine", "--notation", "pytorch"]) == 0
    shown = capsys.readouterr().out
    assert "zₜ = tanh(W_iz xₜ + b_iz + W_hz yₜ₋₁ + b_hz)" in shown
    assert re.search(r"largest\s+difference\s+\d", shown)
    assert cli.main(["show", "cell=mine.py:mine", "--diagram", "mine.svg"]) == 0
    assert ElementTree.parse("mine.svg").find(f"{SVG}title").text == "mine"


@pytest.mark.parametrize("name", CELLS)
def test_a_diagram_has_every_state_gate_and_weighted_line(name):
    program, _ = traced(name)
    picture = ElementTree.fromstring(diagram(program, name))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    for state in program.state:
        assert f"{state}ₜ₋₁" in texts and f"{state}ₜ" in texts
    gates = sum(value.op == "sigmoid" for value in program.values)
    assert texts.count("σ") == gates
    width, height = map(float, picture.get("viewBox").split()[2:])
    for path in picture.findall(f"{SVG}path"):
        numbers = [float(n) for n in re.findall(r"-?\d+", path.get("d"))]
        assert min(numbers) >= 0 and max(numbers[::2]) <= width and max(numbers[1::2]) <= height
    learnt = [p for p in picture.findall(f"{SVG}path") if p.get("stroke-dasharray")]
    assert len(learnt) >= len({v.op for v in program.values} & {"W", "R"})


def test_the_memory_of_an_lstm_is_one_line():
    program, _ = traced("lstm")
    picture = ElementTree.fromstring(diagram(program, "lstm"))
    wide = [p for p in picture.findall(f"{SVG}path") if p.get("stroke-width") == "3.5"]
    assert len(wide) == 3  # c before, times f, plus what is written, c after
    (height,) = {y for p in wide for y in re.findall(r"-?\d+ (-?\d+)", p.get("d"))}
    places = [
        y for p in picture.findall(f"{SVG}path") for y in re.findall(r"\d (-?\d+)", p.get("d"))
    ]
    assert int(height) == min(map(int, places))  # level, above all else


@pytest.mark.parametrize(("name", "most"), [("lstm", 9), ("gru", 6)])
def test_lines_of_a_textbooks_cell_hardly_cross(name, most):
    """Beyond x and the state, which all gates read."""
    program, _ = traced(name)
    picture = ElementTree.fromstring(diagram(program, name))
    assert diagram(program, name) == diagram(traced(name)[0], name)
    ends = []
    for path in picture.findall(f"{SVG}path"):
        points = [tuple(map(int, p)) for p in re.findall(r"(-?\d+) (-?\d+)", path.get("d"))]
        ends += itertools.pairwise(points[::3])
    crossed = sum(
        abs(a[0] - c[0]) < 30 and (a[1] - c[1]) * (b[1] - d[1]) < 0
        for (a, b), (c, d) in itertools.combinations(ends, 2)
    )
    assert crossed <= most


def test_refusals(capsys):
    assert cli.main(["show", "cell=lstm", "--notation", "colahs"]) == 2
    assert "did you mean 'colah'" in capsys.readouterr().err
    assert cli.main(["show", "cell=lstm", "--diagram", "x.png"]) == 2
    assert "must end with .svg" in capsys.readouterr().err


def test_a_drawing_of_somebody_elses_is_not_overwritten(tmp_path, capsys):
    path = Path(tmp_path, "x.svg")
    path.write_text("mine")
    assert cli.main(["show", "cell=lstm", "--diagram", str(path)]) == 2
    assert path.read_text() == "mine"
