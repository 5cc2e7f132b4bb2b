"""Linear recurrences: the state of a unit decays and turns, nothing bends it on the way."""

from torch import clamp, cos, exp, sigmoid, sin, sqrt
from torch.nn.functional import softplus


def lru(W, R, p, x, y, re, im):
    """Linear recurrent unit: a complex number a unit, which decays and turns, and a dense read-out.

    Source: Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences, eqs. 3
        to 6.
    Reading: two real states stand for the complex one; t is the paper's θ, g its γ. Inputs are
        normalised by √(1 − |λ|²), which follows λ, times e^g, which is learnt; the authors learn
        the whole factor from that start. The skip connection is dense, since inputs and units
        differ in number.
    """
    radius = exp(-exp(p.nu))
    angle = exp(p.t)
    a = radius * cos(angle)
    q = radius * sin(angle)
    scale = sqrt(1 - radius**2) * exp(p.g)
    u = scale * (W.u @ x)
    v = scale * (W.v @ x)
    next_re = a * re - q * im + u
    next_im = q * re + a * im + v
    y = R.c @ next_re - R.d @ next_im + W.d @ x
    return y, next_re, next_im


def rglru(W, p, b, x, h, *, c=8.0):
    """Real-gated linear recurrent unit: the decay of every unit depends on the input.

    Source: De et al. (2024), Griffin: mixing gated linear recurrences with local attention for
        efficient language models, eqs. 1 to 4.
    Reading: gates are dense and x is projected to the units; in the paper the widths are equal and
        gates are block-diagonal. Where a is next to 1 the slope of the root is cut at 1000, as in
        the authors' code.
    """
    r = sigmoid(W.r @ x + b.r)
    i = sigmoid(W.i @ x + b.i)
    a = exp(-c * r * softplus(p.a))
    rest = clamp(1 - a**2, min=2.5e-7)
    return a * h + sqrt(rest) * (i * (W.h @ x))


def s4d(W, p, x, y, re, im):
    """Diagonal state space: a continuous complex mode a unit, discretised by zero-order hold.

    Source: Gu, Gupta, Goel & Ré (2022), On the parameterization and initialization of diagonal
        state space models, with S4D-Lin.
    Reading: one mode a unit, where the paper has 32 a channel; two real states stand for a complex
        one; the step size is learnt.
    """
    step = exp(p.dt)
    decay = exp(p.a) * step
    angle = p.w * step
    size = exp(-decay)
    a = size * cos(angle)
    q = size * sin(angle)
    # (Ā − 1) / A = Δ (Ā − 1) / (ΔA), with ΔA = −decay + i angle
    square = (decay * decay + angle * angle) / step
    g = (decay * (1 - a) + angle * q) / square
    k = (angle * (1 - a) - decay * q) / square
    u = W.u @ x
    next_re = a * re - q * im + g * u
    next_im = q * re + a * im + k * u
    return 2 * (p.c * next_re - p.s * next_im) + p.d * u, next_re, next_im
