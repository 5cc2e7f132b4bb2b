"""`rnnbench picture`: what lectures on recurrent networks draw by hand, computed.

powers       ‖W^k‖ against k, for matrices of several spectral radii
cliff        the error surface of one unit over its weight and bias, and descent on it
sensitivity  how much the state at every step depends on the first input
gates        an LSTM whose gates write, hold and read
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import yaml
from matplotlib.figure import Figure
from torch import Tensor, sigmoid

from rnnbench.cells.lstm import lstm
from rnnbench.charts import plots, textbook
from rnnbench.console import say
from rnnbench.errors import UserError, unknown
from rnnbench.nn import Recurrent

Walk = list[tuple[float, float]]


def powers(
    *, radius: Sequence[float] = (0.8, 1.0, 1.2), units: int = 64, steps: int = 60
) -> Figure:
    """‖W^k‖ is governed by the largest |eigenvalue| of W: it dies, stays or explodes like ρ^k.

    W is Gaussian, scaled to each spectral radius; norms are spectral norms. Source: Bengio, Simard
    & Frasconi (1994); Pascanu, Mikolov & Bengio (2013), section 2.1.
    """
    matrix = np.random.default_rng(0).standard_normal((units, units))
    matrix /= np.abs(np.linalg.eigvals(matrix)).max()
    eigenvalues, norms = {}, {}
    for rho in radius:
        power = np.eye(units)
        norms[rho] = [1.0]
        eigenvalues[rho] = np.linalg.eigvals(rho * matrix)
        for _ in range(steps):
            power = rho * matrix @ power
            norms[rho].append(float(np.linalg.norm(power, 2)))
    return textbook.powers(eigenvalues, norms)


def error_of_one_unit(weight: Tensor, bias: Tensor, steps: int = 50) -> Tensor:
    """E = (σ(h_T) − 0.7)² with h_t = w σ(h_{t−1}) + b and h_0 = 0.5. Any shape.

    Source: Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural
    networks, figure 6.
    """
    h = torch.full_like(weight, 0.5)
    for _ in range(steps):
        h = weight * sigmoid(h) + bias
    return (sigmoid(h) - 0.7) ** 2


def descent(start: Sequence[float], rate: float, clip: float | None, updates: int) -> Walk:
    """Where gradient descent goes on that surface: (w, b) before and after each update.

    clip: the largest norm of the gradient; None: any.
    """
    point = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    path = [(point[0].item(), point[1].item())]
    for _ in range(updates):
        (gradient,) = torch.autograd.grad(error_of_one_unit(point[0], point[1]), point)
        norm = gradient.norm()
        if clip is not None and norm > clip:
            gradient = gradient * (clip / norm)
        with torch.no_grad():
            point -= rate * gradient
        path.append((point[0].item(), point[1].item()))
    return path


def cliff(
    *, w: float = 6.0, b: float = -3.0, rate: float = 0.1, clip: float = 1.0, updates: int = 300
) -> Figure:
    """A cliff in the error surface: without clipping one step throws the weights far away.

    w, b: where descent starts. Source: Pascanu, Mikolov & Bengio (2013), figure 6.
    """
    across = torch.linspace(3.8, 7.2, 171, dtype=torch.float64)
    along = torch.linspace(-4.2, -1.4, 141, dtype=torch.float64)
    grid = torch.meshgrid(across, along, indexing="ij")
    errors = error_of_one_unit(grid[0], grid[1]).numpy()
    paths = {
        "no clipping": descent((w, b), rate, None, updates),
        f"gradient norm at most {clip:g}": descent((w, b), rate, clip, updates),
    }
    return textbook.cliff(across.numpy(), along.numpy(), errors, paths)


def sensitivities(
    cell: str, steps: int, units: int, forget_bias: float | None = None, init: str | None = None
) -> np.ndarray:
    """‖∂h_t/∂x_1‖ (Frobenius) of a cell as it starts, for t = 1 … steps; the mean of 20 random
    sequences of standard Gaussian numbers.
    """
    torch.manual_seed(0)
    layer = Recurrent(cell, 4, units, forget_bias=forget_bias, init=init, dtype=torch.float64)
    x = torch.randn(steps, 20, 4, dtype=torch.float64)

    def summed(first: Tensor) -> Tensor:  # over sequences, which do not touch one another
        output: Tensor = layer(torch.cat([first[None], x[1:]]))[0]
        return output.sum(1)

    jacobian = torch.autograd.functional.jacobian(summed, x[0])  # (T, H, B, I)
    norms: np.ndarray = jacobian.permute(0, 2, 1, 3).flatten(2).norm(dim=2).mean(1).numpy()
    return norms


def sensitivity(
    *, steps: int = 40, units: int = 16, weights: float = 0.7, forget_bias: float = 3.0
) -> Figure:
    """How much the state at step t still depends on the first input: it fades in a plain network
    and is kept by a cell whose gate holds.

    weights: scale of the plain networks' Gaussian recurrent weights, about their spectral radius.
    Source: Graves (2012), Supervised sequence labelling, figures 4.1 and 4.4.
    """
    found = {
        f"tanh, weights scaled to {weights:g}": sensitivities(
            "tanh", steps, units, init=f"scaled:{weights:g}"
        ),
        "irnn": sensitivities("irnn", steps, units),
        "lstm, forget bias 0": sensitivities("lstm", steps, units, 0.0),
        f"lstm, forget bias {forget_bias:g}": sensitivities("lstm", steps, units, forget_bias),
        f"gru, forget bias {forget_bias:g}": sensitivities("gru", steps, units, forget_bias),
    }
    return textbook.sensitivity(found)


def latch(x: Tensor) -> dict[str, np.ndarray]:
    """One LSTM unit with weights set by hand. x: (T, 3), a value and the orders to write and to
    read; returns gates, cell state and output at every step.
    """
    large = 20.0  # a gate is open or closed
    orders = {"z": (1.0, 0, 0), "i": (0, large, 0), "f": (0, -large, 0), "o": (0, 0, large)}
    bias = {"z": 0.0, "i": -large / 2, "f": large / 2, "o": -large / 2}
    W = SimpleNamespace(**{k: torch.tensor([v], dtype=x.dtype) for k, v in orders.items()})
    R = SimpleNamespace(**{k: torch.zeros(1, 1, dtype=x.dtype) for k in orders})
    b = SimpleNamespace(**{k: torch.tensor([v], dtype=x.dtype) for k, v in bias.items()})
    y = c = torch.zeros(1, dtype=x.dtype)
    rows: dict[str, list[float]] = {name: [] for name in ("i", "f", "o", "c", "y")}
    for step in x:
        gates = {name: sigmoid(getattr(W, name) @ step + getattr(b, name)) for name in "ifo"}
        y, c = lstm(W, R, b, step, y, c)  # type: ignore[no-untyped-call]
        for name, value in (gates | {"c": c, "y": y}).items():
            rows[name].append(value.item())
    return {name: np.array(values) for name, values in rows.items()}


def gates(*, steps: int = 16) -> Figure:
    """A memory cell as lectures draw it: the input gate opens to write, the forget gate holds, the
    output gate opens to read.

    Source: Hochreiter & Schmidhuber (1997); Graves (2012), figure 4.4.
    """
    if steps < 12:
        raise UserError(f"steps must be at least 12, got {steps}")
    x = torch.zeros(steps, 3, dtype=torch.float64)
    x[:, 0] = torch.from_numpy(np.random.default_rng(3).uniform(-1, 1, steps))
    x[1, 0], x[9, 0] = 1.5, -1.0
    x[[1, 9], 1] = 1.0
    x[[4, 7, 11], 2] = 1.0
    return textbook.gates(x.numpy(), latch(x))


PICTURES: Mapping[str, Callable[..., Figure]] = {
    "powers": powers,
    "cliff": cliff,
    "sensitivity": sensitivity,
    "gates": gates,
}


def picture(name: str, typed: Sequence[str], out: str | None) -> Path:
    """Compute one picture with options as typed (key=value), and write it. Raises UserError."""
    function = PICTURES[name]
    known = {key: one.default for key, one in inspect.signature(function).parameters.items()}
    options = dict(_option(name, word, known) for word in typed)
    path = Path(out).expanduser() if out else Path(f"{name}.png")
    written = plots.save(function(**options), path)
    say(f"{(inspect.getdoc(function) or '').partition(chr(10) * 2)[0]}\nsaved in   {written}")
    return path


def _option(name: str, word: str, known: Mapping[str, Any]) -> tuple[str, Any]:
    value: Any
    key, equals, text = word.partition("=")
    if key not in known:
        raise unknown(f"option of picture {name}", key, known)
    try:
        value = yaml.safe_load(text) if equals else None
    except yaml.YAMLError:
        value = None
    several = isinstance(known[key], tuple)
    values: list[Any] = value if isinstance(value, list) else [value]
    whole = isinstance(known[key], int)
    kinds = (int,) if whole else (int, float)
    fits = all(isinstance(one, kinds) and not isinstance(one, bool) for one in values)
    if not fits or not values or (isinstance(value, list) and not several):
        what = "a whole number" if whole else "a number"
        if several:
            what = "a list of numbers, [0.8,1.2]"
        raise UserError(f"picture {name}: {key} must be {what}, got '{text}'")
    limits = {"steps": 1, "units": 1, "updates": 1, "rate": 0, "clip": 1e-9, "radius": 1e-9}
    least = limits.get(key)
    most = {"steps": 1000, "units": 1000, "updates": 10_000}.get(key, 1e6)
    if not all((least is None or one >= least) and abs(one) <= most for one in values):
        low = f"at least {least:g} and " if least is not None else ""
        raise UserError(f"picture {name}: {key} must be {low}at most {most:g}, got {text}")
    return key, tuple(values) if several else value
