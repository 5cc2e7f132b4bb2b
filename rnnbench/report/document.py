"""What a report is made of, before anyone decides how it looks: sections of prose, tables and pictures.

Plain text everywhere: whoever renders escapes. A number carries its runs, so that every page can link to them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Entry:
    """One place in a table. text: as shown; aside: said more quietly after it, such as an interval.

    value: what the CSV holds and the page sorts by (None: the text). bounds: low and high, columns of their own in the CSV.
    runs: the key of the runs behind it (see `anchor`). mark: a sign after it that a note explains. code: shown as typed.
    """

    text: str
    value: Any = None
    aside: str = ""
    bounds: tuple[float, float] | None = None
    runs: str = ""
    bold: bool = False
    mark: str = ""
    code: bool = False
    id: str = ""  # other entries can link here


@dataclass(frozen=True)
class Column:
    """name: the head; unit or direction: said quietly beside it; key: the head of the CSV; prose: sentences, which may be folded."""

    name: str
    key: str
    unit: str = ""
    align: Literal["left", "right"] = "right"
    prose: bool = False


@dataclass(frozen=True)
class Group:
    """Rows under a heading of their own; an empty heading for none."""

    heading: str
    rows: Sequence[Sequence[Entry]]
    id: str = ""


@dataclass(frozen=True)
class Table:
    """name: of its files. caption: what the rows and columns are. notes: what marks mean, what would have been seen."""

    name: str
    caption: str
    columns: Sequence[Column]
    groups: Sequence[Group]
    notes: Sequence[str] = ()
    sortable: bool = True


@dataclass(frozen=True)
class Picture:
    """A figure already drawn. alt: what a reader who cannot see it is told; caption: under it."""

    name: str
    caption: str
    alt: str
    svg: bytes
    png: bytes


@dataclass(frozen=True)
class Runs:
    """A part of the appendix: the runs of one cell on one task, with commands to copy. Folded on the page."""

    key: str
    heading: str
    table: Table


@dataclass(frozen=True)
class Section:
    """One numbered part of the report."""

    key: str
    title: str
    parts: Sequence["str | Table | Picture | Runs"] = field(default_factory=tuple)


def anchor(*names: object) -> str:
    """An identifier that a page can link to: letters, digits and dashes, the same for the same names and no others."""
    text = "--".join(str(name) for name in names)
    return "".join(c if c.isascii() and (c.isalnum() or c == "-") else f"_{ord(c):x}_" for c in text)


def number(value: float | None, digits: int = 4) -> str:
    """A number as shown: so many significant digits, `–` if there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:.{digits}g}"
    if "e" not in text and abs(value) >= 10**digits:
        text = f"{value:.0f}"
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        text = f"{mantissa}e{int(exponent)}"
        if int(exponent) > 0:
            text = f"{value:,.0f}" if int(exponent) < 9 else text
    return text.replace("-", "−")


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return "–" if value is None or math.isnan(value) else f"{value:,.0f}".replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def probability(p: float | None) -> str:
    """A p-value as shown."""
    if p is None or math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def listing(words: Sequence[str], joint: str = "and") -> str:
    """`a, b and c`."""
    words = list(words)
    return f" {joint} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def by_first(pairs: Sequence[tuple[str, str]]) -> str:
    """`a on x and y; b on z`, from (a, x), (a, y), (b, z)."""
    found: dict[str, list[str]] = {}
    for first, second in pairs:
        found.setdefault(first, []).append(second)
    return "; ".join(f"{first} on {listing(seconds)}" for first, seconds in found.items())


def plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
