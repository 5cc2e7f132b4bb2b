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
