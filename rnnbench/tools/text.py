"""Text that a network writes, character by character: any task that reads characters and predicts
the next one.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rnnbench.draw import Draw
from rnnbench.engine.loop import State
from rnnbench.errors import UserError
from rnnbench.tasks import arithmetic, xml
from rnnbench.tasks.contract import Task
from rnnbench.tools.opening import Opened


@dataclass(frozen=True)
class Alphabet:
    """reads: the character behind every input symbol; writes: behind every output.

    start: what is read where nothing is given. ends: the character after which there is no more to
    say; empty: there always is.
    """

    reads: str
    writes: str
    start: str
    ends: str = ""


def alphabet(task: Task) -> Alphabet | None:
    """The characters of a task; None if its symbols are none."""
    if isinstance(task, arithmetic.Arithmetic):
        return Alphabet(arithmetic.ALPHABET, arithmetic.ANSWER, "", ends=".")
    if isinstance(task, xml.Xml):
        return Alphabet(xml.ALPHABET, xml.ALPHABET, ">")
    symbols: str | None = getattr(getattr(task, "text", None), "symbols", None)
    if symbols is None:
        return None
    return Alphabet(symbols, symbols, next((mark for mark in "\n " if mark in symbols), symbols[0]))


def continuation(
    run: Opened, prompt: str = "", length: int = 500, temperature: float = 1.0, seed: int = 0
) -> Iterator[str]:
    """The characters that follow the prompt, as they are made.

    UserError, before the first, for what cannot be.

    temperature: 1 draws from the network's probabilities, less is more predictable, 0 always takes
        the most probable. Equal arguments give equal texts.
    """
    known = alphabet(run.task)
    if known is None:
        raise UserError(f"{run.name} writes no text")
    refuse_odd(length, temperature)
    if strange := dict.fromkeys(mark for mark in prompt if mark not in known.reads):
        named = ", ".join(
            f"{mark!r} ({unicodedata.name(mark, f'U+{ord(mark):04X}')})" for mark in strange
        )
        raise UserError(
            f"--prompt has what this model has never seen: {named}; it knows {len(known.reads)} "
            f"characters: {known.reads!r}"
        )
    if not (given := prompt or known.start):
        raise UserError(
            f"{run.settings.task['name']} answers what it is asked; give it a --prompt, such as "
            f"'12-7='"
        )
    return _characters(run, known, given, length, temperature, Draw(seed)("sample"))


def _characters(
    run: Opened,
    known: Alphabet,
    given: str,
    length: int,
    temperature: float,
    rng: np.random.Generator,
) -> Iterator[str]:
    places = [known.reads.index(mark) for mark in given]
    states = run.network.zero_state(1)
    for _ in range(length):
        logits, states = following(run, torch.tensor(places)[None, :, None], states)
        mark = known.writes[drawn(logits, temperature, rng)]
        yield mark
        if mark == known.ends:
            return
        places = [known.reads.index(mark)]


@torch.no_grad()
def following(run: Opened, x: Tensor, states: Sequence[State]) -> tuple[np.ndarray, list[State]]:
    """What the network predicts after reading x, (1, T, 1, …): (C,) in float64; and its states
    then.
    """
    prediction, after = run.network(run.unroll, x.to(run.network.flat.device), states, last=True)
    if not prediction.isfinite().all():
        raise UserError(
            f"the network's outputs are not finite, so that nothing can be drawn from them: "
            f"{run.name}"
        )
    return prediction[0, 0].double().cpu().numpy(), after


def drawn(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    """A class by its probability at this temperature."""
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # next to 0, where all but the largest vanish
        heights = np.exp((logits - logits.max()) / temperature).cumsum()
    return int(
        min(np.searchsorted(heights, rng.random() * heights[-1], side="right"), len(heights) - 1)
    )


def refuse_odd(length: int, temperature: float) -> None:
    if length < 1:
        raise UserError(f"--length must be at least 1, got {length}")
    if not 0 <= temperature < float("inf"):
        raise UserError(f"--temperature must be a number of at least 0, got {temperature:g}")
