"""Gated recurrent units: the reset gate before or after the recurrent product.

r is the reset gate, z the update gate, n the candidate. In both cells z multiplies the old state.
"""

from torch import sigmoid, tanh


def gru(W, R, b, x, h):
    """Gated recurrent unit, reset before the recurrent product.

    Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder, arXiv v3;
        Chung et al. (2014), Empirical evaluation of gated recurrent neural networks; Jozefowicz et
        al. (2015).
    Reading: z multiplies the old state, as in Cho and Jozefowicz; in Chung it multiplies the
        candidate, which only changes the sign of the gate's weights. arXiv v1 of Cho resets after
        the product: `gru_reset_after`.
    """
    r = sigmoid(W.r @ x + R.r @ h + b.r)
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    n = tanh(W.n @ x + R.n @ (r * h) + b.n)
    return z * h + (1 - z) * n


def gru_reset_after(W, R, b, x, h):
    """Gated recurrent unit, reset after the recurrent product: the form of cuDNN and PyTorch.

    Source: Cho et al. (2014), arXiv v1; `torch.nn.GRU`.
    Reading: the recurrent product has a bias of its own, m, inside the reset; the other gates have
        one bias each where PyTorch keeps two.
    """
    r = sigmoid(W.r @ x + R.r @ h + b.r)
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    n = tanh(W.n @ x + b.n + r * (R.n @ h + b.m))
    return z * h + (1 - z) * n
