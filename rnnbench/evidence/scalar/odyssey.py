"""Vanilla LSTM and the eight variants of Greff et al. (2017), number by number; i and f look at the
old cell state, o at the new one.

Written from the paper's equations, unit by unit, to have something to hold rnnbench.cells against.
Shares no code with it.
"""

from cmath import tanh

from rnnbench.evidence.arithmetic import States, Vector, Weights, affine, dot, sigmoid


def lstm_vanilla(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """V."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y) + w["p.i"][k] * c[k])
        f = sigmoid(affine(w, "f", k, x, y) + w["p.f"][k] * c[k])
        new_c.append(z * i + c[k] * f)
        o = sigmoid(affine(w, "o", k, x, y) + w["p.o"][k] * new_c[k])
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def nig(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No input gate: i = 1."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        f = sigmoid(affine(w, "f", k, x, y) + w["p.f"][k] * c[k])
        new_c.append(z + c[k] * f)
        o = sigmoid(affine(w, "o", k, x, y) + w["p.o"][k] * new_c[k])
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def nfg(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No forget gate: f = 1."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y) + w["p.i"][k] * c[k])
        new_c.append(z * i + c[k])
        o = sigmoid(affine(w, "o", k, x, y) + w["p.o"][k] * new_c[k])
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def nog(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No output gate: o = 1."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y) + w["p.i"][k] * c[k])
        f = sigmoid(affine(w, "f", k, x, y) + w["p.f"][k] * c[k])
        new_c.append(z * i + c[k] * f)
        new_y.append(tanh(new_c[k]))
    return new_y, new_c


def niaf(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No input activation function: z is linear."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = affine(w, "z", k, x, y)
        i = sigmoid(affine(w, "i", k, x, y) + w["p.i"][k] * c[k])
        f = sigmoid(affine(w, "f", k, x, y) + w["p.f"][k] * c[k])
        new_c.append(z * i + c[k] * f)
        o = sigmoid(affine(w, "o", k, x, y) + w["p.o"][k] * new_c[k])
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def noaf(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No output activation function: y' = c' o."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y) + w["p.i"][k] * c[k])
        f = sigmoid(affine(w, "f", k, x, y) + w["p.f"][k] * c[k])
        new_c.append(z * i + c[k] * f)
        o = sigmoid(affine(w, "o", k, x, y) + w["p.o"][k] * new_c[k])
        new_y.append(new_c[k] * o)
    return new_y, new_c


def np(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No peepholes."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y))
        f = sigmoid(affine(w, "f", k, x, y))
        new_c.append(z * i + c[k] * f)
        o = sigmoid(affine(w, "o", k, x, y))
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def cifg(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """Coupled input and forget gates, i = 1 - f; f is the one that is learnt."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        f = sigmoid(affine(w, "f", k, x, y) + w["p.f"][k] * c[k])
        new_c.append(z * (1 - f) + c[k] * f)
        o = sigmoid(affine(w, "o", k, x, y) + w["p.o"][k] * new_c[k])
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def fgr(w: Weights, x: Vector, y: Vector, c: Vector, i: Vector, f: Vector, o: Vector) -> States:
    """Full gate recurrence: every gate also sees every gate of the step before; R.fi leads from f
    to i.
    """
    new_y, new_c, new_i, new_f, new_o = [], [], [], [], []
    for k in range(len(c)):
        into_i = dot(w["R.ii"][k], i) + dot(w["R.fi"][k], f) + dot(w["R.oi"][k], o)
        into_f = dot(w["R.if"][k], i) + dot(w["R.ff"][k], f) + dot(w["R.of"][k], o)
        into_o = dot(w["R.io"][k], i) + dot(w["R.fo"][k], f) + dot(w["R.oo"][k], o)
        z = tanh(affine(w, "z", k, x, y))
        new_i.append(sigmoid(affine(w, "i", k, x, y) + into_i + w["p.i"][k] * c[k]))
        new_f.append(sigmoid(affine(w, "f", k, x, y) + into_f + w["p.f"][k] * c[k]))
        new_c.append(z * new_i[k] + c[k] * new_f[k])
        new_o.append(sigmoid(affine(w, "o", k, x, y) + into_o + w["p.o"][k] * new_c[k]))
        new_y.append(tanh(new_c[k]) * new_o[k])
    return new_y, new_c, new_i, new_f, new_o
