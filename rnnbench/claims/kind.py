"""What a kind of claim is: the fields that it uses, its tests, the runs that it compares."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rnnbench import plugins
from rnnbench.claims.answer import Answer
from rnnbench.claims.design import Claim, Filter

Case = Mapping[str, Any]


def _both(claim: Claim) -> Sequence[tuple[Filter, ...]]:
    return [(claim.x,), (claim.y,)]


def _nothing(_: Claim) -> str:
    return ""


@dataclass(frozen=True)
class ClaimKind:
    """answer: of the runs, the claim and one case of it; raises Unanswerable. needs, may: fields
    that a claim of this kind must have, and may have beside those of every claim.

    learns: it is about what is learnt, so that runs which still improve, and rates at the edge of
    those tried, cannot speak about it. sides: filters of the runs that it compares. check: what is
    wrong with a claim, or nothing.
    """

    answer: Callable[[pd.DataFrame, Claim, Case], Answer]
    needs: tuple[str, ...]
    may: tuple[str, ...] = ()
    learns: bool = True
    sides: Callable[[Claim], Sequence[tuple[Filter, ...]]] = _both
    check: Callable[[Claim], str] = _nothing


def kinds() -> dict[str, ClaimKind]:
    """Every kind by its name."""
    return plugins.found("rnnbench.claims.kinds", "KIND")
