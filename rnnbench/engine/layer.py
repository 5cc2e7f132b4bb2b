"""What the engine asks of a layer: a map from sequences to sequences, for K replicas at once.

A cell, unrolled, is one kind (`layers.recurrent`); what is no step equation (a convolution,
attention) is another, derived from `Layer` and selected like a cell, also from a file of one's own.

Axes: K replicas   T time steps   B batch   I input width   H units.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.engine.init import glorot
from rnnbench.engine.loop import Params, State
from rnnbench.equations.plan import Plan
from rnnbench.errors import UserError

if TYPE_CHECKING:  # a layer in a program of somebody else needs no configuration
    from rnnbench.settings import Cell

Shapes = dict[str, tuple[int, ...]]
Draws = Callable[[str], np.random.Generator]  # the stream of each parameter, by its name
Unroll = Callable[[Plan, Params, Tensor, State], tuple[Tensor, State]]  # what computes equations


@dataclass(frozen=True)
class Place:
    """Where a layer stands: the `index`-th of so many, in a network for a task.

    horizon: the longest lag that matters in the task that it is trained on, in steps; None: the
    task names none. reach: the same of the task that it is run on, which may be longer.
    symbols: whether the first layer reads symbols. stops: those of them that end a sentence.
    """

    index: int
    layers: int
    horizon: int | None
    symbols: bool
    stops: tuple[int, ...] = ()
    reach: int | None = None


class Layer:
    """Base of every kind of layer.

    A layer holds no parameters: it says their `shapes`, how they start, and what it computes of
    them. A new kind says `shapes` and `__call__`, and what of the rest differs. Numbers and words
    that can be set (`cell.constants`, `cell.options`) are the keyword arguments of its constructor.

    Its docstring has the form of a cell's: what it is, `Source:`, `Reading:`.

    plan: the equations, where the layer is a cell's and nothing else.
    names: of its states, (K, B, …) each, which go from one window of a long sequence to the next.
    definition: what it computes, a line per formula.
    multiple: the units must be a multiple of it.
    placed: arguments of the constructor that `at` fills in, and nobody sets.
    """

    plan: Plan | None = None
    definition: tuple[str, ...] = ()
    multiple: int = 1
    placed: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """What it is called in messages."""
        return type(self).__name__

    @property
    def told(self) -> str:
        """What follows from its settings and its place, in words: levels, receptive field."""
        return ""

    @property
    def names(self) -> tuple[str, ...]:
        return ()

    def at(self, place: Place) -> "Layer":
        """The layer for its place in a network."""
        return self

    def width(self, hidden: int) -> int:
        """Numbers that it hands on at each step."""
        return hidden

    def shapes(self, inputs: int, hidden: int) -> Shapes:
        """Its parameters, without the replica axis."""
        raise NotImplementedError

    def initial(
        self, cell: "Cell", draw: Draw, index: int, inputs: int, hidden: int, horizon: int | None
    ) -> dict[str, np.ndarray]:
        """How the parameters of one replica start, by the name of each, as in `shapes`.

        Raises UserError for what `cell` asks and this layer cannot do.
        """
        self.refuse_gates(cell)
        return self.start_of(self.shapes(inputs, hidden), lambda name: draw(f"init {index} {name}"))

    def start_of(self, shapes: Shapes, draw: Draws) -> dict[str, np.ndarray]:
        """The parameters of one replica at the start.

        Here: matrices uniform after Glorot, vectors at zero; the last axis of a parameter is its
        columns, all before are rows.
        """
        made = {}
        for name, shape in shapes.items():
            rows = prod(shape[:-1])
            drawn = glorot(draw(name), rows, shape[-1], 0.0) if len(shape) > 1 else np.zeros(shape)
            made[name] = drawn.reshape(shape)
        return made

    def refuse_gates(self, cell: "Cell") -> None:
        """Refuse what sets the recurrent matrices and gates of a cell, where there are none."""
        asked = {
            f"cell.init={cell.init}": cell.init not in ("paper", "orthogonal", "glorot"),
            f"cell.forget_bias={cell.forget_bias}": cell.forget_bias is not None,
            f"cell.forget={cell.forget}": cell.forget is not None,
            f"cell.write={cell.write}": cell.write is not None,
            f"cell.paper={cell.paper}": bool(cell.paper),
        }
        for setting, meant in asked.items():
            if meant:
                raise UserError(
                    f"{setting} has no effect: {self.name} is a layer without gates and recurrent "
                    f"matrices, and starts in its own way; leave it out"
                )

    def count(self, inputs: int, hidden: int) -> int:
        """Parameters."""
        return sum(map(prod, self.shapes(inputs, hidden).values()))

    def flops(self, inputs: int, hidden: int) -> int:
        """Floating-point operations in one step of one sequence, forward.

        Here: a multiplication and an addition for every parameter.
        """
        return 2 * self.count(inputs, hidden)

    def carried(self, inputs: int, hidden: int, steps: int) -> int:
        """Numbers of one sequence that the next step reads, after so many steps: states, or what a
        layer without them has to look back at.
        """
        start = self.start(torch.zeros(1, 1), 1, hidden)
        return sum(state.numel() for state in start)

    def kept(self, hidden: int) -> int:
        """Numbers a step and sequence that training keeps for the backward pass, at least."""
        return hidden

    def start(self, like: Tensor, batch: int, hidden: int) -> State:
        """The states before the first step, each (K, B, …). like: parameters (K, ·)."""
        return ()

    def thinned(self, state: State, steps: int, draws: Sequence[np.random.Generator]) -> State:
        """The states before a training step of so many time steps, with noise where the layer has
        some. draws: a stream for each replica.
        """
        return state

    def chosen(
        self, engine: str, device: str, dtype: torch.dtype, replicas: int
    ) -> tuple[str, Unroll | None]:
        """(the engine that computes this layer, its unroll if it computes equations).

        Raises UserError for one that cannot.
        """
        if engine not in ("auto", "loop", "torch"):
            raise UserError(
                f"engine={engine} computes the equations of cells; {self.name} is a layer of "
                f"another kind, computed by PyTorch: use engine=auto"
            )
        return "torch", None

    def by(self, unroll: Unroll | None) -> "Layer":
        """The same layer with its equations computed by `unroll`."""
        return self

    def __call__(self, params: Params, x: Tensor, state: State) -> tuple[Tensor, State]:
        """All steps from `state`: the outputs (K, T, B, width) and the last state.

        x: inputs (K, T, B, I), or symbols (K, T, B). No step sees a later one.
        """
        raise NotImplementedError

    def gates(self, params: Params, x: Tensor, state: State) -> dict[str, Tensor]:
        """What its gates do along the sequences: name → (K, T, B, H)."""
        return {}
