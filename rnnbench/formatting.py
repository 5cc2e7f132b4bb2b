"""Numbers, intervals, probabilities and lists as a person reads them. Knows nothing of ours."""

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

# what cells are matched by
COUNTED = {"params": "parameters", "flops": "FLOPs a step", "units": "units"}


def anchor(*names: object) -> str:
    """An identifier that a page can link to: letters, digits and dashes, the same for the same
    names and no others.
    """
    text = "--".join(str(name) for name in names)
    return "".join(
        c if c.isascii() and (c.isalnum() or c == "-") else f"_{ord(c):x}_" for c in text
    )


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


def score(value: float, digits: int = 4) -> str:
    """A number as shown, or that of runs which have none."""
    return "diverged" if math.isinf(value) else number(value, digits)


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


def p_value(p: float) -> str:
    """The same within a sentence: `p = 0.030`, `p < 0.001`."""
    shown = probability(p)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"


def listing(words: Sequence[str], joint: str = "and") -> str:
    """`a, b and c`; semicolons where a word has commas of its own, as `gru, layers 2` has."""
    words = list(words)
    if len(words) > 1 and any(", " in word for word in words):
        return f"{'; '.join(words[:-1])}; {joint} {words[-1]}"
    return f" {joint} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def some(words: Sequence[str], most: int) -> str:
    """`a, b and 3 more`: at most so many, and how many are left out."""
    left = len(words) - most
    return listing([*words[:most], *([f"{left} more"] if left > 0 else [])])


def plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def inert(value: Any) -> Any:
    """A value for a CSV file, which no spreadsheet takes for a formula; names such as +f stay."""
    formula = isinstance(value, str) and value[:1] in tuple("=+-@\t\r")
    return f"'{value}" if formula and not re.fullmatch(r"[+-][\w.]*", value) else value


def label(name: str, settings: Sequence[tuple[str, Any]]) -> str:
    """A cell or a task in words: `memorize, 9,000 parameters`."""
    return ", ".join([name, *(setting(key, value) for key, value in settings)])


def setting(key: str, value: Any) -> str:
    """A setting in words: `forget bias 1`, `length 50`, `4,000 steps`, `permuted: no`."""
    words = key.replace("_", " ").replace(".", " ")
    if key == "match" and isinstance(value, str):
        what, _, wanted = value.partition(":")
        value, words = (int(wanted) if wanted.isdigit() else wanted), COUNTED.get(what, what)
        return f"{value:,} {words}" if isinstance(value, int) else f"{value} {words}".strip()
    if isinstance(value, bool):
        return words if value else f"no {words}"
    number_said = f"{value:,g}" if isinstance(value, (int, float)) else str(value)
    return f"{number_said} {words}" if key in ("steps", "epochs") else f"{words} {number_said}"


def slug(name: str, settings: Sequence[tuple[str, str]] = ()) -> str:
    """The name of a file that a person can type: `adding-length-50`. Names that differ make slugs
    that differ: what cannot be typed is left out, and then a few digits of a digest are added.
    """
    words = [name, *(word for pair in settings for word in pair)]
    plain = [re.sub(r"[^a-z0-9_.]+", "-", word.lower()).strip("-.") for word in words]
    made = "-".join(word for word in plain if word)
    typed = all(re.fullmatch(r"[a-z0-9_][a-z0-9_.:]*", word) for word in words)
    return made if typed else f"{made}-{_digest(words)}".strip("-")


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(words).encode("utf-8", "replace")).hexdigest()[:6]


def printable(text: str) -> str:
    """A text as one line that does nothing to a terminal: what cannot be printed as Python writes
    it, `\\n`, `\\x1b`, `\\udcff`.
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
