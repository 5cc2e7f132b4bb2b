"""The native engine computes what the loop does, for every cell, shape, kind of vector, number of
threads and pack.
"""

import ctypes
import os
import random
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnbench.catalogue import resolve
from rnnbench.engine import loop, native
from rnnbench.engine.native import build, emit
from rnnbench.engine.native.words import fields
from rnnbench.equations.operations import mixes_units
from rnnbench.equations.plan import plan
from rnnbench.equations.stages import staged
from rnnbench.errors import UserError

ROOT = Path(__file__).parent.parent
ALL = runpy.run_path(str(ROOT / "scripts" / "golden_products.py"))["cells"]()
# those that act on units one by one; the others are refused: test_across_units.py, test_shapes.py
CELLS = {
    name: function
    for name, function in ALL.items()
    if not any(map(mixes_units, plan(function).program.values))
}
PLANS = {name: plan(function) for name, function in CELLS.items()}
LEVELS = {
    "x86-64": (),
    "x86-64-v3": ("avx2", "fma", "bmi2"),
    "x86-64-v4": ("avx512f", "avx512bw", "avx512vl", "avx512dq"),
}

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="no C++ compiler on this machine")
every_cell = pytest.mark.parametrize("name", CELLS)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Compiled once per session, never in the user's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp().parent / "native-cache"))
        yield


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(made, K, T, B, H, seed=0, inputs=2):
    """Parameters, inputs, states and the weights of a sum of everything that comes out, float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    given = {
        name: normal(K, *shape) / (H**0.5 if name[0] == "R" else 1.5)
        for name, shape in made.shapes(inputs, H).items()
    }
    given |= {"x": normal(K, T, B, inputs)}
    given |= {
        f"state {name}": 0.2 + torch.rand((K, B, H), generator=generator, dtype=torch.float64)
        for name in made.state
    }
    return given, (normal(K, T, B, H), *(normal(K, B, H) for _ in made.state))


def quantities(made, unroll, given, weights, dtype=torch.float64):
    """Outputs, last states and the gradients of their weighted sum, by name."""
    given = {
        name: tensor.to(dtype).requires_grad_() if tensor.is_floating_point() else tensor
        for name, tensor in given.items()
    }
    params = {name: tensor for name, tensor in given.items() if name[0] in "WRpb"}
    states = tuple(given[f"state {name}"] for name in made.state)
    outputs, last = unroll(made, params, given["x"], states)
    total = sum((w.to(dtype) * v).sum() for w, v in zip(weights, (outputs, *last), strict=True))
    sloped = {name: tensor for name, tensor in given.items() if tensor.requires_grad}
    slopes = torch.autograd.grad(total, list(sloped.values()), materialize_grads=True)
    names = ["outputs", *made.state, *(f"gradient of {name}" for name in sloped)]
    return {n: v.detach() for n, v in zip(names, (outputs, *last, *slopes), strict=True)}


def error(got, expected):
    """The largest error, of the largest entry of its quantity; infinite where something is not
    finite.
    """
    errors = [
        ((got[n].double() - e).abs().max() / (e.abs().max() or 1)).item()
        for n, e in expected.items()
    ]
    return max(e if e == e else float("inf") for e in errors)


def roughness(got, expected):
    """The root of the mean squared error of every quantity, of its size."""
    return {n: ((got[n].double() - e).norm() / (e.norm() or 1)).item() for n, e in expected.items()}


@every_cell
def test_equals_the_loop(name):
    made = PLANS[name]
    for shape in [(1, 3, 7, 5), (2, 5, 40, 19)]:
        given, weights = problem(made, *shape)
        assert (
            error(
                quantities(made, native.unroll, given, weights),
                quantities(made, loop.unroll, given, weights),
            )
            < 1e-11
        )


@every_cell
def test_single_precision_is_as_exact_as_the_loop(name):
    made, ours, theirs = PLANS[name], [], []
    for seed in range(3):
        given, weights = problem(made, 2, 12, 33, 48, seed)
        given = {n: t.float().double() for n, t in given.items()}
        exact = quantities(made, loop.unroll, given, weights)
        ours.append(
            roughness(quantities(made, native.unroll, given, weights, torch.float32), exact)
        )
        theirs.append(
            roughness(quantities(made, loop.unroll, given, weights, torch.float32), exact)
        )
    for quantity in ours[0]:
        mine, reference = (np.median([r[quantity] for r in runs]) for runs in (ours, theirs))
        assert mine <= max(2 * reference, 1e-7), quantity


SIZES = {
    "K": st.integers(1, 3),
    "T": st.integers(1, 8),
    "B": st.integers(1, 40),
    "H": st.integers(1, 40),
    "inputs": st.integers(1, 20),
}


@every_cell
def test_any_shape(name):
    """Against the loop in double precision: as exact there; in single precision, over all shapes,
    at most twice as far off as the loop.
    """
    made, off = PLANS[name], {native: [], loop: []}

    @settings(max_examples=6, deadline=None, derandomize=True)
    @given(size=st.fixed_dictionaries(SIZES), symbols=st.booleans(), seed=st.integers(0, 1000))
    def at(size, symbols, seed):
        given, weights = problem(made, **size, seed=seed)
        given = {n: t.float().double() for n, t in given.items()}
        if symbols:
            given["x"] = torch.randint(
                0,
                size["inputs"],
                given["x"].shape[:3],
                generator=torch.Generator().manual_seed(seed),
            )
        exact = quantities(made, loop.unroll, given, weights)
        assert error(quantities(made, native.unroll, given, weights), exact) < 1e-10
        for engine, errors in off.items():
            errors.append(
                np.median(
                    [
                        *roughness(
                            quantities(made, engine.unroll, given, weights, torch.float32), exact
                        ).values()
                    ]
                )
            )

    at()
    # a shape of a few numbers may be lucky
    mine, reference = map(np.median, (off[native], off[loop]))
    assert mine <= max(2 * reference, 1e-7)


def threaded(count):
    """The engine with so many threads, backward too; what PyTorch computes around it has one."""

    def unroll(*given):
        torch.set_num_threads(count)
        result = native.unroll(*given)
        torch.set_num_threads(1)
        return result

    return unroll


@pytest.mark.parametrize("name", ["lstm_vanilla", "gru", "fgr"])
def test_threads_and_companions_change_nothing(name, one_thread):
    made = PLANS[name]
    given, weights = problem(made, 3, 7, 67, 37)
    results = [
        quantities(made, threaded(count), given, weights, torch.float32) for count in (1, 2, 5)
    ]
    alone = quantities(
        made,
        native.unroll,
        {n: t[1:2] for n, t in given.items()},
        [w[1:2] for w in weights],
        torch.float32,
    )
    for quantity, value in results[0].items():
        assert all(torch.equal(value, other[quantity]) for other in results[1:]), quantity
        assert torch.equal(value[1:2], alone[quantity]), quantity


@pytest.mark.parametrize("name", ["lstm", "gru", "gru_reset_after", "minlstm"])
def test_symbols_are_rows_of_the_weights(name, one_thread):
    made = PLANS[name]
    given, weights = problem(made, 2, 7, 67, 21, inputs=5)
    given["x"] = torch.randint(
        0, 5, given["x"].shape[:3], generator=torch.Generator().manual_seed(1)
    )
    one_hot = given | {"x": torch.nn.functional.one_hot(given["x"], 5).double()}
    found, expected = (
        quantities(made, native.unroll, given, weights),
        quantities(made, loop.unroll, one_hot, weights),
    )
    assert error(found, {n: t for n, t in expected.items() if n != "gradient of x"}) < 1e-11
    one, two = (
        quantities(made, threaded(count), given, weights, torch.float32) for count in (1, 2)
    )
    assert all(torch.equal(one[n], two[n]) for n in one)
    with pytest.raises(IndexError, match="from 0 to 4, got 0 to 5"):
        quantities(made, native.unroll, given | {"x": given["x"] + (given["x"] == 4)}, weights)


@pytest.mark.parametrize("symbols", [False, True])
@pytest.mark.parametrize("name", ["lstm", "gru", "fgr"])
def test_threads_and_companions_change_nothing_in_several_layers(name, symbols, one_thread):
    made, K, T, B, H = PLANS[name], 3, 6, 35, 21
    layers = [problem(made, K, T, B, H, seed, inputs) for seed, inputs in enumerate((4, H))]
    if symbols:
        layers[0][0]["x"] = torch.randint(
            0, 4, (K, T, B), generator=torch.Generator().manual_seed(1)
        )

    def gradients(count, runs):
        given = [
            {n: t[runs].float() if t.is_floating_point() else t[runs] for n, t in given.items()}
            for given, _ in layers
        ]
        sloped = [
            t.requires_grad_()
            for g in given
            for n, t in g.items()
            if t.is_floating_point() and (g is given[0] or n != "x")
        ]
        x, slope = given[0]["x"], layers[1][1][0][runs].float()
        for g in given:
            params = {n: t for n, t in g.items() if n[0] in "WRpb"}
            x, _ = threaded(count)(made, params, x, tuple(g[f"state {s}"] for s in made.state))
        return x, *torch.autograd.grad(x, sloped, slope)

    together = gradients(1, slice(0, K))
    for count in (2, 5):
        assert all(
            torch.equal(a, b) for a, b in zip(together, gradients(count, slice(0, K)), strict=True)
        )
    for k in range(K):
        assert all(
            torch.equal(a[k : k + 1], b)
            for a, b in zip(together, gradients(2, slice(k, k + 1)), strict=True)
        )


def test_wide_layers_are_computed_jointly_and_alike(one_thread):
    made = PLANS["lstm"]
    given, weights = problem(made, 1, 3, 35, 300)
    expected = quantities(made, loop.unroll, given, weights)
    one, two = (quantities(made, threaded(count), given, weights) for count in (1, 2))
    assert error(one, expected) < 1e-11
    assert all(torch.equal(one[n], two[n]) for n in one)


@pytest.mark.parametrize("name", ["lstm", "slstm", "relu", "minlstm"])
def test_not_a_number_is_passed_on(name):
    made = PLANS[name]
    for what in ("x", "b", "R0", f"state {made.state[0]}"):
        given, weights = problem(made, 1, 4, 3, 20)
        if what not in given:
            continue
        given[what].view(-1)[0] = float("nan")
        found = quantities(made, native.unroll, given, weights, torch.float32)
        expected = quantities(made, loop.unroll, given, weights, torch.float32)
        for quantity in expected:
            assert torch.equal(found[quantity].isnan(), expected[quantity].isnan()), (
                what,
                quantity,
            )


def test_large_numbers_end_as_in_the_loop():
    made = PLANS["slstm"]
    given, weights = problem(made, 1, 3, 2, 20)
    given["x"] *= 300
    found, expected = (
        quantities(made, unroll, given, weights, torch.float32)["outputs"]
        for unroll in (native.unroll, loop.unroll)
    )
    assert found.isfinite().all() and torch.allclose(found, expected, atol=1e-4)


def test_evaluation_without_gradients_gives_the_same():
    made = PLANS["lstm_peephole_full"]
    given, weights = problem(made, 2, 9, 5, 21)
    learning = quantities(made, native.unroll, given, weights)["outputs"]
    with torch.no_grad():
        params = {n: t for n, t in given.items() if n[0] in "WRpb"}
        outputs, _ = native.unroll(
            made, params, given["x"], tuple(given[f"state {s}"] for s in made.state)
        )
    assert torch.equal(outputs, learning)


USERS = """from torch import cos, exp, log, maximum, minimum, relu, sigmoid, sin, sqrt, tanh, where
from torch.nn.functional import logsigmoid, softplus

def every_operation(W, R, p, b, x, lane, new, c):
    row = softplus(W.row @ x + R.row @ lane) / (2 + relu(R.count @ new + p.store * c + b.k))
    units = -maximum(row, c) - minimum(W.unused @ x + R.vec @ sigmoid(c), lane * 0.3)
    call = exp(-softplus(units)) * logsigmoid(c + new) + R.wx @ tanh(row)
    twice = R.twice @ (call * c)
    return twice + tanh(call) * 0.5, tanh(twice) * new, lane

def of_parameters(W, R, p, b, x, y, c):
    e, f, k = p.e, p.f, b.k
    first = where(e > 0, exp(-softplus(e)), f.clamp(-0.5, 0.5)) * sigmoid(k)
    width = abs(f) ** 1.5 + maximum(k, e) + relu(e) + softplus(k, beta=2)
    turn = sin(e) * cos(k) / sqrt(width * width + 1) + log(first * first + 2)
    last = turn - logsigmoid(f) + minimum(e, k) + tanh(width)
    return tanh(turn * c + first * (W.c @ x) + R.c @ y), last * c + sigmoid(y - width) * e

def plain(W, R, x, h):
    return tanh(W.h @ x + R.a @ h + R.b @ h)

def optional(W, R, x, h):
    return softplus(W.h @ x + R.h @ h, beta=2) - softplus(W.g @ x, 0.5) + softplus(5 * h, 1, 0.3)
"""


@pytest.fixture
def users(tmp_path):
    (tmp_path / "mine.py").write_text(USERS, "utf-8")
    return lambda name: plan(resolve(f"{tmp_path / 'mine.py'}:{name}", "cell.step"))


@pytest.mark.parametrize("name", ["every_operation", "of_parameters", "plain", "optional"])
def test_a_cell_of_ones_own(name, users):
    made = users(name)
    given, weights = problem(made, 2, 5, 9, 18)
    assert (
        error(
            quantities(made, native.unroll, given, weights),
            quantities(made, loop.unroll, given, weights),
        )
        < 1e-11
    )


def test_what_depends_on_parameters_alone_is_computed_once(users):
    """Before all steps, in double precision: four values of it are read in a step, and no function
    of it is left there.
    """
    steps = emit.steps(staged(users("of_parameters"))).split("// ---- forward")[1]
    assert len(set(re.findall(r"work\.fixed \+ (\d)", steps))) == 4
    assert not re.search(r"v_softplus|v_exp|sin|cos|log|sqrt|pow", steps)


def test_invented_cells(tmp_path):
    known = runpy.run_path(str(ROOT / "tests" / "test_equations.py"))
    invented, imports = known["invented"], known["IMPORTS"]
    names = [f"cell{k}" for k in range(8)]
    cells = "\n\n".join(invented(random.Random(name), name) for name in names)
    (tmp_path / "invented.py").write_text(f"{imports}\n\n{cells}", "utf-8")
    for name in names:
        made = plan(resolve(f"{tmp_path / 'invented.py'}:{name}", "cell.step"))
        given, weights = problem(made, 2, 2, 5, 7)
        assert (
            error(
                quantities(made, native.unroll, given, weights),
                quantities(made, loop.unroll, given, weights),
            )
            < 1e-10
        ), name


def test_what_it_cannot_compute_is_told(users, settings_for, pack_of, monkeypatch):
    assert "cuda" in native.why_not(PLANS["gru"], torch.float32, "cuda")
    assert "float16" in native.why_not(PLANS["gru"], torch.float16, "cpu")
    monkeypatch.setattr(native, "_kernels", {})
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert pack_of(settings_for("debug=tiny", "cell=gru", "engine=loop")).engine == "loop"
    pack = pack_of(settings_for("debug=tiny", "cell=gru"))
    assert (
        pack.engine.startswith("loop (")
        and "no-such-compiler" in pack.engine
        and pack.unroll is loop.unroll
    )
    with pytest.raises(UserError, match=r"engine=native: .*no-such-compiler"):
        pack_of(settings_for("debug=tiny", "cell=gru", "engine=native"))


def test_a_compiler_that_fails_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    monkeypatch.setattr(native, "_kernels", {})
    assert "false fails" in native.why_not(PLANS["gru"], torch.float32, "cpu")
    assert not list((tmp_path / "rnnbench" / "native").iterdir())


@pytest.mark.parametrize("level", LEVELS)
def test_every_kind_of_vector(level, monkeypatch, tmp_path):
    made = PLANS["lstm"]
    text = emit.source(staged(made))
    flags = tuple(f if not f.startswith("-march") else f"-march={level}" for f in build.FLAGS)
    flags_here = (
        Path("/proc/cpuinfo").read_text("utf-8").split() if Path("/proc/cpuinfo").exists() else []
    )
    if not set(LEVELS[level]) <= set(flags_here):  # nor so much as load it
        (tmp_path / "cell.cpp").write_text(text, "utf-8")
        files = tmp_path / "cell.cpp", "-o", tmp_path / "cell.so"
        subprocess.run([build.compiler(), *flags, *build.LINKED, *files], check=True)
        pytest.skip(f"compiles; this CPU cannot run {level}")
    library = build.library(text, flags)
    given, weights = problem(made, 2, 5, 23, 37)
    expected = quantities(made, loop.unroll, given, weights)
    monkeypatch.setattr(native.kernel(made, torch.float32), "library", library)
    assert error(quantities(made, native.unroll, given, weights, torch.float32), expected) < 3e-6


COMPILING = """
import sys
from rnnbench.engine.native import build, emit
from rnnbench.equations.stages import staged
from rnnbench.equations.plan import plan
from rnnbench.cells.rnn import tanh
build.library(emit.source(staged(plan(tanh))))
print(*[p.name for p in build.cache_folder().iterdir() if p.suffix == ".so"])
"""


def test_processes_share_the_cache(tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILING],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    names = {process.communicate(timeout=60)[0].split()[0] for process in started}
    assert all(process.returncode == 0 for process in started) and len(names) == 1
    # nothing half-made is left
    assert [p.name for p in (tmp_path / "rnnbench" / "native").iterdir()] == [*names]


def test_memory_does_not_grow():
    made = PLANS["lstm"]
    given, weights = problem(made, 1, 100, 32, 64)
    resident = []
    for _ in range(12):
        quantities(made, native.unroll, given, weights, torch.float32)
        resident.append(int(Path("/proc/self/statm").read_text("utf-8").split()[1]))
    assert resident[-1] <= resident[5] + 300  # pages


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_training_follows_the_loop(cell, settings_for, pack_of):
    from rnnbench.training.loop import Training

    losses = []
    for engine in ("loop", "native"):
        pack = pack_of(
            settings_for(
                f"cell={cell}",
                "task=adding",
                "task.length=40",
                "model.hidden=32",
                "train.batch=20",
                f"engine={engine}",
            )
        )
        assert pack.engine == engine
        training = Training(pack)
        losses.append(torch.stack([training.update() for _ in range(50)]))
    assert torch.allclose(*losses, rtol=1e-3)


def test_source_names_blocks_and_states():
    text = native.source(PLANS["gru"])
    assert all(
        word in text
        for word in ("// stage 1 of 2: z, r", "R.n @ ", "const vec r = v_sigmoid(", "h_old")
    )


@pytest.mark.parametrize("name", ["gru", "lstm"])
@pytest.mark.parametrize(("T", "B"), [(1, 1), (1, 4), (2, 4), (5, 8), (1, 64)])
def test_symbols_need_no_more_memory_than_is_measured(name, T, B):
    """Sizes are measured without the inputs, numbers or symbols, that a call then has."""
    made = native.kernel(PLANS[name], torch.float32)
    symbols = torch.zeros(1, T, B, dtype=torch.int64)
    for H in (8, 16, 64):
        sizes = (1, T, B, 2, H, 1, T, 0)
        needed = (ctypes.c_int64 * 4)()
        made.library.measure(fields(made.words(sizes, symbols)), needed)
        assert all(n <= m for n, m in zip(needed, made.measure(sizes), strict=True))
