"""Plain recurrent networks: one state, no or one gate."""

from torch import relu as rectified
from torch import sigmoid
from torch import tanh as squashed


def tanh(W, R, b, x, h):
    """Simple recurrent network with tanh units.

    Source: Elman (1990), Finding structure in time.
    """
    return squashed(W.h @ x + R.h @ h + b.h)


def relu(W, R, b, x, h):
    """Simple recurrent network with rectified linear units.

    Source: Le, Jaitly & Hinton (2015), A simple way to initialize recurrent networks of rectified
        linear units.
    Reading: the equation alone; `irnn` is this cell started at the identity.
    """
    return rectified(W.h @ x + R.h @ h + b.h)


def indrnn(W, p, b, x, h):
    """Independently recurrent network: each unit remembers only itself, by a weight of its own.

    Source: Li, Li, Cook, Zhu & Gao (2018), Independently recurrent neural network (IndRNN), eq. 2.
    Reading: one layer as printed; the recurrent weights start in U(0, 2^(1/T)) and are not clamped
        during training.
    """
    return rectified(W.h @ x + p.h * h + b.h)


def ugrnn(W, R, b, x, h):
    """Update-gate network: one gate decides between the old state and the candidate.

    Source: Collins, Sohl-Dickstein & Sussillo (2017), Capacity and trainability in recurrent neural
        networks.
    Reading: candidate tanh; the constant that the authors add to the gate's bias is `forget_bias`
        here.
    """
    c = squashed(W.c @ x + R.c @ h + b.c)
    g = sigmoid(W.g @ x + R.g @ h + b.g)
    return g * h + (1 - g) * c
