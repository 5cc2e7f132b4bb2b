"""What `list` and `show` print, kept for the next time: to trace equations takes an import of
torch, which is longer than one wants to wait for a page.

A page depends on the words of its command, the screen, the program and its configurations, and the
version of torch. Where a word could make it depend on more (a file of the user's, a data set), or
where nothing can be kept, it is made anew.
"""

import hashlib
import os
import platform
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from rnnbench.catalogue import HERE, config_dir
from rnnbench.console import console

SAFE = re.compile(
    r"list|show|cells|tasks|--json|--latex|--source|--notation=\w+|cell=(?!own)\w+|model\.hidden=\d+"
)


def show_remembered(words: Sequence[str], show: Callable[[], None]) -> None:
    """Print what `show` prints on the console, without calling it if it was kept."""
    if not all(SAFE.fullmatch(word) for word in words):
        show()
        return
    screen = (console.width, console.color_system, console.is_terminal, console.encoding)
    place = _folder() / f"{_digest(repr((*words, screen)))[:32]}.txt"
    program = _program()
    text = _kept(place, program)
    if text is None:
        with console.capture() as captured:
            show()
        text = captured.get()
        _keep(place, program, text)
    sys.stdout.write(text)


def _kept(place: Path, program: str) -> str | None:
    try:
        first, _, text = place.read_text("utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if first == program else None


def _keep(place: Path, program: str, text: str) -> None:
    """Whole or not at all; where nobody may write, nothing is kept."""
    with suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        half = place.with_suffix(f".{os.getpid()}")
        half.write_text(f"{program}\n{text}", "utf-8")
        half.replace(place)


def _folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rnnbench" / "shown"


def _program() -> str:
    """A digest of all that makes a page, in the state in which it lies here."""
    files = [*HERE.rglob("*.py"), *HERE.rglob("*.hpp"), *config_dir().rglob("*.yaml")]
    parts = [str(HERE), platform.python_version(), version("torch")]
    for path in sorted(files):
        parts += [str(path), _digest(path.read_bytes())]
    return _digest("\0".join(parts))


def _digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
