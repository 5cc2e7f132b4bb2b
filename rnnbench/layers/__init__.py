"""What maps a sequence to a sequence for K replicas, a file per kind: any cell, unrolled, is one.

A kind is a class derived from `engine.layer.Layer`, selected like a cell.
"""

import inspect
from typing import Any

from rnnbench.catalogue import resolve
from rnnbench.engine.layer import Layer
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.layers.recurrent import Recurrent
from rnnbench.settings import Cell


def is_layer(target: Any) -> bool:
    """Whether what `cell.step` names is a kind of layer; else it is a cell's function."""
    return inspect.isclass(target) and issubclass(target, Layer)


def layer_of(cell: Cell) -> Layer:
    """The layer that these settings select. Raises UserError if there is none, or if it has not a
    constant.
    """
    target = resolve(cell.step, "cell.step")
    if not is_layer(target):
        return Recurrent(plan(target, cell.constants))
    known = [p.name for p in inspect.signature(target).parameters.values()]
    for name in cell.constants:
        if name not in known:
            raise UserError(
                f"cell.constants.{name}: {target.__name__} has {', '.join(known) or 'no constants'}"
            )
    made: Layer = target(**cell.constants)
    return made
