"""Long short-term memory as textbooks draw it, and the ablations of Jozefowicz et al. (2015).

z is the block input, i, f and o the input, forget and output gate, c the cell state, y the output.
The variants of Greff et al. (2017) are in `odyssey.py`.
"""

from torch import sigmoid, tanh


def lstm(W, R, b, x, y, c):
    """Long short-term memory without peepholes: what PyTorch and most textbooks mean by LSTM.

    Source: Hochreiter & Schmidhuber (1997); forget gate by Gers, Schmidhuber & Cummins (2000).
    Reading: one bias per gate (PyTorch keeps two). Jozefowicz et al. (2015) print tanh for the
        output gate; sigmoid, as in every implementation we know, is used here.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + b.i)
    f = sigmoid(W.f @ x + R.f @ y + b.f)
    c = z * i + c * f
    o = sigmoid(W.o @ x + R.o @ y + b.o)
    return tanh(c) * o, c


def lstm_i(W, R, b, x, y, c):
    """LSTM without input gate, i = 1.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures, LSTM-i.
    Reading: no peepholes (Greff's NIG has them); the output gate is a sigmoid although the paper
        prints tanh.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    f = sigmoid(W.f @ x + R.f @ y + b.f)
    c = z + c * f
    o = sigmoid(W.o @ x + R.o @ y + b.o)
    return tanh(c) * o, c


def lstm_f(W, R, b, x, y, c):
    """LSTM without forget gate, f = 1.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures, LSTM-f.
    Reading: no peepholes (Greff's NFG has them); the output gate is a sigmoid although the paper
        prints tanh.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + b.i)
    c = z * i + c
    o = sigmoid(W.o @ x + R.o @ y + b.o)
    return tanh(c) * o, c


def lstm_o(W, R, b, x, y, c):
    """LSTM without output gate, o = 1.

    Source: Jozefowicz, Zaremba & Sutskever (2015), An empirical exploration of recurrent network
        architectures, LSTM-o.
    Reading: no peepholes (Greff's NOG has them).
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + b.i)
    f = sigmoid(W.f @ x + R.f @ y + b.f)
    c = z * i + c * f
    return tanh(c), c


def lstm_peephole_full(W, R, b, x, y, c):
    """LSTM whose gates read the cell state through full matrices, as textbooks draw it.

    Source: Gers & Schmidhuber (2000), Recurrent nets that time and count; drawn with full matrices
        in textbooks.
    Reading: the papers' peepholes are diagonal (`lstm_vanilla`); here every gate sees every cell.
        The input and forget gate read the old cell state, the output gate the new one.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    i = sigmoid(W.i @ x + R.i @ y + R.ci @ c + b.i)
    f = sigmoid(W.f @ x + R.f @ y + R.cf @ c + b.f)
    c = z * i + c * f
    o = sigmoid(W.o @ x + R.o @ y + R.co @ c + b.o)
    return tanh(c) * o, c


def coupled(W, R, b, x, y, c):
    """LSTM with coupled gates and no peepholes: what is forgotten is written, i = 1 - f.

    Source: Greff et al. (2017), LSTM: a search space odyssey, variant CIFG, drawn without peepholes
        in textbooks.
    Reading: the forget gate is kept and the input gate derived; the other choice renames f to 1 -
        i.
    """
    z = tanh(W.z @ x + R.z @ y + b.z)
    f = sigmoid(W.f @ x + R.f @ y + b.f)
    c = z * (1 - f) + c * f
    o = sigmoid(W.o @ x + R.o @ y + b.o)
    return tanh(c) * o, c
