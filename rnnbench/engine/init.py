"""How parameters start. Rules by name, drawn block by block from streams of their own.

Each block of each replica is a function of (seed, layer, block) alone: cells that share a block
name and its shape start it alike, and a replica does not depend on its pack.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rnnbench.draw import Draw
from rnnbench.equations.plan import Plan
from rnnbench.errors import UserError, unknown

if TYPE_CHECKING:  # a layer in a program of somebody else needs no configuration
    from rnnbench.settings import Cell

Array = np.ndarray


def glorot(rng: np.random.Generator, rows: int, columns: int, _: float) -> Array:
    """Uniform with variance 2 / (rows + columns). Glorot & Bengio (2010), eq. 16."""
    limit = (6 / (rows + columns)) ** 0.5
    return rng.uniform(-limit, limit, (rows, columns))


def orthogonal(rng: np.random.Generator, rows: int, columns: int, gain: float) -> Array:
    """A random orthogonal matrix, uniformly distributed, times `gain`.

    Saxe, McClelland & Ganguli (2014).
    """
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # without this the distribution is that of LAPACK's conventions
    return gain * (q if rows >= columns else q.T)


def ring(rng: np.random.Generator, rows: int, columns: int, least: float, most: float) -> Array:
    """ν of a decay exp(−exp(ν)), uniform on the ring of radii from least to most of the complex
    plane. Orvieto et al. (2023).
    """
    found: Array = np.log(-np.log(_radius(rng, rows, columns, least, most)))
    return found


def softring(rng: np.random.Generator, rows: int, columns: int, least: float, most: float) -> Array:
    """Λ of a decay exp(−softplus(Λ)), with the radii of `ring`. De et al. (2024)."""
    return np.log(1 / _radius(rng, rows, columns, least, most) - 1)


def _radius(rng: np.random.Generator, rows: int, columns: int, least: float, most: float) -> Array:
    return np.sqrt(rng.uniform(least**2, most**2, (rows, columns)))


def modes(rng: np.random.Generator, rows: int, columns: int, step: float) -> Array:
    """0, step, 2 step … over the units, 32 in turn: S4D-Lin. Gu et al. (2022)."""
    return np.tile(step * (np.arange(columns) % 32), (rows, 1))


# rule → draw(rng, rows, columns, numbers), with the numbers if none are written
RULES: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "constant": (lambda rng, rows, columns, value: np.full((rows, columns), value), (0.0,)),
    "normal": (lambda rng, rows, columns, std: rng.normal(0, std, (rows, columns)), (1.0,)),
    "uniform": (
        lambda rng, rows, columns, limit: rng.uniform(-limit, limit, (rows, columns)),
        (1.0,),
    ),
    "between": (
        lambda rng, rows, columns, least, most: rng.uniform(least, most, (rows, columns)),
        (0.0, 1.0),
    ),
    "log_between": (
        lambda rng, rows, columns, least, most: rng.uniform(
            np.log(least), np.log(most), (rows, columns)
        ),
        (0.001, 0.1),
    ),
    "phase": (
        lambda rng, rows, columns, most: np.log(rng.uniform(0, most, (rows, columns))),
        (6.28,),
    ),
    "ring": (ring, (0.9, 0.999)),
    "softring": (softring, (0.9, 0.999)),
    "modes": (modes, (float(np.pi),)),
    "scaled": (
        lambda rng, rows, columns, scale: rng.normal(0, scale / columns**0.5, (rows, columns)),
        (1.0,),
    ),
    "scaled_uniform": (
        lambda rng, rows, columns, scale: rng.uniform(
            -scale / columns**0.5, scale / columns**0.5, (rows, columns)
        ),
        (1.0,),
    ),
    "spread": (
        lambda rng, rows, columns, least, most: np.tile(
            np.linspace(least, most, columns), (rows, 1)
        ),
        (3.0, 6.0),
    ),
    "identity": (lambda rng, rows, columns, scale: scale * np.eye(rows, columns), (1.0,)),
    "horizon": (
        lambda rng, rows, columns, longest: rng.uniform(0, 2 ** (1 / longest), (rows, columns)),
        (0.0,),
    ),
    "glorot": (glorot, (0.0,)),
    "orthogonal": (orthogonal, (1.0,)),
}

# init=… → rules of W and R; {} stands for the number after the colon (1 if there is none)
SCHEMES = {
    "glorot": ("glorot", "glorot"),
    "orthogonal": ("glorot", "orthogonal"),
    "identity": ("normal 0.001", "identity {}"),
    "scaled": ("scaled {}", "scaled {}"),
    "scaled_uniform": ("scaled_uniform {}", "scaled_uniform {}"),
    "chrono": ("glorot", "orthogonal"),
}


def initial(
    plan: Plan, cell: "Cell", draw: Draw, layer: int, inputs: int, hidden: int, horizon: int | None
) -> dict[str, Array]:
    """The parameters of one layer of one replica, shaped as in `Plan.shapes`.

    Raises UserError if `cell.init` or `cell.forget_bias` cannot act on this cell.
    """
    rules = block_rules(plan, cell)
    operands = {
        name: plan.rows(g, hidden) for g, (_, names) in enumerate(plan.groups) for name in names
    }
    blocks = {}
    for (family, name), rule in rules.items():
        rows = {"W": inputs, "R": operands.get(name, hidden)}.get(family, 1)
        (columns,) = plan.columns(family, [name], hidden)
        blocks[family, name] = _drawn(
            rule, draw(f"init {layer} {family}.{name}"), rows, columns, horizon
        )
    blocks |= _memory(plan, cell, draw, layer, hidden, horizon)
    tensors = {"W": [blocks["W", n] for n in plan.blocks["W"]]}
    tensors |= {
        f"R{g}": [blocks["R", n] for n in names] for g, (_, names) in enumerate(plan.groups)
    }
    tensors |= {
        family: [blocks[family, n][0] for n in plan.blocks[family]]
        for family in "pb"
        if plan.blocks[family]
    }
    made = {name: np.concatenate(parts, -1) for name, parts in tensors.items()}
    if plan.learnt:
        many = plan.shapes(inputs, hidden)["start"][0]
        rule = cell.paper.get("start", "normal 0.1")
        made["start"] = _drawn(rule, draw(f"init {layer} start"), 1, many, horizon)[0]
    return made


def block_rules(plan: Plan, cell: "Cell") -> dict[tuple[str, str], str]:
    """(family, block) → rule, from `cell.init`.

    Diagonals, and biases that the paper starts one by one, start as there, else at 0.
    """
    scheme, number = cell.start.scheme, cell.start.number
    if number and scheme in ("paper", "glorot", "orthogonal"):
        raise UserError(
            f"cell.init={cell.init}: {scheme} takes no number; write cell.init={scheme}"
        )
    for key in cell.paper:
        family, _, name = key.partition(".")
        if key == "start" and plan.learnt:
            continue
        if not plan.blocks.get(family) or (name and name not in plan.blocks[family]):
            raise UserError(f"cell.paper names {key}, which cell '{cell.name}' does not have")
    if scheme == "paper":
        if not cell.paper:
            raise UserError(
                f"cell.init=paper: cell '{cell.name}' states no initialisation of its own; choose "
                f"one of {', '.join(SCHEMES)}"
            )
        families = {"p": "constant 0", "b": "constant 0"} | cell.paper
    elif scheme in SCHEMES:
        W, R = (rule.format(number or 1) for rule in SCHEMES[scheme])
        vectors = {k: rule for k, rule in cell.paper.items() if k[0] == "p" or k[:2] == "b."}
        families = {"W": W, "R": R, "p": "constant 0", "b": "constant 0"} | vectors
    else:
        raise unknown("initialisation", cell.init, ["paper", *SCHEMES])
    found = {}
    for family, names in plan.blocks.items():
        for name in names:
            rule = families.get(f"{family}.{name}", families.get(family))
            if rule is None:
                raise UserError(
                    f"cell.paper gives no rule for {family}.{name} of cell '{cell.name}'"
                )
            found[family, name] = rule
    return found


def _drawn(
    rule: str, rng: np.random.Generator, rows: int, columns: int, horizon: int | None
) -> Array:
    word, *written = rule.split()
    if word not in RULES:
        raise unknown("rule", rule, RULES)
    function, usual = RULES[word]
    if word == "horizon" and not written:
        longest = _needed(horizon, "the initialisation 'horizon'", "'cell.paper.p=horizon 100'")
        written = [str(longest)]
    try:
        numbers = [float(number) for number in written] or usual
    except ValueError:
        numbers = []
    if len(numbers) != len(usual):
        example = " ".join(map("{:g}".format, usual))
        raise UserError(f"rule '{rule}' of cell.paper: expected as in '{word} {example}'")
    return function(rng, rows, columns, *numbers)


def _memory(
    plan: Plan, cell: "Cell", draw: Draw, layer: int, hidden: int, horizon: int | None
) -> dict[tuple[str, str], Array]:
    """What forget_bias or chrono initialisation put into the biases of the gates that hold and
    write memory.
    """
    scheme, longest = cell.start.scheme, cell.start.number
    for gate in (cell.forget, cell.write):
        if gate is not None and gate.lstrip("+-") not in plan.blocks["b"]:
            raise unknown(
                f"bias in cell.forget or cell.write of cell '{cell.name}':", gate, plan.blocks["b"]
            )
    if cell.forget_bias is None and scheme != "chrono":
        return {}
    asked = "cell.init=chrono" if scheme == "chrono" else f"cell.forget_bias={cell.forget_bias:g}"
    if scheme == "chrono" and cell.forget_bias is not None:
        raise UserError(
            f"{asked} and cell.forget_bias={cell.forget_bias:g} both set the same bias; keep one"
        )
    keeper = cell.forget_gate
    if keeper is None:
        own = (
            "; for a cell of your own say which with cell.forget=+f or cell.forget=-z"
            if cell.digest
            else ""
        )
        raise UserError(
            f"{asked} has no effect: no gate of cell '{cell.name}' decides what is kept; remove "
            f"it{own}"
        )
    sign, name = keeper.sign, keeper.bias
    (columns,) = plan.columns("b", [name], hidden)
    if scheme != "chrono":
        return {("b", name): np.full((1, columns), sign * float(cell.forget_bias or 0))}
    most = longest if longest else _needed(horizon, asked, "cell.init=chrono:100")
    if most <= 2:
        raise UserError(f"{asked}: the longest lag must be above 2 steps, got {most:g}")
    # Tallec & Ollivier (2018): b_f ~ log U(1, T_max - 1), b_i = -b_f.
    bias = np.log(draw(f"init {layer} chrono").uniform(1, most - 1, (1, columns)))
    return {("b", name): sign * bias} | ({("b", cell.write): -bias} if cell.write else {})


def _needed(horizon: int | None, asked: str, remedy: str) -> float:
    if horizon is None:
        raise UserError(
            f"{asked} needs the longest lag that matters, and this task names none; write "
            f"{remedy} for 100 steps"
        )
    return float(horizon)
