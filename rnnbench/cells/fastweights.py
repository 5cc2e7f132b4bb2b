"""Matrices as states: linear attention, the delta rule, the matrix memory of xLSTM.

Each of the `heads` has n / heads units, and a square matrix of them, which keys k and values v
write and queries q read.
"""

from torch import abs, exp, maximum, minimum, norm, outer, sigmoid, sum, where
from torch.nn.functional import logsigmoid


def linattn(
    W: "q k v: heads H/heads",
    b: "q k v: heads H/heads",
    x,
    y: "heads H/heads",
    S: "heads H/heads H/heads",
    z: "heads H/heads",
    *,
    heads=1,
):
    """Linear attention: a sum of key–value products, read by the query.

    Source: Katharopoulos, Vyas, Pappas & Fleuret (2020), Transformers are RNNs: fast autoregressive
        Transformers with linear attention.
    Reading: with biases; a and d are what elu(·) + 1 is taken of.
    """
    a = W.q @ x + b.q
    q = where(a > 0, a + 1, exp(minimum(a, 0.0)))
    d = W.k @ x + b.k
    k = where(d > 0, d + 1, exp(minimum(d, 0.0)))
    v = W.v @ x + b.v
    S = S + outer(k, v)
    z = z + k
    return (q @ S) / sum(z * q, -1), S, z


def deltanet(
    W: "q k v: heads H/heads, beta: heads",
    b: "q k v: heads H/heads, beta: heads",
    x,
    y: "heads H/heads",
    S: "heads H/heads H/heads",
    *,
    heads=1,
    reach=1.0,
):
    """Linear attention by the delta rule: what a key held before is replaced, not added to.

    Source: Schlag, Irie & Schmidhuber (2021), Linear Transformers are secretly fast weight
        programmers; keys and queries as in Yang, Wang, Zhang, Shen & Kim (2024), Parallelizing
        linear Transformers with the delta rule over sequence length.
    Reading: without the convolution and the norm around it, with biases. reach: of the writing
        strength; 2 lets a transition have the eigenvalue −1 (Grazzi et al., 2025).
    """
    a = W.q @ x + b.q
    s = a * sigmoid(a)
    q = s / maximum(norm(s, dim=-1), 1e-12)
    d = W.k @ x + b.k
    t = d * sigmoid(d)
    k = t / maximum(norm(t, dim=-1), 1e-12)
    v = W.v @ x + b.v
    beta = reach * sigmoid(W.beta @ x + b.beta)
    S = S + outer(beta * k, v - k @ S)
    return q @ S, S


def mlstm(
    W: "q k v o: heads H/heads, i f: heads",
    b: "q k v o: heads H/heads, i f: heads",
    x,
    y: "heads H/heads",
    C: "heads H/heads H/heads",
    n: "heads H/heads",
    m: "heads",
    *,
    heads=1,
):
    """Matrix LSTM: a matrix of key–value products, with exponential gates and a normaliser.

    Source: Beck et al. (2024), xLSTM: extended long short-term memory, eqs. 19 to 27.
    Reading: the sigmoid form of the forget gate, whose bias starts between 3 and 6 over heads, as
        in the authors' code; the output gate is dense; every projection has a bias. The stabiliser
        is the paper's. Without the block around it (model.block=residual is another).
    """
    q = W.q @ x + b.q
    k = W.k @ x + b.k
    v = W.v @ x + b.v
    o = sigmoid(W.o @ x + b.o)
    i = W.i @ x + b.i
    f = logsigmoid(W.f @ x + b.f) + m
    m = maximum(f, i)
    keep = exp(f - m)
    write = exp(i - m) / k.size(-1) ** 0.5
    C = keep * C + outer(write * k, v)
    n = keep * n + write * k
    y = o * (q @ C) / maximum(abs(sum(n * q, -1)), exp(-m))
    return y, C, n, m
