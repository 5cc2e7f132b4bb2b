"""Gated units with one state, number by number: GRU in both placements of the reset, MUT1 to MUT3,
MGU, JANET, UGRNN.

Written from the papers' equations, unit by unit, to have something to hold rnnbench.cells against.
Shares no code with it.
"""

from cmath import tanh

from rnnbench.evidence.arithmetic import States, Vector, Weights, affine, dot, sigmoid


def gru(w: Weights, x: Vector, h: Vector) -> States:
    """Jozefowicz et al. (2015): reset before the product, z keeps the old state."""
    kept = [sigmoid(affine(w, "r", k, x, h)) * h[k] for k in range(len(h))]
    new = []
    for k in range(len(h)):
        z = sigmoid(affine(w, "z", k, x, h))
        n = tanh(affine(w, "n", k, x, kept))
        new.append(z * h[k] + (1 - z) * n)
    return (new,)


def gru_reset_after(w: Weights, x: Vector, h: Vector) -> States:
    """As in PyTorch and cuDNN: reset after the product and its bias m, z keeps the old state."""
    new = []
    for k in range(len(h)):
        r = sigmoid(affine(w, "r", k, x, h))
        z = sigmoid(affine(w, "z", k, x, h))
        n = tanh(dot(w["W.n"][k], x) + w["b.n"][k] + r * (dot(w["R.n"][k], h) + w["b.m"][k]))
        new.append((1 - z) * n + z * h[k])
    return (new,)


def mut1(w: Weights, x: Vector, h: Vector) -> States:
    """z ignores the state; the candidate takes tanh of the projected input; z admits the
    new value.
    """
    kept = [sigmoid(affine(w, "r", k, x, h)) * h[k] for k in range(len(h))]
    new = []
    for k in range(len(h)):
        z = sigmoid(dot(w["W.z"][k], x) + w["b.z"][k])
        n = tanh(dot(w["R.n"][k], kept) + tanh(dot(w["W.n"][k], x)) + w["b.n"][k])
        new.append(n * z + h[k] * (1 - z))
    return (new,)


def mut2(w: Weights, x: Vector, h: Vector) -> States:
    """The paper adds the bare input to the reset gate; projected here, so that widths may differ.

    z admits the new value.
    """
    kept = [
        sigmoid(dot(w["W.r"][k], x) + dot(w["R.r"][k], h) + w["b.r"][k]) * h[k]
        for k in range(len(h))
    ]
    new = []
    for k in range(len(h)):
        z = sigmoid(affine(w, "z", k, x, h))
        n = tanh(dot(w["R.n"][k], kept) + dot(w["W.n"][k], x) + w["b.n"][k])
        new.append(n * z + h[k] * (1 - z))
    return (new,)


def mut3(w: Weights, x: Vector, h: Vector) -> States:
    """The update gate sees tanh of the state; z admits the new value."""
    kept = [sigmoid(affine(w, "r", k, x, h)) * h[k] for k in range(len(h))]
    squashed = [tanh(value) for value in h]
    new = []
    for k in range(len(h)):
        z = sigmoid(affine(w, "z", k, x, squashed))
        n = tanh(affine(w, "n", k, x, kept))
        new.append(n * z + h[k] * (1 - z))
    return (new,)


def mgu(w: Weights, x: Vector, h: Vector) -> States:
    """Zhou et al. (2016): one gate resets and admits."""
    f = [sigmoid(affine(w, "f", k, x, h)) for k in range(len(h))]
    gated = [f[k] * h[k] for k in range(len(h))]
    new = []
    for k in range(len(h)):
        n = tanh(affine(w, "n", k, x, gated))
        new.append((1 - f[k]) * h[k] + f[k] * n)
    return (new,)


def janet(w: Weights, x: Vector, h: Vector, *, beta: float = 1.0) -> States:
    """van der Westhuizen & Lasenby (2018): the forget gate alone; what enters is gated by 1 - σ(s -
    β).
    """
    new = []
    for k in range(len(h)):
        s = affine(w, "f", k, x, h)
        n = tanh(affine(w, "n", k, x, h))
        new.append(sigmoid(s) * h[k] + (1 - sigmoid(s - beta)) * n)
    return (new,)


def ugrnn(w: Weights, x: Vector, h: Vector) -> States:
    """Collins et al. (2017): g keeps the old state."""
    new = []
    for k in range(len(h)):
        c = tanh(affine(w, "c", k, x, h))
        g = sigmoid(affine(w, "g", k, x, h))
        new.append(g * h[k] + (1 - g) * c)
    return (new,)
