"""Cells with fewer gates than the GRU, or with gates that do not see the state."""

from torch import sigmoid, tanh


def mgu(W, R, b, x, h):
    """Minimal gated unit: one gate both resets and updates.

    Source: Zhou, Wu, Zhang & Zhou (2016), Minimal gated unit for recurrent neural networks.
    Reading: f multiplies the candidate, so a gate that keeps the memory has a negative bias.
    """
    f = sigmoid(W.f @ x + R.f @ h + b.f)
    n = tanh(W.n @ x + R.n @ (f * h) + b.n)
    return (1 - f) * h + f * n


def janet(W, R, b, x, h, *, beta=1.0):
    """Just another network: an LSTM with nothing but its forget gate.

    Source: van der Westhuizen & Lasenby (2018), The unreasonable effectiveness of the forget gate.
    Reading: the authors' form with β = 1 taken from the gate before it weighs the candidate; β = 0
        couples exactly.
    """
    s = W.f @ x + R.f @ h + b.f
    n = tanh(W.n @ x + R.n @ h + b.n)
    return sigmoid(s) * h + (1 - sigmoid(s - beta)) * n


def mingru(W, b, x, h):
    """Minimal GRU: gate and candidate see the input only, so that time can be scanned in parallel.

    Source: Feng et al. (2024), Were RNNs all we needed?
    Reading: the form without the log-space trick; the candidate is linear.
    """
    z = sigmoid(W.z @ x + b.z)
    n = W.n @ x + b.n
    return (1 - z) * h + z * n


def minlstm(W, b, x, h):
    """Minimal LSTM: gates see the input only and are normalised to sum to one.

    Source: Feng et al. (2024), Were RNNs all we needed?
    Reading: the form without the log-space trick; the candidate is linear.
    """
    f = sigmoid(W.f @ x + b.f)
    i = sigmoid(W.i @ x + b.i)
    n = W.n @ x + b.n
    return f / (f + i) * h + i / (f + i) * n
