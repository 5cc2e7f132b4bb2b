"""What a report is made of, before anyone decides how it looks: sections of prose, tables and
pictures.

Plain text everywhere: whoever renders escapes. A number carries its runs, so that every page can
    link to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rnnbench.charts.picture import Picture


@dataclass(frozen=True)
class Entry:
    """One place in a table. text: as shown; aside: said more quietly after it, such as an interval.

    value: what the CSV holds and the page sorts by (None: the text). bounds: low and high, columns
        of their own in the CSV.
    runs: the key of the runs behind it (see `anchor`). mark: a sign after it that a note explains.
        code: shown as typed.
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
    """name: the head; unit or direction: said quietly beside it; key: the head of the CSV; prose:
    sentences, which may be folded.
    """

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
    """name: of its files. caption: what the rows and columns are.

    notes: what marks mean, what would have been seen.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    groups: Sequence[Group]
    notes: Sequence[str] = ()
    sortable: bool = True


@dataclass(frozen=True)
class Runs:
    """A part of the appendix: the runs of one cell on one task, with commands to copy.

    Folded on the page.
    """

    key: str
    heading: str
    table: Table


@dataclass(frozen=True)
class Section:
    """One numbered part of the report."""

    key: str
    title: str
    parts: Sequence["str | Table | Picture | Runs"] = field(default_factory=tuple)
