"""The three best architectures found by mutation in Jozefowicz et al. (2015).

r is the reset gate, z the update gate, n the candidate. Unlike in the paper's GRU, z multiplies the
candidate, so a gate that keeps the memory has a negative bias.
"""

from torch import sigmoid, tanh


def mut1(W, R, b, x, h):
    """First mutation: the update gate does not see the state.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures, MUT1.
    Reading: the paper adds tanh(x) to the candidate, which needs inputs as wide as the state; x is
        projected here.
    """
    z = sigmoid(W.z @ x + b.z)
    r = sigmoid(W.r @ x + R.r @ h + b.r)
    n = tanh(R.n @ (r * h) + tanh(W.n @ x) + b.n)
    return n * z + h * (1 - z)


def mut2(W, R, b, x, h):
    """Second mutation: the input enters the reset gate as it is.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures, MUT2.
    Reading: the paper adds x to the reset gate, which needs inputs as wide as the state; x is
        projected here.
    """
    z = sigmoid(W.z @ x + R.z @ h + b.z)
    r = sigmoid(W.r @ x + R.r @ h + b.r)
    n = tanh(R.n @ (r * h) + W.n @ x + b.n)
    return n * z + h * (1 - z)


def mut3(W, R, b, x, h):
    """Third mutation: the update gate sees the state squashed by tanh.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures, MUT3.
    """
    z = sigmoid(W.z @ x + R.z @ tanh(h) + b.z)
    r = sigmoid(W.r @ x + R.r @ h + b.r)
    n = tanh(R.n @ (r * h) + W.n @ x + b.n)
    return n * z + h * (1 - z)
