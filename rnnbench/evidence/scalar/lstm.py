"""The LSTM family, number by number: Greff et al. (2017), Jozefowicz et al. (2015) and textbook
forms.

Written from the papers' equations, unit by unit, to have something to hold rnnbench.cells against.
Shares no code with it.
"""

from cmath import tanh

from rnnbench.evidence.arithmetic import States, Vector, Weights, affine, dot, sigmoid


def lstm(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No peepholes: c' = c f + z i, y' = tanh(c') o."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y))
        f = sigmoid(affine(w, "f", k, x, y))
        o = sigmoid(affine(w, "o", k, x, y))
        new_c.append(c[k] * f + z * i)
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def lstm_i(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """i = 1."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        f = sigmoid(affine(w, "f", k, x, y))
        o = sigmoid(affine(w, "o", k, x, y))
        new_c.append(c[k] * f + z)
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def lstm_f(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """f = 1."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y))
        o = sigmoid(affine(w, "o", k, x, y))
        new_c.append(c[k] + z * i)
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def lstm_o(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """o = 1."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y))
        f = sigmoid(affine(w, "f", k, x, y))
        new_c.append(c[k] * f + z * i)
        new_y.append(tanh(new_c[k]))
    return new_y, new_c


def lstm_peephole_full(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """Full matrices from the cell state: i and f see the old one, o the new one, so o waits for
    every unit's c'.
    """
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        i = sigmoid(affine(w, "i", k, x, y) + dot(w["R.ci"][k], c))
        f = sigmoid(affine(w, "f", k, x, y) + dot(w["R.cf"][k], c))
        new_c.append(c[k] * f + z * i)
    for k in range(len(c)):
        o = sigmoid(affine(w, "o", k, x, y) + dot(w["R.co"][k], new_c))
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c


def coupled(w: Weights, x: Vector, y: Vector, c: Vector) -> States:
    """No peepholes, i = 1 - f."""
    new_y, new_c = [], []
    for k in range(len(c)):
        z = tanh(affine(w, "z", k, x, y))
        f = sigmoid(affine(w, "f", k, x, y))
        o = sigmoid(affine(w, "o", k, x, y))
        new_c.append(c[k] * f + z * (1 - f))
        new_y.append(tanh(new_c[k]) * o)
    return new_y, new_c
