"""The vanilla LSTM and the eight variants of Greff et al. (2017), in the order of the paper.

z is the block input, i, f and o the input, forget and output gate, c the cell state, y the output.
Peepholes are diagonal: a vector per gate. A removed gate has no parameters.
"""

from torch import sigmoid, tanh


def lstm_vanilla(W, R, p, b, x, y, c):
    """Vanilla LSTM: three gates, diagonal peepholes, output activation.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant V; Graves & Schmidhuber (2005).
    Reading: the input and forget gate look at the old cell state, the output gate at the new one.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + p.i * c + b.i)
    f = sigmoid(W.f @ x + R.f @ y + p.f * c + b.f)
    c = z * i + c * f
    o = sigmoid(W.o @ x + R.o @ y + p.o * c + b.o)
    return tanh(c) * o, c


def nig(W, R, p, b, x, y, c):
    """No input gate, i = 1.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant NIG.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    f = sigmoid(W.f @ x + R.f @ y + p.f * c + b.f)
    c = z + c * f
    o = sigmoid(W.o @ x + R.o @ y + p.o * c + b.o)
    return tanh(c) * o, c


def nfg(W, R, p, b, x, y, c):
    """No forget gate, f = 1: a pure accumulator.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant NFG.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + p.i * c + b.i)
    c = z * i + c
    o = sigmoid(W.o @ x + R.o @ y + p.o * c + b.o)
    return tanh(c) * o, c


def nog(W, R, p, b, x, y, c):
    """No output gate, o = 1.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant NOG.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + p.i * c + b.i)
    f = sigmoid(W.f @ x + R.f @ y + p.f * c + b.f)
    c = z * i + c * f
    return tanh(c), c


def niaf(W, R, p, b, x, y, c):
    """No input activation function: the block input is linear.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant NIAF.
    """
    z = W.z @ x + R.z @ y + b.z
    i = sigmoid(W.i @ x + R.i @ y + p.i * c + b.i)
    f = sigmoid(W.f @ x + R.f @ y + p.f * c + b.f)
    c = z * i + c * f
    o = sigmoid(W.o @ x + R.o @ y + p.o * c + b.o)
    return tanh(c) * o, c


def noaf(W, R, p, b, x, y, c):
    """No output activation function: the output is unbounded.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant NOAF.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + p.i * c + b.i)
    f = sigmoid(W.f @ x + R.f @ y + p.f * c + b.f)
    c = z * i + c * f
    o = sigmoid(W.o @ x + R.o @ y + p.o * c + b.o)
    return c * o, c


def np(W, R, b, x, y, c):
    """No peepholes: the same equations as `lstm`.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant NP.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + b.i)
    f = sigmoid(W.f @ x + R.f @ y + b.f)
    c = z * i + c * f
    o = sigmoid(W.o @ x + R.o @ y + b.o)
    return tanh(c) * o, c


def cifg(W, R, p, b, x, y, c):
    """Coupled input and forget gate: what is forgotten is written, i = 1 - f.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant CIFG.
    Reading: the paper keeps the input gate and sets f = 1 - i; naming the kept gate f only changes
        the sign of its weights.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    f = sigmoid(W.f @ x + R.f @ y + p.f * c + b.f)
    c = z * (1 - f) + c * f
    o = sigmoid(W.o @ x + R.o @ y + p.o * c + b.o)
    return tanh(c) * o, c


def fgr(W, R, p, b, x, y, c, i, f, o):
    """Full gate recurrence: nine more matrices lead from the gates of the last step to this one's.

    Source: Greff, Srivastava, Koutník, Steunebrink & Schmidhuber (2017), LSTM: a search space
        odyssey, variant FGR; the original LSTM of Hochreiter & Schmidhuber (1997) had these
        connections.
    Reading: R.fi leads from the forget gate of the last step to the input gate of this one; gates
        start at 0.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i_new = sigmoid(W.i @ x + R.i @ y + R.ii @ i + R.fi @ f + R.oi @ o + p.i * c + b.i)
    f_new = sigmoid(W.f @ x + R.f @ y + R.if_ @ i + R.ff @ f + R.of @ o + p.f * c + b.f)
    c = z * i_new + c * f_new
    o_new = sigmoid(W.o @ x + R.o @ y + R.io @ i + R.fo @ f + R.oo @ o + p.o * c + b.o)
    return tanh(c) * o_new, c, i_new, f_new, o_new
