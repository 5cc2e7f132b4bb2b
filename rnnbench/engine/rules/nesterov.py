"""Gradient descent with Nesterov's momentum, as in torch.optim.SGD(nesterov=True)."""

from rnnbench.engine.rule import Given, Rule, State, Tensor
from rnnbench.engine.rules.sgd import derive


def update(parameters: Tensor, gradient: Tensor, rate: Tensor, state: State, given: Given) -> None:
    momentum = given["momentum"]
    if momentum is not None:
        velocity = state["velocity"].mul_(momentum).add_(gradient)
        gradient = gradient.addcmul_(velocity, momentum)
    parameters.addcmul_(gradient, -rate)


RULE = Rule(update, numbers=("momentum", "dampen"), buffers=("velocity",), derive=derive)
