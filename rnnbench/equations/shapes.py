"""How many numbers a value of a step has, and along which axes.

Nearly every value is a vector with one number a unit. A cell that needs others says so in its
signature, for states and for blocks:

    def deltanet(W: "q k v: heads H/heads, beta: heads", x, y: "heads H/heads", …, *, heads=1)

An axis is a number, a constant of the cell, H (the units), or one of these divided by another; a
constant of 0 stands for as many as the task's horizon has steps; "1" alone is a single number.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any


@dataclass(frozen=True)
class Axis:
    """number: of the axis, or of units or of the horizon's steps, as `of` says: "", "H" or "T"."""

    number: Fraction
    of: str = ""

    def long(self, hidden: int) -> int:
        """How long it is with so many units."""
        assert self.of != "T", "a layer in its place knows the horizon"
        above = self.number.numerator * (hidden if self.of else 1)
        return above // self.number.denominator

    def at(self, steps: int) -> "Axis":
        """The same where the horizon has so many steps."""
        return Axis(self.number * steps) if self.of == "T" else self

    def __str__(self) -> str:
        if not self.of:
            return f"{self.number}"
        unit = {"H": "n", "T": "steps"}[self.of]
        below = "" if self.number.denominator == 1 else f"/{self.number.denominator}"
        return f"{'' if self.number.numerator == 1 else self.number.numerator}{unit}{below}"


Shape = tuple[Axis, ...]
UNITS: Shape = (Axis(Fraction(1), "H"),)


def parse(text: str, constants: Mapping[str, Any]) -> Shape:
    """The shape that an annotation writes. ValueError for a word that is no size."""
    if text.split() == ["1"]:
        return ()
    return tuple(_axis(word, constants) for word in text.split())


def _axis(word: str, constants: Mapping[str, Any]) -> Axis:
    above, _, below = word.partition("/")
    size, divisor = _size(above, constants), _size(below or "1", constants)
    if divisor.of or not divisor.number:
        raise ValueError(f"'{below}' cannot be divided by")
    return Axis(size.number / divisor.number, size.of)


def _size(word: str, constants: Mapping[str, Any]) -> Axis:
    if word == "H":
        return Axis(Fraction(1), "H")
    number = constants.get(word, word)
    if not re.fullmatch(r"\d+(\.0+)?", str(number)):
        got = f"{word} = {number}" if word in constants else f"'{word}'"
        known = ", ".join(["H", *constants])
        raise ValueError(f"{got} is no size: write a whole number or one of {known}")
    whole = Fraction(str(number))
    return Axis(whole) if whole else Axis(Fraction(1), "T")


def declared(text: str, constants: Mapping[str, Any]) -> dict[str, Shape]:
    """Block → shape, of the annotation of a family: "q k: heads H/heads, beta: heads"."""
    found: dict[str, Shape] = {}
    for part in text.split(","):
        names, colon, shape = part.partition(":")
        if not colon:
            raise ValueError(f"'{part.strip()}' is no 'names: sizes'")
        found |= dict.fromkeys(names.split(), parse(shape, constants))
    return found


def together(shapes: Iterable[Shape]) -> Shape | None:
    """The shape of values that meet one by one: equal ones, or one that begins as the longer does,
    so that a number a head goes with a vector a head. None if they do not fit.
    """
    found: Shape = ()
    for shape in shapes:
        short, long = sorted((found, shape), key=len)
        if long[: len(short)] != short:
            return None
        found = long
    return found


def sizes(shape: Shape, hidden: int) -> tuple[int, ...]:
    return tuple(axis.long(hidden) for axis in shape)


def size(shape: Shape, hidden: int) -> int:
    """Numbers of a value."""
    return math.prod(sizes(shape, hidden))


def written(shape: Shape) -> str:
    return " × ".join(map(str, shape)) or "1"


def multiple(shapes: Iterable[Shape]) -> int:
    """What the units must be a multiple of, so that all of them are whole."""
    axes = [axis for shape in shapes for axis in shape if axis.of == "H"]
    return math.lcm(*(axis.number.denominator for axis in axes))
