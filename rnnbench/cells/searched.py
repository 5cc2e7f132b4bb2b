"""Cells that were found by search: NASCell, ENAS and the two of DARTS.

None has biases. DARTS and ENAS are highway trees: every node moves from the value of the one before
it towards an activation of that value, as far as a gate lets it; the new state is the mean of some
of the nodes.
"""

from torch import relu, sigmoid, tanh


def nascell(W, R, x, m, c):
    """NASCell: eight products with the input, eight with the state, joined as a controller drew.

    Source: Zoph & Le (2017), Neural architecture search with reinforcement learning; as in the
        NASCell of TensorFlow 1, whose biases are off unless asked for.
    Reading: one pair of products is multiplied where all others are added.
    """
    a = sigmoid(W.a @ x + R.a @ m)
    b = relu(W.b @ x + R.b @ m)
    d = sigmoid(W.d @ x + R.d @ m)
    e = relu((W.e @ x) * (R.e @ m))
    f = tanh(W.f @ x + R.f @ m)
    g = sigmoid(W.g @ x + R.g @ m)
    i = tanh(W.i @ x + R.i @ m)
    o = sigmoid(W.o @ x + R.o @ m)
    c = tanh(tanh(a * b) + c) * tanh(d + e)
    return tanh(c * tanh(tanh(f * g) + sigmoid(i + o))), c


def darts_v1(W, R, x, h):
    """DARTS, first order: a highway tree of eight nodes.

    Source: Liu, Simonyan & Yang (2019), DARTS: differentiable architecture search; DARTS_V1 of its
        code.
    Reading: no batch normalisation, as when the paper trains the cell in full.
    """
    g = sigmoid(W.g @ x + R.g @ h)
    s0 = h + g * (tanh(W.s @ x + R.s @ h) - h)
    s1 = s0 + sigmoid(R.g1 @ s0) * (relu(R.s1 @ s0) - s0)
    s2 = s1 + sigmoid(R.g2 @ s1) * (relu(R.s2 @ s1) - s1)
    s3 = s2 + sigmoid(R.g3 @ s2) * (tanh(R.s3 @ s2) - s2)
    s4 = s3 + sigmoid(R.g4 @ s3) * (relu(R.s4 @ s3) - s3)
    s5 = s4 + sigmoid(R.g5 @ s4) * (relu(R.s5 @ s4) - s4)
    s6 = s1 + sigmoid(R.g6 @ s1) * (R.s6 @ s1 - s1)
    s7 = s5 + sigmoid(R.g7 @ s5) * (relu(R.s7 @ s5) - s5)
    s8 = s1 + sigmoid(R.g8 @ s1) * (relu(R.s8 @ s1) - s1)
    return (s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8) / 8


def darts_v2(W, R, x, h):
    """DARTS, second order: a highway tree of eight nodes.

    Source: Liu, Simonyan & Yang (2019), DARTS: differentiable architecture search; DARTS_V2 of its
        code.
    Reading: no batch normalisation, as when the paper trains the cell in full.
    """
    g = sigmoid(W.g @ x + R.g @ h)
    s0 = h + g * (tanh(W.s @ x + R.s @ h) - h)
    s1 = s0 + sigmoid(R.g1 @ s0) * (sigmoid(R.s1 @ s0) - s0)
    s2 = s1 + sigmoid(R.g2 @ s1) * (relu(R.s2 @ s1) - s1)
    s3 = s1 + sigmoid(R.g3 @ s1) * (relu(R.s3 @ s1) - s1)
    s4 = s1 + sigmoid(R.g4 @ s1) * (R.s4 @ s1 - s1)
    s5 = s2 + sigmoid(R.g5 @ s2) * (tanh(R.s5 @ s2) - s2)
    s6 = s5 + sigmoid(R.g6 @ s5) * (sigmoid(R.s6 @ s5) - s5)
    s7 = s3 + sigmoid(R.g7 @ s3) * (tanh(R.s7 @ s3) - s3)
    s8 = s5 + sigmoid(R.g8 @ s5) * (relu(R.s8 @ s5) - s5)
    return (s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8) / 8


def enas(W, R, x, h):
    """ENAS: a highway tree of eleven nodes; the new state is the mean of its leaves.

    Source: Pham, Guan, Zoph, Le & Dean (2018), Efficient neural architecture search via parameter
        sharing; the tree as the code of DARTS has it.
    Reading: the code that ENAS' authors published lists another tree, and they withdrew it.
    """
    g = sigmoid(W.g @ x + R.g @ h)
    s0 = h + g * (tanh(W.s @ x + R.s @ h) - h)
    s1 = s0 + sigmoid(R.g1 @ s0) * (tanh(R.s1 @ s0) - s0)
    s2 = s1 + sigmoid(R.g2 @ s1) * (tanh(R.s2 @ s1) - s1)
    s3 = s1 + sigmoid(R.g3 @ s1) * (relu(R.s3 @ s1) - s1)
    s4 = s3 + sigmoid(R.g4 @ s3) * (tanh(R.s4 @ s3) - s3)
    s5 = s3 + sigmoid(R.g5 @ s3) * (tanh(R.s5 @ s3) - s3)
    s6 = s3 + sigmoid(R.g6 @ s3) * (relu(R.s6 @ s3) - s3)
    s7 = s4 + sigmoid(R.g7 @ s4) * (relu(R.s7 @ s4) - s4)
    s8 = s7 + sigmoid(R.g8 @ s7) * (relu(R.s8 @ s7) - s7)
    s9 = s8 + sigmoid(R.g9 @ s8) * (relu(R.s9 @ s8) - s8)
    s10 = s8 + sigmoid(R.g10 @ s8) * (relu(R.s10 @ s8) - s8)
    s11 = s8 + sigmoid(R.g11 @ s8) * (relu(R.s11 @ s8) - s8)
    return (s2 + s5 + s6 + s9 + s10 + s11) / 6
