"""How parameters start: every rule has the distribution it is named for, and memory starts where
the options say.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy import stats

from rnnbench.catalogue import cells, read, resolve
from rnnbench.draw import Draw
from rnnbench.engine import loop
from rnnbench.engine.init import RULES, initial
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.settings import Cell, typed

CELLS = cells()

# cell → the bias that keeps the memory, with its sign, from the equations on paper
# (reference/cells.md, sections 1, 2, 5, 6, 7)
KEEPS = {
    **dict.fromkeys(("lstm", "lstm_b", "lstm_i", "lstm_o", "lstm_peephole_full", "coupled"), "+f"),
    **dict.fromkeys(("lstm_vanilla", "nig", "nog", "niaf", "noaf", "np", "cifg", "fgr"), "+f"),
    **dict.fromkeys(("janet", "minlstm", "slstm"), "+f"),
    **dict.fromkeys(("gru", "gru_reset_after"), "+z"),
    **dict.fromkeys(("mut1", "mut2", "mut3", "mingru"), "-z"),
    **{"mgu": "-f", "ugrnn": "+g", "ligru": "+z", "sru": "+f", "fastgrnn": "+z", "star": "-k"},
    **{"lstm_ln": "+f", "gru_ln": "+z"},
}
FORGETS_NOTHING = {"tanh", "relu", "irnn", "indrnn", "nfg", "lstm_f"} | {
    # no one bias holds, or none as chrono has it
    *("lem", "cornn", "unicornn", "lru", "rglru", "s4d"),
}
FORGETS_NOTHING |= {"linattn", "deltanet", "mlstm", "stackrnn", "ntm"}  # no bias a unit holds
FORGETS_NOTHING |= {"nascell", "darts_v1", "darts_v2", "enas"}  # no biases
# a gate of its own: i
WRITES = (
    "lstm",
    "lstm_b",
    "lstm_o",
    "lstm_peephole_full",
    "lstm_vanilla",
    "nog",
    "niaf",
    "noaf",
    "np",
    "fgr",
    "minlstm",
)

GREFF = {"W": ("norm", 0.1), "R": ("norm", 0.1), "p": ("norm", 0.1)}
SCALED = {"W": ("norm", 1 / 60**0.5), "R": ("norm", 1 / 60**0.5)}
PAPERS = {
    **dict.fromkeys(
        ("lstm_vanilla", "nig", "nfg", "nog", "niaf", "noaf", "np", "cifg", "fgr"), GREFF
    ),
    **dict.fromkeys(
        ("tanh", "gru", "lstm", "lstm_b", "lstm_i", "lstm_f", "lstm_o", "mut1", "mut2", "mut3"),
        SCALED,
    ),
}

every_cell = pytest.mark.parametrize("name", CELLS)
every_keeper = pytest.mark.parametrize("name", KEEPS)


@cache
def planned(name):
    return plan(resolve(cell(name).step, "cell.step"), cell(name).constants).at(10)


def cell(name, **changes):
    return replace(typed(Cell, read("cell", name) | {"name": name}, "cell"), **changes)


def tensors(name, seed=0, layer=0, inputs=40, hidden=60, horizon=None, **changes):
    return initial(planned(name), cell(name, **changes), Draw(seed), layer, inputs, hidden, horizon)


def blocks(name, hidden=60, **rest):
    """('R', 'z') → its values, cut out of the tensors of a layer by name."""
    made, found = planned(name), {}
    owners = {
        "W": ("W", made.blocks["W"]),
        "p": ("p", made.blocks["p"]),
        "b": ("b", made.blocks["b"]),
    }
    owners |= {f"R{g}": ("R", names) for g, (_, names) in enumerate(made.groups)}
    for key, tensor in tensors(name, hidden=hidden, **rest).items():
        if key == "start":
            continue
        family, names = owners[key]
        ends = np.cumsum(made.columns(family, names, hidden))
        assert tensor.shape[-1] == ends[-1]
        parts = np.split(tensor, ends[:-1], -1)
        found |= {(family, block): part for block, part in zip(names, parts, strict=True)}
    return found


def follows(values, law, *parameters):
    """The values are a sample of the law: Kolmogorov-Smirnov, at a level that a right generator
    fails once in a thousand seeds.
    """
    return stats.kstest(np.ravel(values), law, parameters).pvalue > 1e-3


def drawn(rule, rows, columns, number, seed=0):
    return RULES[rule][0](np.random.default_rng(seed), rows, columns, number)


# The rules, one by one


@pytest.mark.parametrize(
    ("rule", "number", "law", "parameters", "std"),
    [
        ("normal", 0.3, "norm", (0, 0.3), 0.3),
        ("scaled", 1.4, "norm", (0, 1.4 / 20), 0.07),  # s / √n, n = 400 columns
        ("scaled_uniform", 1.4, "uniform", (-1.4 / 20, 2.8 / 20), 1.4 / 20 / 3**0.5),
        ("uniform", 0.5, "uniform", (-0.5, 1.0), 0.5 / 3**0.5),
        ("horizon", 10, "uniform", (0, 2**0.1), 2**0.1 / 12**0.5),
        # √(6 / 500)
        ("glorot", 0, "uniform", (-0.1095445115010332, 0.2190890230020664), (2 / 500) ** 0.5),
    ],
)
def test_rule_has_its_distribution(rule, number, law, parameters, std):
    values = drawn(rule, 100, 400, number)
    assert values.shape == (100, 400)
    assert follows(values, law, *parameters)
    # 40,000 draws: the standard error is below 0.5 %
    assert values.std() == pytest.approx(std, rel=0.02)
    assert not follows(values * 1.05, law, *parameters)  # the test sees a scale that is 5 % off


def test_every_rule_is_tested_here():
    for_decays = {"between", "log_between", "phase", "ring", "softring", "modes"}  # of cells below
    assert set(RULES) - for_decays == {
        "normal",
        "scaled",
        "scaled_uniform",
        "uniform",
        "horizon",
        "glorot",
        "constant",
        "identity",
        "orthogonal",
        "spread",
    }


def test_constants_and_identities_are_exact():
    assert np.array_equal(drawn("constant", 2, 3, -1.5), [[-1.5] * 3] * 2)
    assert np.array_equal(drawn("identity", 3, 3, 0.01), [[0.01, 0, 0], [0, 0.01, 0], [0, 0, 0.01]])
    spread = RULES["spread"][0](np.random.default_rng(0), 1, 4, 3.0, 6.0)
    assert np.array_equal(spread, [[3, 4, 5, 6]])
    assert RULES["identity"][1] == (1,) and RULES["constant"][1] == (0,)


@pytest.mark.parametrize(("rows", "columns"), [(50, 50), (80, 30), (30, 80)])
def test_orthogonal_is_orthogonal(rows, columns):
    q = drawn("orthogonal", rows, columns, 1.5)
    product = q @ q.T if rows <= columns else q.T @ q
    assert np.abs(product - 1.5**2 * np.eye(min(rows, columns))).max() < 1e-12


def test_orthogonal_is_uniform_over_the_group():
    rng = np.random.default_rng(0)
    draws = np.stack([RULES["orthogonal"][0](rng, 3, 3, 1) for _ in range(3000)])
    for row in range(3):
        for column in range(3):
            # Archimedes: a coordinate of a random direction in space
            assert follows(draws[:, row, column], "uniform", -1, 2)
    reflections = int((np.linalg.det(draws) < 0).sum())
    assert stats.binomtest(reflections, 3000).pvalue > 1e-3
    turns = np.stack([RULES["orthogonal"][0](rng, 2, 2, 1) for _ in range(3000)])
    turns = turns[np.linalg.det(turns) > 0]
    assert follows(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]), "uniform", -np.pi, 2 * np.pi)


# The schemes, on a cell


@pytest.mark.parametrize("name", ["gru", "lstm", "fgr", "mingru"])
def test_schemes(name):
    """A scheme is about matrices; diagonals start as the paper has them, biases at 0."""
    laws = {
        "glorot": {"W": (6 / 100) ** 0.5, "R": (6 / 120) ** 0.5},
        "orthogonal": {"W": (6 / 100) ** 0.5, "R": "orthogonal"},
        "chrono:50": {"W": (6 / 100) ** 0.5, "R": "orthogonal"},
        "identity:0.5": {"W": "normal 0.001", "R": "identity 0.5"},
        "identity": {"W": "normal 0.001", "R": "identity 1"},
        "scaled_uniform:0.7": {"W": 0.7 / 60**0.5, "R": 0.7 / 60**0.5},
        "scaled:0.7": {"W": f"normal {0.7 / 60**0.5}", "R": f"normal {0.7 / 60**0.5}"},
        "scaled": {"W": f"normal {1 / 60**0.5}", "R": f"normal {1 / 60**0.5}"},
    }
    for scheme, rules in laws.items():
        for (family, _), values in blocks(name, init=scheme, horizon=50).items():
            rule = "normal 0.1" if family == "p" else rules.get(family, 0.0)
            if rule == "orthogonal":
                assert np.abs(values @ values.T - np.eye(60)).max() < 1e-12
            elif isinstance(rule, str):
                word, number = rule.split()
                assert (
                    follows(values, "norm", 0, float(number))
                    if word == "normal"
                    else np.array_equal(values, float(number) * np.eye(60))
                )
            elif rule:
                assert follows(values, "uniform", -rule, 2 * rule)
            else:
                assert scheme.startswith("chrono") or not values.any()  # biases start at 0


@pytest.mark.parametrize("name", PAPERS)
def test_init_as_in_the_paper(name):
    for (family, block), values in blocks(name, init="paper", forget_bias=None).items():
        if family == "b":
            assert not values.any(), f"b.{block} does not start at 0"
        else:
            law, std = PAPERS[name][family]
            assert follows(values, law, 0, std), f"{family}.{block} of {name}"


def test_irnn_is_the_identity_with_small_inputs():
    found = blocks("irnn")  # as configured
    assert np.array_equal(found["R", "h"], np.eye(60)) and not found["b", "h"].any()
    assert follows(found["W", "h"], "norm", 0, 0.001)
    assert np.array_equal(blocks("irnn", init="identity:0.01")["R", "h"], 0.01 * np.eye(60))


def test_indrnn_starts_within_its_horizon():
    values = np.concatenate(
        [blocks("indrnn", seed=seed, horizon=20)["p", "h"] for seed in range(30)]
    )
    assert follows(values, "uniform", 0, 2 ** (1 / 20))
    with pytest.raises(UserError, match=r"longest lag.*'cell.paper.p=horizon 100'"):
        blocks("indrnn", horizon=None)
    remedied = typed(
        Cell,
        read("cell", "indrnn")
        | {"name": "indrnn", "paper": cell("indrnn").paper | {"p": "horizon 100"}},
        "cell",
    )
    assert "p" in initial(planned("indrnn"), remedied, Draw(0), 0, 2, 5, None)


SEARCHED = ("darts_v1", "darts_v2", "enas")


@pytest.mark.parametrize("name", SEARCHED)
def test_searched_cells_start_uniformly(name):
    for (family, _), values in blocks(name, init="paper").items():
        assert family in "WR"
        assert 0.039 < np.abs(values).max() <= 0.04
        assert np.abs(values).mean() == pytest.approx(0.02, rel=0.1)


def test_all_papers_are_tested_here():
    others = {"irnn", "indrnn", "unicornn", "fastgrnn", "lru", "rglru", "s4d", *SEARCHED}
    others |= {"linattn", "deltanet", "mlstm", "lstm_ln", "gru_ln", "stackrnn", "ntm"}
    assert {name for name in CELLS if cell(name).paper} == PAPERS.keys() | others


def test_decays_start_on_the_ring_of_their_paper():
    """|λ|² uniform in [0.9², 0.999²], whatever λ is written as."""
    lru, griffin = blocks("lru"), blocks("rglru")
    radii = {
        "lru": np.exp(-np.exp(lru["p", "nu"])),
        "rglru": np.exp(-np.log1p(np.exp(griffin["p", "a"]))),
    }
    for name, radius in radii.items():
        assert follows(radius**2, "uniform", 0.9**2, 0.999**2 - 0.9**2), name
    assert follows(np.exp(lru["p", "t"]), "uniform", 0, 6.28)
    assert not lru["p", "g"].any()


def test_modes_and_steps_of_s4d_lin():
    found = blocks("s4d")
    assert np.allclose(found["p", "w"].ravel()[:34] / np.pi, [*range(32), 0, 1], atol=1e-5)
    assert np.allclose(np.exp(found["p", "a"]), 0.5, atol=1e-6)
    assert follows(np.log10(np.exp(found["p", "dt"])), "uniform", -3, 2)


def test_scales_that_are_learnt_start_as_in_the_papers():
    fast, waves = blocks("fastgrnn"), blocks("unicornn")
    assert (fast["p", "z"] == 1).all() and (fast["p", "n"] == -4).all()
    assert follows(waves["p", "y"], "uniform", 0, 1)
    assert follows(waves["p", "s"], "uniform", -0.1, 0.2)


def test_a_rule_has_its_numbers():
    short = replace(cell("lru"), paper=cell("lru").paper | {"p.nu": "ring 0.9"})
    with pytest.raises(UserError, match=r"rule 'ring 0.9' .* as in 'ring 0.9 0.999'"):
        initial(planned("lru"), short, Draw(0), 0, 2, 5, None)


@pytest.mark.parametrize(
    ("name", "init", "words"),
    [
        ("mgu", "paper", "states no initialisation of its own"),
        ("gru", "orthogonl", "did you mean 'orthogonal'"),
        ("gru", "scaled:-1", "positive number"),
        ("gru", "chrono:x", "positive number"),
        ("gru", "chrono:2", "above 2 steps, got 2"),
        ("gru", "orthogonal:2", "takes no number"),
        ("lstm", "paper:1", "takes no number"),
        ("gru", "glorot:1", "takes no number"),
        ("gru", "chrono", "write cell.init=chrono:100"),
    ],
)
def test_impossible_schemes_are_refused(name, init, words):
    with pytest.raises(UserError) as error:
        blocks(name, init=init)
    assert words in str(error.value) and init.partition(":")[0] in str(error.value)


# What keeps the memory


def test_the_tables_cover_every_cell():
    assert KEEPS.keys() | FORGETS_NOTHING == set(CELLS) and not KEEPS.keys() & FORGETS_NOTHING


@every_keeper
def test_forget_bias_goes_where_it_belongs_and_nowhere_else(name):
    plain, raised = blocks(name, forget_bias=None), blocks(name, forget_bias=1.5)
    sign, gate = {"+": 1.5, "-": -1.5}[KEEPS[name][0]], KEEPS[name][1:]
    assert plain.keys() == raised.keys()
    for (family, block), values in raised.items():
        if (family, block) == ("b", gate):
            assert np.array_equal(values, np.full(60, sign))
            assert not plain["b", gate].any()
        else:
            assert np.array_equal(values, plain[family, block]), f"{family}.{block} changed"


@pytest.mark.parametrize("sign", [1, -1])
@every_keeper
def test_forget_bias_remembers_and_its_opposite_forgets(name, sign):
    """One step of the engine with everything 0 except what forget_bias changed: the memory stays,
    or is gone.
    """
    made = planned(name)
    plain, raised = (
        tensors(name, forget_bias=None, hidden=5),
        tensors(name, forget_bias=sign * 60.0, hidden=5),
    )
    params = {key: torch.from_numpy(raised[key] - plain[key])[None] for key in plain}
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(1, 1, 4, 40)))
    old = {state: torch.zeros(1, 4, 5, dtype=torch.float64) for state in made.state}
    memory = "c" if "c" in made.state else made.state[0]
    old[memory] = torch.from_numpy(rng.uniform(0.2, 0.9, (1, 4, 5)))
    if name == "slstm":
        old["n"] = torch.ones(1, 4, 5, dtype=torch.float64)  # at 0 it holds nothing to be kept
    _, after = loop.unroll(made, params, x, tuple(old.values()))
    new = dict(zip(made.state, after, strict=True))[memory]
    # its input gate, at ½, is weighed against the forget gate: f / (f + i)
    kept = 2 / 3 if name == "minlstm" else 1
    expected = old[memory] * (kept if sign > 0 else 0)
    expected = expected.tanh() if name == "star" else expected  # which bends what it keeps
    torch.testing.assert_close(new, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", sorted(FORGETS_NOTHING))
def test_without_a_gate_that_forgets_the_options_are_refused(name):
    with pytest.raises(UserError, match=rf"cell\.forget_bias=1.*no effect.*'{name}'"):
        blocks(name, forget_bias=1.0, horizon=10)
    with pytest.raises(UserError, match=rf"cell\.init=chrono.*no effect.*'{name}'"):
        blocks(name, init="chrono", horizon=10)


def test_a_bias_that_does_not_exist_is_refused():
    with pytest.raises(
        UserError, match=r"unknown bias in cell.forget or cell.write of cell 'gru': '\+f'"
    ):
        blocks("gru", forget="+f", forget_bias=1.0)
    with pytest.raises(
        UserError, match=r"unknown bias in cell.forget or cell.write of cell 'lstm': 'j'"
    ):
        blocks("lstm", write="j", init="chrono:10")


def test_lstm_b_is_lstm_with_forget_bias_1():
    ours, theirs = blocks("lstm_b"), blocks("lstm", forget_bias=1.0)
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    assert np.array_equal(ours["b", "f"], np.ones(60))


@every_keeper
def test_chrono_draws_time_scales_up_to_the_horizon(name):
    """Tallec & Ollivier (2018): b_f ~ log U[1, T - 1], b_i = -b_f, all other biases 0."""
    seeds = [
        blocks(name, seed=seed, hidden=50, init="chrono", forget_bias=None, horizon=100)
        for seed in range(20)
    ]
    sign, gate = {"+": 1, "-": -1}[KEEPS[name][0]], KEEPS[name][1:]
    scales = np.exp(sign * np.concatenate([found["b", gate] for found in seeds]))
    assert scales.min() >= 1 and scales.max() <= 99
    assert follows(scales, "uniform", 1, 98)
    for found in seeds[:2]:
        for (family, block), values in found.items():
            if family == "b" and block != gate:
                wanted = -found["b", gate] if name in WRITES and block == "i" else np.zeros(50)
                assert np.array_equal(values, wanted), f"b.{block}"


def test_chrono_and_forget_bias_together_are_refused():
    with pytest.raises(UserError, match=r"cell\.init=chrono and cell\.forget_bias=1 .*keep one"):
        blocks("lstm", init="chrono", forget_bias=1.0, horizon=50)


@pytest.mark.parametrize(
    ("overrides", "longest"),
    [
        (["task=copy", "task.length=20"], 30),  # 3T/2
        (["task=copy", "task.length=20", "task.variable=true"], 20),
        (["task=adding", "task.length=50"], 50),
        (["task=adding", "cell.init=chrono:784"], 784),
    ],
)
def test_chrono_takes_its_horizon_from_the_task(overrides, longest, settings_for, pack_of):
    runs = settings_for("cell=lstm", "cell.init=chrono", "model.hidden=40", *overrides)
    pack = pack_of(*(replace(runs, seed=seed) for seed in range(20)))
    names = pack.plan.blocks["b"]
    biases = dict(
        zip(names, pack.network.params["0.b"].detach().double().chunk(len(names), -1), strict=True)
    )
    assert follows(biases["f"].exp().numpy(), "uniform", 1, longest - 2)
    assert biases["f"].max() <= np.log(longest - 1) + 1e-6
    assert torch.equal(biases["i"], -biases["f"])


# Blocks and streams


@pytest.mark.parametrize(
    ("name", "matrices", "diagonals"),
    [
        ("lstm_vanilla", "zifo", "ifo"),
        ("nig", "zfo", "fo"),
        ("nfg", "zio", "io"),
        ("nog", "zif", "if"),
        ("np", "zifo", ""),
        ("cifg", "zfo", "fo"),
        ("coupled", "zfo", ""),
        ("lstm_i", "zfo", ""),
        ("lstm_f", "zio", ""),
        ("lstm_o", "zif", ""),
        ("janet", "fn", ""),
    ],
)
def test_removed_gates_have_no_parameters(name, matrices, diagonals):
    found = blocks(name)
    expected = {(family, letter) for family in "WRb" for letter in matrices} | {
        ("p", letter) for letter in diagonals
    }
    assert found.keys() == expected


@every_cell
def test_blocks_have_streams_of_their_own(name):
    """No two blocks, layers or seeds start alike; asking again gives the same."""
    changes = {"init": "glorot", "forget_bias": None, "horizon": 10}
    first, again = blocks(name, **changes), blocks(name, **changes)
    assert all(np.array_equal(first[key], again[key]) for key in first)
    matrices = [values for (family, _), values in first.items() if family in "WR"]
    for other in (blocks(name, layer=1, **changes), blocks(name, seed=1, **changes)):
        matrices += [values for (family, _), values in other.items() if family in "WR"]
    starts = [round(float(values[0, 0]), 9) for values in matrices]
    assert len(set(starts)) == len(starts)


@every_cell
def test_cells_share_the_start_of_the_blocks_that_they_share(name):
    changes = {"init": "orthogonal", "forget_bias": None, "horizon": 10}
    reference = blocks("fgr", **changes) | blocks("gru", **changes)
    ours = blocks(name, **changes)
    apart = {("p", "f")} if name == "sru" else set()  # Greff's are drawn, SRU's start at 0
    shared = {k for k in ours.keys() & reference.keys() if ours[k].shape == reference[k].shape}
    for key in shared - apart:
        assert np.array_equal(ours[key], reference[key]), f"{'.'.join(key)} of {name}"


def test_packed_starts_as_alone(settings_for, pack_of):
    shared = (
        "task=copy",
        "task.length=20",
        "model.hidden=12",
        "model.layers=2",
        "model.dtype=float64",
        "optim.clip_norm=null",
    )
    runs = [
        settings_for("cell=lstm", "seed=0", *shared),
        settings_for("cell=lstm", "seed=1", "cell.init=scaled:0.7", *shared),
        settings_for("cell=lstm_b", "seed=0", *shared),
        settings_for("cell=lstm", "seed=7", "cell.init=chrono", *shared),
    ]
    packed = pack_of(*runs).network
    for k, run in enumerate(runs):
        alone = pack_of(run).network
        assert torch.equal(alone.flat[0], packed.flat[k])
        expected = initial(planned("lstm"), run.cell, Draw(run.seed), 1, 12, 12, 30)
        assert all(
            np.array_equal(packed.params[f"1.{key}"][k].detach().numpy(), values)
            for key, values in expected.items()
        )
    assert not torch.equal(packed.flat[0], packed.flat[1])
    assert not packed.params["readout.b"].any()
    assert packed.params["readout.W"].abs().max() <= (6 / (12 + 9)) ** 0.5
