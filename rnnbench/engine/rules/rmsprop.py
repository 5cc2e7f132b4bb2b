"""RMSprop (Tieleman and Hinton, 2012), with momentum where it is set, as in torch.optim.RMSprop."""

from rnnbench.engine.rule import Columns, Given, Numbers, Rule, State, Tensor


def derive(numbers: Numbers) -> Columns:
    """The weight of a fresh squared gradient, and momentum where any replica has some."""
    momentum = numbers["momentum"]
    return {
        "fresh": [1 - decay for decay in numbers["decay"]],
        "eps": numbers["eps"],
        "momentum": momentum if any(momentum) else None,
    }


def update(parameters: Tensor, gradient: Tensor, rate: Tensor, state: State, given: Given) -> None:
    square = state["square"].lerp_(gradient * gradient, given["fresh"])
    step = gradient / (square.sqrt() + given["eps"])
    momentum = given["momentum"]
    if momentum is not None:
        step = state["velocity"].mul_(momentum).add_(step)
    parameters.addcmul_(step, -rate)


RULE = Rule(
    update,
    numbers=("momentum", "decay", "eps"),
    buffers=("square", "velocity"),
    derive=derive,
)
