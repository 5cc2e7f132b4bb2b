"""Plain recurrences, gates that never see the state, and the sLSTM, number by number.

Written from the papers' equations, unit by unit, to have something to hold rnnbench.cells against.
Shares no code with it.
"""

import cmath

from rnnbench.evidence import arithmetic
from rnnbench.evidence.arithmetic import (
    States,
    Vector,
    Weights,
    affine,
    dot,
    log_sigmoid,
    maximum,
    sigmoid,
)


def tanh(w: Weights, x: Vector, h: Vector) -> States:
    """Elman."""
    return ([cmath.tanh(affine(w, "h", k, x, h)) for k in range(len(h))],)


def relu(w: Weights, x: Vector, h: Vector) -> States:
    """Le, Jaitly & Hinton (2015), whatever the initial weights."""
    return ([arithmetic.relu(affine(w, "h", k, x, h)) for k in range(len(h))],)


def indrnn(w: Weights, x: Vector, h: Vector) -> States:
    """Li et al. (2018): each unit sees only itself; p holds the paper's u."""
    return (
        [
            arithmetic.relu(dot(w["W.h"][k], x) + w["p.h"][k] * h[k] + w["b.h"][k])
            for k in range(len(h))
        ],
    )


def mingru(w: Weights, x: Vector, h: Vector) -> States:
    """Feng et al. (2024): z admits a candidate that is linear in x."""
    new = []
    for k in range(len(h)):
        z = sigmoid(dot(w["W.z"][k], x) + w["b.z"][k])
        n = dot(w["W.n"][k], x) + w["b.n"][k]
        new.append((1 - z) * h[k] + z * n)
    return (new,)


def minlstm(w: Weights, x: Vector, h: Vector) -> States:
    """Feng et al. (2024): two gates, scaled to sum to one."""
    new = []
    for k in range(len(h)):
        f = sigmoid(dot(w["W.f"][k], x) + w["b.f"][k])
        i = sigmoid(dot(w["W.i"][k], x) + w["b.i"][k])
        n = dot(w["W.n"][k], x) + w["b.n"][k]
        new.append(f / (f + i) * h[k] + i / (f + i) * n)
    return (new,)


def slstm(w: Weights, x: Vector, h: Vector, c: Vector, n: Vector, m: Vector) -> States:
    """Beck et al. (2024), one head: exponential input gate, normaliser n, running maximum m of the
    exponents, which starts at the first input gate.
    """
    new_h, new_c, new_n, new_m = [], [], [], []
    for k in range(len(h)):
        z = cmath.tanh(affine(w, "z", k, x, h))
        o = sigmoid(affine(w, "o", k, x, h))
        admit = affine(w, "i", k, x, h)
        keep = log_sigmoid(affine(w, "f", k, x, h)) + m[k]
        new_m.append(maximum(keep, admit) if n[k].real > 0 else admit)
        i = cmath.exp(admit - new_m[k])
        f = cmath.exp(keep - new_m[k]) if n[k].real > 0 else 0j
        new_c.append(f * c[k] + i * z)
        new_n.append(f * n[k] + i)
        new_h.append(o * new_c[k] / new_n[k])
    return new_h, new_c, new_n, new_m
