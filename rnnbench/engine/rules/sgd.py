"""Gradient descent, with heavy-ball momentum where it is set, as in torch.optim.SGD."""

from rnnbench.engine.rule import Columns, Given, Numbers, Rule, State, Tensor


def derive(numbers: Numbers) -> Columns:
    """Momentum, where any replica has some."""
    momentum = numbers["momentum"]
    return {"momentum": momentum if any(momentum) else None}


def update(parameters: Tensor, gradient: Tensor, rate: Tensor, state: State, given: Given) -> None:
    momentum = given["momentum"]
    if momentum is not None:
        gradient = state["velocity"].mul_(momentum).add_(gradient)
    parameters.addcmul_(gradient, -rate)


RULE = Rule(update, numbers=("momentum", "dampen"), buffers=("velocity",), derive=derive)
