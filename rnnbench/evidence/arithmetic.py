"""Complex numbers, one at a time: the arithmetic of the scalar references, and their exact
derivatives.

A function of real numbers is evaluated at x + ih with a tiny h; the imaginary part over h is the
derivative, with no subtraction and hence no loss of digits (Squire & Trapp, 1998). Knows nothing of
tensors, engines or cells.
"""

import cmath
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Vector = list[complex]
States = tuple[Vector, ...]
Weights = Mapping[str, Any]  # "W.z" → rows, one per unit; "b.z" → a number per unit
Step = Callable[..., States]  # step(weights, x, *states) → new states

# a complex number whose parts are numbers of this arithmetic: (real, imaginary)
Pair = tuple[complex, complex]

STEP = 1e-100


def dot(row: Vector, values: Vector) -> complex:
    """Σ row[j] · values[j]."""
    total = 0j
    for a, b in zip(row, values, strict=True):
        total += a * b
    return total


def affine(w: Weights, name: str, k: int, x: Vector, h: Vector) -> complex:
    """What unit k of `name` receives: W.name x + R.name h + b.name."""
    return dot(w[f"W.{name}"][k], x) + dot(w[f"R.{name}"][k], h) + complex(w[f"b.{name}"][k])


def sigmoid(a: complex) -> complex:
    return 1 / (1 + cmath.exp(-a))


def log_sigmoid(a: complex) -> complex:
    return -cmath.log(1 + cmath.exp(-a))


def relu(a: complex) -> complex:
    return a if a.real > 0 else 0j


def maximum(a: complex, b: complex) -> complex:
    return a if a.real > b.real else b


def highway_tree(genes: str, leaves: Sequence[int], w: Weights, x: Vector, h: Vector) -> States:
    """A step of DARTS' and ENAS' cells. genes: 'relu 0 tanh 1', activation and predecessor of each
    node; the new state is the mean of the leaves. Nodes read the blocks g1 s1 g2 s2 …
    """
    functions: dict[str, Callable[[complex], complex]] = {
        "relu": relu,
        "tanh": cmath.tanh,
        "sigmoid": sigmoid,
        "identity": lambda v: v,
    }
    units, words = range(len(h)), genes.split()
    gate = [sigmoid(dot(w["W.g"][k], x) + dot(w["R.g"][k], h)) for k in units]
    new = [cmath.tanh(dot(w["W.s"][k], x) + dot(w["R.s"][k], h)) for k in units]
    values = [[h[k] + gate[k] * (new[k] - h[k]) for k in units]]
    for node in range(len(words) // 2):
        before, f = values[int(words[2 * node + 1])], functions[words[2 * node]]
        row = []
        for k in units:
            c = sigmoid(dot(w[f"R.g{node + 1}"][k], before))
            v = f(dot(w[f"R.s{node + 1}"][k], before))
            row.append(before[k] + c * (v - before[k]))
        values.append(row)
    return ([sum(values[leaf][k] for leaf in leaves) / len(leaves) for k in units],)


def times(a: Pair, b: Pair) -> Pair:
    """A product of complex numbers."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def over(a: Pair, b: Pair) -> Pair:
    """A quotient of complex numbers."""
    size = b[0] * b[0] + b[1] * b[1]
    found = times(a, (b[0], -b[1]))
    return found[0] / size, found[1] / size


def turned(log_size: complex, angle: complex) -> Pair:
    """e^(log_size + i·angle)."""
    size = cmath.exp(log_size)
    return size * cmath.cos(angle), size * cmath.sin(angle)


def normalised(values: Vector) -> Vector:
    """Set to mean 0 and variance 1, with 1e-5 under the root."""
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    return [(value - mean) / cmath.sqrt(variance + 1e-5) for value in values]


def sequence(
    step: Step, w: Weights, inputs: Sequence[Vector], state: States
) -> tuple[list[Vector], States]:
    """The outputs at every time (the first state) and the states at the end."""
    outputs = []
    for x in inputs:
        state = step(w, x, *state)
        outputs.append(state[0])
    return outputs, state


def gradient(function: Callable[[], complex], numbers: list[Any]) -> list[Any]:
    """The derivative of `function()` by every entry of `numbers` (nested lists that it reads), in
    the same nesting.
    """
    return [
        gradient(function, entry) if isinstance(entry, list) else _slope(function, numbers, k)
        for k, entry in enumerate(numbers)
    ]


def _slope(function: Callable[[], complex], numbers: Vector, k: int) -> float:
    kept = numbers[k]
    numbers[k] = kept + STEP * 1j
    slope = function().imag / STEP
    numbers[k] = kept
    return slope


def leaves(numbers: Any) -> Iterator[complex]:
    """The numbers of nested lists and tuples, in order."""
    if isinstance(numbers, (list, tuple)):
        for entry in numbers:
            yield from leaves(entry)
    else:
        yield numbers
