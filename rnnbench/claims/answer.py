"""What the runs say about one case of a claim, before the correction for how many were asked; and
the verdict after it.

Two tests belong to a case. One would confirm it: a difference, or for claims of equality that the
difference lies inside the margin.
The other would contradict it: that there is no difference as large as the margin, or one that is
    larger. A claim with a direction is contradicted by a difference the other way round, too.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rnnbench.claims.design import Claim
from rnnbench.formatting import interval, number
from rnnbench.stats.power import FAR, Estimated, smallest

ALPHA = 0.05
REPRODUCED, CONTRADICTED, OPEN, APART = VERDICTS = (
    "reproduced",
    "contradicted",
    "not resolved",
    "not comparable",
)
# regions in which a claim holds, in margins
ABOVE, AMONG, BELOW = (0.0, math.inf), (-1.0, 1.0), (-math.inf, 1.0)


class Words(NamedTuple):
    """What each outcome says: as claimed, the other way round, what contradicts without a
    direction, and nothing shown.
    """

    claimed: str
    opposite: str
    against: str
    open: str


def _unknown(_: float) -> float:
    return math.nan


SILENT = Words("", "", "", "")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """measure: what the effect is, in which unit; test: whose p it is; effect with its 95 %
    interval; n: runs of each side.

    p: of the test that would confirm, against: of the one that would contradict, both as they are;
        NaN: no claim, and `why`.
    agrees: whether the effect has the claimed sign. scaled: effect and interval in margins,
        positive where the first side is better;
    region: where in them the claim holds. power, detectable: of α, how probably the margin would
        have been found (or, for what must lie inside a region, how probably that would have been
        shown if the truth were in its middle), and the smallest that would in 80 %.
    ids: runs of the first side.
    """

    measure: str = ""
    test: str = ""
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: tuple[int, ...] = ()
    p: float = math.nan
    against: float = math.nan
    agrees: bool = True
    scaled: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    region: tuple[float, float] = ABOVE
    power: Callable[[float], float] = _unknown
    detectable: Callable[[float], float] = _unknown
    facts: str = ""
    words: Words = SILENT
    ids: tuple[str, ...] = ()
    why: str = ""

    def verdict(self, p: float, against: float) -> str:
        """From the corrected p-values."""
        if p < ALPHA:
            return REPRODUCED if self.agrees else CONTRADICTED
        return CONTRADICTED if against < ALPHA else OPEN


def margin_of(claim: Claim, reference: float = 1.0) -> float:
    """The margin in the units of the effect: '5%' of the size of the reference, or, of logarithms,
    that factor in decades.
    """
    text = str(claim.margin)
    if not text.endswith("%"):
        return float(text)
    share = float(text.removesuffix("%")) / 100
    return math.log10(1 + share) if claim.log else share * abs(reference)


def found(measure: str, effect: float, low: float, high: float) -> str:
    """`difference in mse 0.12 [0.08, 0.16]`."""
    if math.isnan(effect):
        return f"no {measure}"
    return " ".join(filter(None, (measure, number(effect, 3), interval(low, high))))


def detectable(
    power: Callable[[float, float], float],
    estimated: Estimated,
    back: Callable[[float], float] = float,
) -> Callable[[float], float]:
    """α → the smallest size found in 80 %; power: of a size and α; back: from the scale of the
    estimate to that of the effect.
    """

    def of(alpha: float) -> float:
        size = (
            smallest(lambda size: power(size, alpha), FAR * estimated.error)
            if estimated.error > 0
            else math.nan
        )
        return back(size)

    return of
