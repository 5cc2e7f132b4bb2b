"""Gated cells with fewer gates, products or non-linearities than the GRU."""

from torch import relu, sigmoid, tanh


def ligru(W, R, b, x, h):
    """Light GRU: no reset gate, a rectified candidate.

    Source: Ravanelli, Brakel, Omologo & Bengio (2018), Light gated recurrent units for speech
        recognition, eqs. 8 to 10.
    Reading: without the batch normalisation of the input products.
    """
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    n = relu(W.n @ x + R.n @ h + b.n)
    return z * h + (1 - z) * n


def sru(W, p, b, x, h, c):
    """Simple recurrent unit: gates see the memory of their own unit only.

    Source: Lei, Zhang, Wang, Dai & Artzi (2018), Simple recurrent units for highly parallelizable
        recurrence, eqs. 3 to 6.
    Reading: the highway carries a projection of the input, as the authors have it where widths
        differ, and its scaling factor is 1.
    """
    f = sigmoid(W.f @ x + p.f * c + b.f)
    r = sigmoid(W.r @ x + p.r * c + b.r)
    c = f * c + (1 - f) * (W.c @ x)
    return r * c + (1 - r) * (W.h @ x), c


def fastgrnn(W, R, p, b, x, h):
    """Fast, accurate, stable and tiny GRU: gate and candidate share their matrices.

    Source: Kusupati et al. (2018), FastGRNN: a fast, accurate, stable and tiny kilobyte sized gated
        recurrent neural network, eqs. 5 to 7.
    Reading: full rank, nothing quantised; ζ and ν, here z and n, are one per unit, not one per
        layer.
    """
    s = W.h @ x + R.h @ h
    z = sigmoid(s + b.z)
    n = tanh(s + b.n)
    return (sigmoid(p.z) * (1 - z) + sigmoid(p.n)) * n + z * h


def star(W, R, b, x, h):
    """Stackable recurrent cell: one gate, and a candidate that sees the input only.

    Source: Turkoglu, D'Aronco, Wegner & Schindler (2021), Gating revisited: deep multi-layer RNNs
        that can be trained, eqs. 9 to 11.
    """
    k = sigmoid(W.k @ x + R.k @ h + b.k)
    z = tanh(W.z @ x + b.z)
    return tanh((1 - k) * h + k * z)
