"""LSTM and GRU with layer normalisation: the products of all gates with the input, and those with
the state, are set to mean 0 and variance 1 together.
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
    mx = (mean(xf, -1) + mean(xi, -1) + mean(xo, -1) + mean(xz, -1)) / 4
    vx = (_square(xf - mx) + _square(xi - mx) + _square(xo - mx) + _square(xz - mx)) / 4
    sx = sqrt(vx + 1e-5)
    hf = R.f @ h
    hi = R.i @ h
    ho = R.o @ h
    hz = R.z @ h
    mh = (mean(hf, -1) + mean(hi, -1) + mean(ho, -1) + mean(hz, -1)) / 4
    vh = (_square(hf - mh) + _square(hi - mh) + _square(ho - mh) + _square(hz - mh)) / 4
    sh = sqrt(vh + 1e-5)
    f = sigmoid(p.xf * (xf - mx) / sx + p.hf * (hf - mh) / sh + b.f)
    i = sigmoid(p.xi * (xi - mx) / sx + p.hi * (hi - mh) / sh + b.i)
    o = sigmoid(p.xo * (xo - mx) / sx + p.ho * (ho - mh) / sh + b.o)
    z = tanh(p.xz * (xz - mx) / sx + p.hz * (hz - mh) / sh + b.z)
    c = f * c + i * z
    mc = mean(c, -1)
    sc = sqrt(_square(c - mc) + 1e-5)
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
    mx = (mean(xz, -1) + mean(xr, -1) + mean(xn, -1)) / 3
    vx = (_square(xz - mx) + _square(xr - mx) + _square(xn - mx)) / 3
    sx = sqrt(vx + 1e-5)
    hz = R.z @ h
    hr = R.r @ h
    hn = R.n @ h
    mh = (mean(hz, -1) + mean(hr, -1) + mean(hn, -1)) / 3
    vh = (_square(hz - mh) + _square(hr - mh) + _square(hn - mh)) / 3
    sh = sqrt(vh + 1e-5)
    z = sigmoid(p.xz * (xz - mx) / sx + p.hz * (hz - mh) / sh + b.z)
    r = sigmoid(p.xr * (xr - mx) / sx + p.hr * (hr - mh) / sh + b.r)
    n = tanh(p.xn * (xn - mx) / sx + b.n + r * (p.hn * (hn - mh) / sh))
    return z * h + (1 - z) * n


def _square(a):
    """The mean of the squares."""
    return mean(a**2, -1)
