"""A table: what a row is, and of each column head, value and format, said once. The writers read
it.

A format turns a value into an Entry: as it is shown, and as the CSV holds it and the page sorts by.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

from rnnbench.charts.chart import Chart, Picture
from rnnbench.formatting import anchor, count, interval, number, probability, score
from rnnbench.stats.selection import Result, Variant
from rnnbench.stats.statistics import Estimate
from rnnbench.stats.survival import Share, Time


@dataclass(frozen=True)
class Entry:
    """One place in a table. text: as shown; value: as the CSV holds it (None: the text); aside:
    said more quietly after it; bounds: low and high, columns of their own in the CSV. The rest is
    what its column says of it.
    """

    text: str
    value: Any = None
    aside: str = ""
    bounds: tuple[float, float] | None = None
    kind: str = "number"
    link: str = ""
    bold: bool = False
    mark: str = ""
    id: str = ""


NOTHING = Entry("–", "")


@dataclass(frozen=True)
class Format:
    """kind: how it stands in a table: numbers to the right, prose may be folded, code as typed."""

    entry: Callable[[Any], Entry]
    kind: Literal["number", "text", "prose", "code"] = "number"


@dataclass(frozen=True)
class Column:
    """head, value of a row, format; unit: beside the head; key: the head in the CSV.

    link: where the value leads; bold; mark: a sign after it that a note explains; id: what others
    link to. wide: not in LaTeX, whose tables are narrow enough for a column of a paper.
    """

    head: str
    value: Callable[[Any], Any]
    format: Format
    unit: str = ""
    key: str = ""
    link: Callable[[Any], str] | None = None
    bold: Callable[[Any], bool] | None = None
    mark: Callable[[Any], str] | None = None
    id: Callable[[Any], str] | None = None
    wide: bool = False

    @property
    def name(self) -> str:
        return self.key or self.head

    def entry(self, row: Any) -> Entry:
        value = self.value(row)
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        return replace(
            NOTHING if missing else self.format.entry(value),
            kind=self.format.kind,
            link=self.link(row) if self.link else "",
            bold=bool(self.bold and self.bold(row)),
            mark=self.mark(row) if self.mark else "",
            id=self.id(row) if self.id else "",
        )


@dataclass(frozen=True)
class Line:
    """A row as it stands in a table: an entry for each column."""

    row: Any
    entries: list[Entry]


@dataclass(frozen=True)
class Table:
    """name: of its files. rows: of any kind, in order; group: the heading that a row stands under.

    notes: what marks mean. task, cell: what a row is about, which filters of the page ask.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    notes: Sequence[str] = ()
    group: Callable[[Any], str] | None = None
    task: Callable[[Any], Variant | None] | None = None
    cell: Callable[[Any], Variant | None] | None = None

    @cached_property
    def groups(self) -> list[tuple[str, list[Line]]]:
        """Heading → its rows, in the order of the rows; one empty heading where there are none."""
        found: dict[str, list[Line]] = {}
        for row in self.rows:
            line = Line(row, [column.entry(row) for column in self.columns])
            found.setdefault(self.group(row) if self.group else "", []).append(line)
        return list(found.items())


@dataclass(frozen=True)
class Fold:
    """A table under a heading that one opens."""

    id: str
    heading: str
    table: Table


Part = str | Table | Chart | Picture | Fold


def run_place(run: object) -> str:
    """Where a run stands."""
    return f"runs.html#{anchor('run', run)}"


def result_place(result: Result) -> str:
    """Where the runs of a result stand."""
    return f"runs.html#{result_id(result)}"


def result_id(result: Result) -> str:
    return anchor("runs", result.task, result.cell)


def task_place(task: Variant) -> str:
    return f"task-{task.slug}.html"


def _estimate(found: Estimate) -> Entry:
    low, high = found.low, found.high
    aside = "" if math.isnan(low) else f"[{score(low, 3)}, {score(high, 3)}]"
    return Entry(score(found.value), found.value, aside, (low, high))


def _share(found: Share) -> Entry:
    aside = f"[{found.low:.0%}, {found.high:.0%}]"
    return Entry(f"{found.count}/{found.n}", found.share, aside, (found.low, found.high))


def _time(found: Time) -> Entry:
    if math.isnan(found.median):
        solved = f"{found.solved}/{found.n}"
        return Entry("not reached", math.inf, solved, (math.nan, math.nan))
    high = "∞" if math.isinf(found.high) else count(found.high)
    aside = f"[{count(found.low)}, {high}]" if found.n > 1 else ""
    return Entry(count(found.median), found.median, aside, (found.low, found.high))


def _shift(found: Estimate) -> Entry:
    aside = interval(found.low, found.high)
    return Entry(number(found.value, 3), found.value, aside, (found.low, found.high))


def _chance(found: Estimate) -> Entry:
    aside = f"[{found.low:.2f}, {found.high:.2f}]"
    return Entry(f"{found.value:.2f}", found.value, aside, (found.low, found.high))


def _with_aside(made: tuple[Any, str]) -> Entry:
    value, aside = made
    return replace(COUNT.entry(value), aside=aside)


def rounded(digits: int) -> Format:
    """Numbers with so many significant digits."""
    return Format(lambda value: Entry(number(value, digits), float(value)))


def _said(value: object) -> Entry:
    shown = value.label if isinstance(value, Variant) else str(value)
    return Entry(shown or "–", str(value))


TEXT = Format(_said, "text")
PROSE = Format(_said, "prose")
CODE = Format(_said, "code")
COUNT = Format(lambda value: Entry(count(value), value))
COUNTED = Format(_with_aside)  # (count, what is said after it)
NUMBER = rounded(4)
PLAIN = Format(lambda value: Entry(str(value), value))
P = Format(lambda value: Entry(probability(value), float(value)))
ESTIMATE = Format(_estimate)
SHARE = Format(_share)
TIME = Format(_time)
SHIFT = Format(_shift)
CHANCE = Format(_chance)
