"""Oscillators, light gated cells and linear recurrences, number by number.

Written from the papers' equations, unit by unit; complex recurrences as complex numbers. Shares no
code with rnnbench.cells. Numbers here are complex for the sake of derivatives, so that a complex
state is a pair (real, imaginary) of such numbers, multiplied by hand.
"""

import cmath

from rnnbench.evidence import arithmetic
from rnnbench.evidence.arithmetic import (
    Pair,
    States,
    Vector,
    Weights,
    affine,
    dot,
    normalised,
    over,
    sigmoid,
    times,
    turned,
)


def lem(w: Weights, x: Vector, y: Vector, z: Vector, dt: float = 1.0) -> States:
    """Rusch et al. (2022): y and z with the time steps Δt̄ and Δt."""
    units = range(len(y))
    fast = [dt * sigmoid(affine(w, "s", k, x, y)) for k in units]
    slow = [dt * sigmoid(affine(w, "f", k, x, y)) for k in units]
    new_z = [z[k] + fast[k] * (cmath.tanh(affine(w, "z", k, x, y)) - z[k]) for k in units]
    new_y = [y[k] + slow[k] * (cmath.tanh(affine(w, "y", k, x, new_z)) - y[k]) for k in units]
    return new_y, new_z


def cornn(
    w: Weights,
    x: Vector,
    y: Vector,
    z: Vector,
    dt: float = 0.042,
    gamma: float = 2.7,
    epsilon: float = 4.7,
) -> States:
    """Rusch & Mishra (2021): y'' = tanh(W y + 𝒲 y' + V u + b) − γ y − ε y'."""
    new_y, new_z = [], []
    for k in range(len(y)):
        drive = dot(w["R.y"][k], y) + dot(w["R.z"][k], z) + dot(w["W.z"][k], x) + w["b.z"][k]
        acceleration = cmath.tanh(drive) - gamma * y[k] - epsilon * z[k]
        new_z.append(z[k] + dt * acceleration)
        new_y.append(y[k] + dt * new_z[k])
    return new_y, new_z


def unicornn(
    w: Weights, x: Vector, y: Vector, z: Vector, dt: float = 0.1, alpha: float = 1.0
) -> States:
    """Rusch & Mishra (2021): y'' = −σ̂(c)² (tanh(w y + V u + b) + α y), symplectic Euler."""
    new_y, new_z = [], []
    for k in range(len(y)):
        step = dt * sigmoid(w["p.s"][k])
        drive = w["p.y"][k] * y[k] + dot(w["W.z"][k], x) + w["b.z"][k]
        new_z.append(z[k] - step * cmath.tanh(drive) - step * alpha * y[k])
        new_y.append(y[k] + step * new_z[k])
    return new_y, new_z


def ligru(w: Weights, x: Vector, h: Vector) -> States:
    """Ravanelli et al. (2018)."""
    made = []
    for k in range(len(h)):
        z = sigmoid(affine(w, "z", k, x, h))
        made.append(z * h[k] + (1 - z) * arithmetic.relu(affine(w, "n", k, x, h)))
    return (made,)


def sru(w: Weights, x: Vector, h: Vector, c: Vector) -> States:
    """Lei et al. (2018); the highway's x is projected."""
    new_h, new_c = [], []
    for k in range(len(c)):
        f = sigmoid(dot(w["W.f"][k], x) + w["p.f"][k] * c[k] + w["b.f"][k])
        r = sigmoid(dot(w["W.r"][k], x) + w["p.r"][k] * c[k] + w["b.r"][k])
        new_c.append(f * c[k] + (1 - f) * dot(w["W.c"][k], x))
        new_h.append(r * new_c[k] + (1 - r) * dot(w["W.h"][k], x))
    return new_h, new_c


def fastgrnn(w: Weights, x: Vector, h: Vector) -> States:
    """Kusupati et al. (2018), with σ(ζ) and σ(ν)."""
    made = []
    for k in range(len(h)):
        shared = dot(w["W.h"][k], x) + dot(w["R.h"][k], h)
        z = sigmoid(shared + w["b.z"][k])
        weight = sigmoid(w["p.z"][k]) * (1 - z) + sigmoid(w["p.n"][k])
        made.append(weight * cmath.tanh(shared + w["b.n"][k]) + z * h[k])
    return (made,)


def star(w: Weights, x: Vector, h: Vector) -> States:
    """Turkoglu et al. (2021)."""
    made = []
    for k in range(len(h)):
        gate = sigmoid(affine(w, "k", k, x, h))
        z = cmath.tanh(dot(w["W.z"][k], x) + w["b.z"][k])
        made.append(cmath.tanh(h[k] + gate * (z - h[k])))
    return (made,)


def lru(w: Weights, x: Vector, y: Vector, re: Vector, im: Vector) -> States:
    """Orvieto et al. (2023): h' = λ h + e^γ √(1 − |λ|²) B x, y = Re(C h') + D x."""
    state: list[Pair] = []
    for k in range(len(y)):
        log_size = -cmath.exp(w["p.nu"][k])
        decayed = times(turned(log_size, cmath.exp(w["p.t"][k])), (re[k], im[k]))
        scale = cmath.sqrt(1 - cmath.exp(2 * log_size)) * cmath.exp(w["p.g"][k])
        drive = scale * dot(w["W.u"][k], x), scale * dot(w["W.v"][k], x)
        state.append((decayed[0] + drive[0], decayed[1] + drive[1]))
    new_re, new_im = [s[0] for s in state], [s[1] for s in state]
    read = [
        dot(w["R.c"][k], new_re) - dot(w["R.d"][k], new_im) + dot(w["W.d"][k], x)
        for k in range(len(y))
    ]
    return read, new_re, new_im


def rglru(w: Weights, x: Vector, h: Vector, c: float = 8.0) -> States:
    """De et al. (2024): log a_t = −c r softplus(Λ)."""
    made = []
    for k in range(len(h)):
        r = sigmoid(dot(w["W.r"][k], x) + w["b.r"][k])
        i = sigmoid(dot(w["W.i"][k], x) + w["b.i"][k])
        log_a = -c * r * cmath.log(1 + cmath.exp(w["p.a"][k]))
        drive = i * dot(w["W.h"][k], x)
        made.append(cmath.exp(log_a) * h[k] + cmath.sqrt(1 - cmath.exp(2 * log_a)) * drive)
    return (made,)


def s4d(w: Weights, x: Vector, y: Vector, re: Vector, im: Vector) -> States:
    """Gu et al. (2022): Ā = e^(ΔA), B̄ = (Ā − 1) / A, y = 2 Re(C h) + D u."""
    read, new_re, new_im = [], [], []
    for k in range(len(y)):
        step, A = cmath.exp(w["p.dt"][k]), (-cmath.exp(w["p.a"][k]), complex(w["p.w"][k]))
        bar = turned(step * A[0], step * A[1])
        u = dot(w["W.u"][k], x)
        held = over((bar[0] - 1, bar[1]), A)
        kept = times(bar, (re[k], im[k]))
        state = kept[0] + held[0] * u, kept[1] + held[1] * u
        out = times((w["p.c"][k], w["p.s"][k]), state)
        read.append(2 * out[0] + w["p.d"][k] * u)
        new_re.append(state[0])
        new_im.append(state[1])
    return read, new_re, new_im


def lstm_ln(w: Weights, x: Vector, h: Vector, c: Vector) -> States:
    """Ba, Kiros & Hinton (2016), eqs. 20 to 22: f, i, o, g = LN(W_h h) + LN(W_x x) + b."""
    gates = list("fioz")
    from_x = normalised([dot(row, x) for gate in gates for row in w[f"W.{gate}"]])
    from_h = normalised([dot(row, h) for gate in gates for row in w[f"R.{gate}"]])

    def arriving(number: int, k: int) -> complex:
        gate, place = gates[number], number * len(h) + k
        gains = w[f"p.x{gate}"][k] * from_x[place] + w[f"p.h{gate}"][k] * from_h[place]
        return complex(gains + w[f"b.{gate}"][k])

    new = [
        sigmoid(arriving(0, k)) * c[k] + sigmoid(arriving(1, k)) * cmath.tanh(arriving(3, k))
        for k in range(len(h))
    ]
    out = [w["p.c"][k] * value + w["b.c"][k] for k, value in enumerate(normalised(new))]
    return [sigmoid(arriving(2, k)) * cmath.tanh(out[k]) for k in range(len(h))], new


def gru_ln(w: Weights, x: Vector, h: Vector) -> States:
    """Ba, Kiros & Hinton (2016), supplementary material: the reset gate acts after LN(W_h h)."""
    from_x = normalised([dot(row, x) for gate in "zrn" for row in w[f"W.{gate}"]])
    from_h = normalised([dot(row, h) for gate in "zrn" for row in w[f"R.{gate}"]])
    made, n = [], len(h)
    for k in range(n):
        read = {g: w[f"p.x{g}"][k] * from_x[j * n + k] for j, g in enumerate("zrn")}
        held = {g: w[f"p.h{g}"][k] * from_h[j * n + k] for j, g in enumerate("zrn")}
        z = sigmoid(read["z"] + held["z"] + w["b.z"][k])
        r = sigmoid(read["r"] + held["r"] + w["b.r"][k])
        candidate = cmath.tanh(read["n"] + w["b.n"][k] + r * held["n"])
        made.append(z * h[k] + (1 - z) * candidate)
    return (made,)
