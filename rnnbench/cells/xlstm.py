"""The scalar-memory cell of xLSTM."""

from torch import exp, maximum, sigmoid, tanh, where
from torch.nn.functional import logsigmoid


def slstm(W, R, b, x, h, c, n, m):
    """Scalar LSTM: exponential input gate, a running normaliser n and a stabiliser m.

    Source: Beck et al. (2024), xLSTM: extended long short-term memory, eqs. 8 to 17.
    Reading: one head, so recurrent matrices are dense; the sigmoid form of the forget gate. The
        stabiliser cancels out of c / n; while n is 0 nothing is to be kept and it starts at the
        first input gate, as in both implementations of the authors, so that no input gate is too
        small for it. From that start b.i cancels too.
    """
    z = tanh(W.z @ x + R.z @ h + b.z)
    i = W.i @ x + R.i @ h + b.i
    f = where(n > 0, logsigmoid(W.f @ x + R.f @ h + b.f) + m, i)
    o = sigmoid(W.o @ x + R.o @ h + b.o)
    m = maximum(f, i)
    c = exp(f - m) * c + exp(i - m) * z
    n = exp(f - m) * n + exp(i - m)
    return o * (c / n), c, n, m
