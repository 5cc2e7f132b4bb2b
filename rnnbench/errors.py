"""The one error that a user can cause.

Whatever a person typed or supplied (an unknown cell, an impossible size, a corrupt file) ends in a
`UserError`: one line with name, value, expectation and remedy, shown without a traceback, exit code
2. Every other exception is our own fault and ends with exit code 1.
"""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user typed or supplied cannot work; the message says what would."""


class Interrupted(Exception):
    """Asked to stop, after saving what there was; the message says how to go on."""


class SomeFailed(Exception):
    """A sweep went to its end, but some of its runs failed; exit code 3."""


def unknown(kind: str, name: str, known: Iterable[str], listing: str = "") -> UserError:
    """The error for a name that does not exist: the nearest existing name, how many there are,
    where to see them.
    """
    known = sorted(known)
    plain = {other.lower(): other for other in reversed(known)}
    near = difflib.get_close_matches(name.lower(), list(plain), n=1, cutoff=0.5)
    guess = f"; did you mean '{plain[near[0]]}'?" if near else ""
    kinds = f"{kind[:-1]}ies" if kind.endswith("dy") else f"{kind}s"
    where = f"{len(known)} {kinds}: {listing}" if listing else "known: " + ", ".join(known)
    return UserError(f"unknown {kind} '{name}'{guess} ({where})")
