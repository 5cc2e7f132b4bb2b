"""LSTM and GRU with layer normalisation.

The products of all gates with the input, and those with the state, are set to mean 0 and variance 1
together.
"""

from torch import mean, sigmoid, sqrt, tanh


def lstm_ln(W, R, p, b, x, h, c):
    """LSTM with layer normalisation of both products and of the memory on its way out.

    Source: Ba, Kiros & Hinton (2016), Layer normalization, eqs. 20 to 22.
    Reading: one bias a gate; that of the forget gate starts at 0.
    """
    xf = W.f @ x
    xi = W.i @ x
    xo = W.o @ x
    xz = W.z @ x
    mx = _centre(xf, xi, xo, xz)
    sx = _spread(mx, xf, xi, xo, xz)
    hf = R.f @ h
    hi = R.i @ h
    ho = R.o @ h
    hz = R.z @ h
    mh = _centre(hf, hi, ho, hz)
    sh = _spread(mh, hf, hi, ho, hz)
    f = sigmoid(p.xf * (xf - mx) / sx + p.hf * (hf - mh) / sh + b.f)
    i = sigmoid(p.xi * (xi - mx) / sx + p.hi * (hi - mh) / sh + b.i)
    o = sigmoid(p.xo * (xo - mx) / sx + p.ho * (ho - mh) / sh + b.o)
    z = tanh(p.xz * (xz - mx) / sx + p.hz * (hz - mh) / sh + b.z)
    c = f * c + i * z
    mc = _centre(c)
    sc = _spread(mc, c)
    return o * tanh(p.c * (c - mc) / sc + b.c), c


def gru_ln(W, R, p, b, x, h):
    """GRU with layer normalisation of both products.

    Source: Ba, Kiros & Hinton (2016), Layer normalization, supplementary material.
    Reading: gates and candidate are normalised together per product, and the reset gate acts after
        the recurrent product, as there.
    """
    xz = W.z @ x
    xr = W.r @ x
    xn = W.n @ x
    mx = _centre(xz, xr, xn)
    sx = _spread(mx, xz, xr, xn)
    hz = R.z @ h
    hr = R.r @ h
    hn = R.n @ h
    mh = _centre(hz, hr, hn)
    sh = _spread(mh, hz, hr, hn)
    z = sigmoid(p.xz * (xz - mx) / sx + p.hz * (hz - mh) / sh + b.z)
    r = sigmoid(p.xr * (xr - mx) / sx + p.hr * (hr - mh) / sh + b.r)
    n = tanh(p.xn * (xn - mx) / sx + b.n + r * (p.hn * (hn - mh) / sh))
    return z * h + (1 - z) * n


def _centre(first, *others):
    """The mean over all units of all parts."""
    total = mean(first, -1)
    for part in others:
        total = total + mean(part, -1)
    return total / (1 + len(others)) if others else total


def _spread(centre, first, *others):
    """The root of the variance over the same."""
    squares = _centre((first - centre) ** 2, *((part - centre) ** 2 for part in others))
    return sqrt(squares + 1e-5)
