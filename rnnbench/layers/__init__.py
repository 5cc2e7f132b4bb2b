"""What maps a sequence to a sequence for K replicas, a file per kind: any cell, unrolled, is one.

A kind is a class derived from `engine.layer.Layer`, selected like a cell; residual blocks and a
second direction go around any of them.
"""

import inspect
from dataclasses import replace
from typing import Any

from rnnbench.catalogue import blame, resolve
from rnnbench.engine.layer import Layer
from rnnbench.equations.plan import plan
from rnnbench.errors import UserError
from rnnbench.layers.bidirectional import Bidirectional
from rnnbench.layers.dropped import Dropped
from rnnbench.layers.recurrent import Recurrent
from rnnbench.layers.residual import Residual
from rnnbench.settings import Cell, Model


def is_layer(target: Any) -> bool:
    """Whether what `cell.step` names is a kind of layer; else it is a cell's function."""
    return inspect.isclass(target) and issubclass(target, Layer)


def layer_of(cell: Cell, model: Model | None = None) -> Layer:
    """The layer that these settings select, with what `model` puts around it.

    Raises UserError if there is none, or if it has not a constant or an option.
    """
    made = _bare(cell)
    if model is not None and (model.recurrent_dropout or model.zoneout):
        if not isinstance(made, Recurrent):
            asked = "recurrent_dropout" if model.recurrent_dropout else "zoneout"
            raise UserError(
                f"model.{asked}={getattr(model, asked):g} acts on the recurrence of a cell, and "
                f"{made.name} is a layer of another kind; set it to 0"
            )
        made = Dropped.around(made, model.recurrent_dropout, model.zoneout)
    if model is not None and model.bidirectional:
        made = Bidirectional(made)
    if model is not None and model.block == "residual":
        made = Residual(made)
    return made


def still(model: Model) -> Model:
    """The same without noise that is there in training alone: equal parameters, equal
    predictions, but for the mean that zoneout takes.
    """
    return model if model.zoneout else replace(model, recurrent_dropout=0)


def _bare(cell: Cell) -> Layer:
    target = resolve(cell.step, "cell.step")
    if not is_layer(target):
        for name in cell.options:
            raise UserError(f"cell.options.{name}: cell={cell.name} has no options; leave it out")
        return Recurrent(plan(target, cell.constants))
    taken = inspect.signature(target).parameters.values()
    words = {p.name: isinstance(p.default, str) for p in taken if p.name not in target.placed}
    for key, values in (("constants", cell.constants), ("options", cell.options)):
        known = [name for name, word in words.items() if word == (key == "options")]
        for name in values:
            if name not in known:
                raise UserError(
                    f"cell.{key}.{name}: {target.__name__} has {', '.join(known) or 'none'}"
                )
    try:
        made: Layer = target(**cell.constants, **cell.options)
    except Exception as error:  # of a user's class, whatever its constructor makes of its arguments
        raise UserError(f"cell.step: {blame(error, cell.step)}") from error
    return made
