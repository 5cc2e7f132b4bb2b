"""What a cell looks like in every picture: its colour, dash and marker. Nothing that draws.

Colours are those of Okabe & Ito (2008), Color universal design, without the yellow, which is too
light for a line on white: readers with any common colour blindness tell them apart. A cell's
colour, dash and marker follow from its name, so that pictures made apart can be read together;
those of a variant also from what else is in its report, so that two do not look alike.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MORE = ("#332288", "#882255", "#999933", "#44AA99")  # of Tol's muted scheme, where seven are few
DASHES = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.5, 1.2, 1.5)),
    (0, (3, 1.2, 1.2, 1.2, 1.2, 1.2)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Style:
    """What a cell looks like wherever it is drawn."""

    colour: str
    dash: Any
    marker: str


# A row a dash, a column a colour; "": no cell. Cells that studies compare have colours of their
# own: the plain ones and Jozefowicz et al.; the LSTM of Greff et al. and its variants.
SHIPPED = (
    ("lstm", "gru", "lstm_b", "mut1", "irnn", "lstm_vanilla", "tanh"),
    ("np", "cifg", "nig", "nog", "niaf", "", "nfg", "fgr", "noaf"),
    ("", "lstm_o", "lstm_i", "mgu", "mut3", "mut2", "lstm_f"),
    ("indrnn", "relu", "janet", "minlstm", "ugrnn", "mingru", "slstm"),
    ("gru_reset_after", "lstm_peephole_full", "coupled"),
)
OURS = {
    cell: Style(colour, dash, MARKERS[(k + turn) % len(MARKERS)])
    for turn, (dash, row) in enumerate(zip(DASHES, SHIPPED, strict=True))
    for k, (colour, cell) in enumerate(zip((*PALETTE, *MORE), row, strict=False))
    if cell
}
ALL = [Style(*parts) for parts in product((*PALETTE, *MORE), DASHES, MARKERS)]
FREE = [style for style in ALL if style not in OURS.values()]


def style_of(cell: str) -> Style:
    """The same wherever and whenever the cell is drawn: ours by a table, any other (a cell of a
    user's, a variant such as `lstm init=chrono`) by a hash of its name.
    """
    if cell in OURS:
        return OURS[cell]
    digest = hashlib.sha256(cell.encode()).digest()
    return FREE[int.from_bytes(digest[:8], "big") % len(FREE)]


def styles(cells: Iterable[str]) -> dict[str, Style]:
    """A style for each cell of one picture, in alphabetical order: `style_of`, but where that has
    the colour of another in the picture, ours aside, the next whose colour is used least, if
    possible with the same dash and marker.
    """
    names = sorted(set(cells))
    used = Counter(dict.fromkeys((*PALETTE, *MORE), 0))
    used.update(style_of(name).colour for name in names if name in OURS)
    found: dict[str, Style] = {}
    for name in names:
        style = style_of(name)
        if name not in OURS:
            start, least = FREE.index(style), min(used.values())
            turns = [*FREE[start:], *FREE[:start]]
            rare = [one for one in turns if used[one.colour] == least and one not in found.values()]
            alike = (one for one in rare if (one.dash, one.marker) == (style.dash, style.marker))
            style = next(alike, next(iter(rare), style))
            used[style.colour] += 1
        found[name] = style
    return found
