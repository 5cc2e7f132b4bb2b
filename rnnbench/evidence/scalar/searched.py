"""Cells found by search, number by number: NASCell as TensorFlow numbers its products, DARTS and
ENAS from their published tables.

Shares no code with rnnbench.cells.
"""

from cmath import tanh

from rnnbench.evidence.arithmetic import States, Vector, Weights, dot, highway_tree, relu, sigmoid

# TensorFlow's numbers 0 … 7 → our blocks
NUMBERED = ("a", "b", "d", "e", "f", "g", "i", "o")


def nascell(w: Weights, x: Vector, m: Vector, c: Vector) -> States:
    """Zoph & Le (2017) in TensorFlow 1: x_k and m_k are the eight products of each; pair 3 is
    multiplied.
    """
    out: Vector = []
    kept: Vector = []
    for k in range(len(m)):
        of_x = [dot(w[f"W.{name}"][k], x) for name in NUMBERED]
        of_m = [dot(w[f"R.{name}"][k], m) for name in NUMBERED]
        pair = [p + q for p, q in zip(of_x, of_m, strict=True)]
        first = [
            *(sigmoid(pair[0]), relu(pair[1]), sigmoid(pair[2]), relu(of_x[3] * of_m[3])),
            *(tanh(pair[4]), sigmoid(pair[5]), tanh(pair[6]), sigmoid(pair[7])),
        ]
        second = [
            *(tanh(first[0] * first[1]), tanh(first[2] + first[3])),
            *(tanh(first[4] * first[5]), sigmoid(first[6] + first[7])),
        ]
        kept.append(tanh(second[0] + c[k]) * second[1])
        out.append(tanh(kept[k] * tanh(second[2] + second[3])))
    return out, kept


def darts_v1(w: Weights, x: Vector, h: Vector) -> States:
    """Genotype DARTS_V1: (activation, predecessor) of each node, and the mean of all."""
    genes = "relu 0 relu 1 tanh 2 relu 3 relu 4 identity 1 relu 5 relu 1"
    return highway_tree(genes, range(1, 9), w, x, h)


def darts_v2(w: Weights, x: Vector, h: Vector) -> States:
    """Genotype DARTS_V2, likewise."""
    genes = "sigmoid 0 relu 1 relu 1 identity 1 tanh 2 sigmoid 5 tanh 3 relu 5"
    return highway_tree(genes, range(1, 9), w, x, h)


def enas(w: Weights, x: Vector, h: Vector) -> States:
    """Genotype ENAS of DARTS' code: the mean is over the leaves."""
    genes = "tanh 0 tanh 1 relu 1 tanh 3 tanh 3 relu 3 relu 4 relu 7 relu 8 relu 8 relu 8"
    return highway_tree(genes, (2, 5, 6, 9, 10, 11), w, x, h)
