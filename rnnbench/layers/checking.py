"""Look at a layer of the user's once, on a few numbers, before anything is trained with it.

Axes: K replicas   T time steps   B batch.
"""

import torch
from torch import Tensor

from rnnbench.catalogue import blame
from rnnbench.draw import Draw
from rnnbench.engine.layer import Layer
from rnnbench.engine.network import Network, stacked, widths
from rnnbench.errors import UserError
from rnnbench.settings import Settings
from rnnbench.tasks.contract import Task

K, T, B = 2, 4, 3


def check_layer(kind: Layer, task: Task, settings: Settings) -> None:
    """Shapes, states, starts, and that no step sees a later one. A layer of ours is not looked at.

    Raises UserError with what is wrong, and the line of the user's file where it broke.
    """
    if settings.cell.digest is None or kind.plan is not None:
        return
    try:
        _check(kind, task, settings)
    except UserError as error:
        raise UserError(f"cell={settings.cell.name}: {error}") from error
    except Exception as error:
        raise UserError(f"cell.step: {blame(error, settings.cell.step)}") from error


def _check(kind: Layer, task: Task, settings: Settings) -> None:
    hidden = 2 * kind.multiple
    stack = stacked(kind, settings.model.layers, task.horizon, task.symbols, task.stops)
    network = Network(
        stack, K, task.inputs, hidden, task.outputs, task.symbols, torch.float64, "cpu"
    )
    reads = widths(stack, task.inputs, hidden)
    for index, layer in enumerate(stack):
        drawn = layer.initial(settings.cell, Draw(0), index, reads[index], hidden, task.horizon)
        shapes = {name: tuple(values.shape) for name, values in drawn.items()}
        if shapes != layer.shapes(reads[index], hidden):
            raise UserError(
                f"initial gives {shapes}, and shapes says {layer.shapes(reads[index], hidden)}; "
                f"give an array of its shape for every parameter"
            )
        for name, values in drawn.items():
            network.params[f"{index}.{name}"].data.copy_(torch.from_numpy(values))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(K, T, B, task.inputs, generator=generator, dtype=torch.float64)
    if task.symbols:
        x = torch.randint(0, task.inputs, (K, T, B), generator=generator)
    other = x.clone()
    other[:, -1] = (other[:, -1] + 1) % task.inputs if task.symbols else other[:, -1] + 1
    with torch.no_grad():
        first, second = _outputs(network, x), _outputs(network, other)
    if not torch.equal(first[:, :-1], second[:, :-1]):
        raise UserError(
            "the output of a step changes with the input of a later one; a layer reads the past "
            "only (model.bidirectional=true reads both ways)"
        )


def _outputs(network: Network, x: Tensor) -> Tensor:
    """Of the highest layer, each looked at on the way."""
    states = network.zero_state(B)
    for index, layer in enumerate(network.stack):
        made = layer(network.layer(index), x, states[index])
        if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Tensor)):
            raise UserError("a call returns the outputs and the states: return y, state")
        expected = (K, T, B, layer.width(network.hidden))
        if made[0].shape != expected:
            raise UserError(
                f"the outputs have shape {tuple(made[0].shape)} for inputs {tuple(x.shape)} and "
                f"{network.hidden} units; expected {expected}: replicas, steps, sequences, width"
            )
        before = [tuple(s.shape) for s in states[index]]
        after = [tuple(s.shape) for s in made[1]]
        if before != after or len(after) != len(layer.names):
            raise UserError(
                f"states have shapes {before} before and {after} after a call, and names are "
                f"{list(layer.names)}; a state keeps its shape, and each has a name"
            )
        x = made[0]
    return x
