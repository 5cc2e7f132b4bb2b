"""Adam (Kingma and Ba, 2015), as in torch.optim.Adam."""

import math

from rnnbench.engine.rule import Columns, Given, Numbers, Rule, State, Tensor


def derive(numbers: Numbers) -> Columns:
    """The weights of fresh gradients, and logarithms: expm1 keeps 1 - βᵗ exact."""
    beta1, beta2 = numbers["beta1"], numbers["beta2"]
    return {
        "fresh1": [1 - beta for beta in beta1],
        "fresh2": [1 - beta for beta in beta2],
        "log1": [math.log(beta) if beta else -math.inf for beta in beta1],
        "log2": [math.log(beta) if beta else -math.inf for beta in beta2],
        "eps": numbers["eps"],
    }


def update(parameters: Tensor, gradient: Tensor, rate: Tensor, state: State, given: Given) -> None:
    """rate/(1-β1ᵗ)·m / (√(v/(1-β2ᵗ)) + ε), with both corrections moved to the vectors over K."""
    count = state["count"].add_(1)[:, None]
    mean = state["mean"].lerp_(gradient, given["fresh1"])
    square = state["square"].lerp_(gradient * gradient, given["fresh2"])
    root = (count * given["log2"]).expm1().neg().sqrt()
    step = mean / (square.sqrt() + given["eps"] * root)
    # the denominator is -(1 - β1ᵗ), which turns the step downhill
    parameters.addcmul_(step, rate * root / (count * given["log1"]).expm1())


RULE = Rule(
    update,
    numbers=("beta1", "beta2", "eps"),
    buffers=("mean", "square"),
    counts=True,
    derive=derive,
)
