"""Discretised differential equations: gradients that neither vanish nor explode by construction."""

from torch import sigmoid, tanh


def lem(W, R, b, x, y, z, *, dt=1.0):
    """Long expressive memory: two states, each with a learnt time step of its own.

    Source: Rusch, Mishra, Erichson & Mahoney (2022), Long expressive memory for sequence modeling,
        eq. 3.
    """
    s = dt * sigmoid(W.s @ x + R.s @ y + b.s)
    f = dt * sigmoid(W.f @ x + R.f @ y + b.f)
    z = (1 - s) * z + s * tanh(W.z @ x + R.z @ y + b.z)
    y = (1 - f) * y + f * tanh(W.y @ x + R.y @ z + b.y)
    return y, z


def cornn(W, R, b, x, y, z, *, dt=0.042, gamma=2.7, epsilon=4.7):
    """Coupled oscillators: y is a position, z its velocity.

    Source: Rusch & Mishra (2021), Coupled oscillatory recurrent neural network (coRNN), eq. 3.
    Reading: friction acts on the velocity before the step, as in the authors' code; the constants
        are theirs for sequential MNIST.
    """
    force = tanh(W.z @ x + R.y @ y + R.z @ z + b.z)
    z = z + dt * (force - gamma * y - epsilon * z)
    y = y + dt * z
    return y, z


def unicornn(W, p, b, x, y, z, *, dt=0.1, alpha=1.0):
    """Undamped oscillators, independent of each other, each with a learnt time step.

    Source: Rusch & Mishra (2021), UnICORNN: a recurrent model for learning very long time
        dependencies, eq. 5.
    Reading: one layer; the authors tune dt and alpha for every task.
    """
    s = dt * sigmoid(p.s)
    z = z - s * (tanh(W.z @ x + p.y * y + b.z) + alpha * y)
    y = y + s * z
    return y, z
