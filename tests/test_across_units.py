"""The few operations that read all units: softmax, sum, mean, norm."""

import pytest
import torch

from rnnbench.catalogue import resolve
from rnnbench.engine import native
from rnnbench.equations.plan import plan
from rnnbench.equations.text import latex, unicode
from rnnbench.errors import UserError
from rnnbench.evidence.problem import draw
from rnnbench.evidence.verify import against_literal, counts
from rnnbench.runs.records import Folder
from rnnbench.tools.export import export
from rnnbench.training.loop import Training

CELLS = {
    "attending": "s = softmax(W.s @ x + R.s @ h, -1)\n    return s * h + (1 - s) * tanh(W.h @ x)",
    "summed": "t = (W.h @ x + R.h @ h + b.h).sum(-1, keepdim=True)\n    return tanh(t * p.t + h)",
    "unit": "v = W.h @ x + R.h @ h + b.h\n    return v / torch.norm(v, dim=-1) + 0.1 * h",
    "normed": "a = W.h @ x + R.h @ h\n    a = a - a.mean()\n"
    "    return tanh(a / sqrt(mean(a * a, dim=-1) + 1e-5) * p.g + b.h)",
    "twice": "v = softmax(softmax(W.a @ x + h, -1) * R.b @ h, dim=-1)\n    return v + mean(v, -1)",
}
TEXT = "import torch\nfrom torch import mean, norm, softmax, sqrt, tanh\n\n\n"


@pytest.fixture
def cell(tmp_path):
    """cell("normed") → the function, from a file."""

    def made(name, body=None):
        path = tmp_path / f"{name}.py"
        path.write_text(f"{TEXT}def {name}(W, R, p, b, x, h):\n    {body or CELLS[name]}\n")
        return resolve(f"{path}:{name}", "cell.step")

    return made


@pytest.mark.parametrize("name", ["attending", "summed", "unit", "normed"])
def test_batches_and_replicas_are_the_equations_one_vector_at_a_time(name, cell):
    """Values and gradients, against the function itself on single vectors."""
    made = plan(cell(name))
    problem = draw(made)
    for check in (against_literal(made, problem, {}), counts(made, problem)):
        assert check.passed, check.detail


def test_a_normalised_step_is_that_of_torch(cell):
    made = plan(cell("normed"))
    from rnnbench.engine import loop

    generator = torch.Generator().manual_seed(0)
    params = {
        n: torch.randn(1, *s, generator=generator, dtype=torch.float64)
        for n, s in made.shapes(3, 5).items()
    }
    x = torch.randn(1, 1, 2, 3, generator=generator, dtype=torch.float64)
    h = torch.randn(1, 2, 5, generator=generator, dtype=torch.float64)
    found, _ = loop.unroll(made, params, x, (h,))
    a = x[0, 0] @ params["W"][0] + h[0] @ params["R0"][0]
    expected = torch.layer_norm(a, (5,), params["p"][0], params["b"][0]).tanh()
    torch.testing.assert_close(found[0, 0], expected)


def test_the_native_engine_refuses_and_auto_takes_the_loop(cell, tmp_path, settings_for, pack_of):
    function = cell("attending")
    told = native.why_not(plan(function), torch.float32, "cpu")
    assert told == (
        "softmax reads all units, and the native engine computes each by itself; use engine=loop"
    )
    asked = (f"cell={tmp_path}/attending.py:attending", "task=adding", "task.length=8")
    with pytest.raises(UserError, match=r"engine=native: softmax reads all units"):
        pack_of(settings_for(*asked, "engine=native"))
    training = Training(pack_of(settings_for(*asked, "model.hidden=8", "optim.lr=0.01")))
    assert training.pack.engine.startswith("loop (softmax")
    losses = [training.update().item() for _ in range(60)]
    assert sum(losses[-10:]) < sum(losses[:10])


def test_they_are_written_as_they_are_called(cell):
    program = plan(cell("attending")).program
    assert "softmax(W_s xₜ + R_s hₜ₋₁)" in unicode(program)
    assert r"\operatorname{softmax}" in latex(program)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            "return softmax(W.h @ x + h, 0)",
            "softmax goes over the last axis, the units",
        ),
        ("return torch.cumsum(W.h @ x + h, -1)", "across units there are softmax, sum, mean and"),
        ("return (W.h @ x + h).sort()", "across units there are softmax, sum, mean and norm"),
    ],
)
def test_another_axis_and_other_mixtures_are_refused_with_the_rewrite(cell, body, told):
    with pytest.raises(UserError, match=told):
        plan(cell("odd", body))


def test_it_is_exported_as_a_file_of_python(cell, tmp_path, settings_for, trained):
    """What is written is read back and compared before it is kept."""
    names = ("attending", "summed", "unit", "normed")
    for name in names:
        cell(name)
        asked = (f"cell={tmp_path}/{name}.py:{name}", "task=adding", "task.length=5")
        run = settings_for(*asked, "model.hidden=4", "train.steps=3", "train.eval_every=3")
        trained(run)
        path, error = export(Folder.of(run).path, "module", str(tmp_path / f"{name}_model.py"))
        assert error < 1e-5 and path.exists()
