"""What an optimiser is: its numbers, what it remembers, and how it changes parameters.

One of ours is a file in `engine/rules`; one from outside is an entry point of the group
`rnnbench.engine.rules`, or a file of one's own: `optim=path/to/file.py:NAME`. Loads no torch, so
that settings can be checked without it.

Axes: K replicas   P parameters of one replica.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor as Tensor
else:
    Tensor = Any

Numbers = Mapping[str, Sequence[float]]  # name → what every replica has
Columns = Mapping[str, Sequence[float] | None]
State = Mapping[str, Tensor]
Given = Mapping[str, Any]  # name → (K, 1), or None


def as_given(numbers: Numbers) -> Columns:
    """The numbers themselves are what the update reads."""
    return numbers


@dataclass(frozen=True)
class Rule:
    """update: of the parameters (K, P), in place, from the gradient (K, P), which it may overwrite,
    the rate (K, 1), the state by name, and what `derive` made, (K, 1) each. Nothing may reduce over
    K: a replica's numbers are what they would be alone.

    numbers: keys of `optim.` that it needs beside the learning rate. constants: further ones that
    it leaves open, `optim.constants.NAME`, with their defaults.
    buffers: names of the states, (K, P) each, which start at zero. counts: whether there is a state
    `count`, (K), which the update increments.
    derive: from the numbers of every replica, what the update reads: a list of K, or None for what
    no replica needs. It is computed in double precision, whatever the parameters are.
    """

    update: Callable[[Tensor, Tensor, Tensor, State, Given], None]
    numbers: tuple[str, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    buffers: tuple[str, ...] = ()
    counts: bool = False
    derive: Callable[[Numbers], Columns] = as_given
