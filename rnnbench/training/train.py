"""`rnnbench train`: one run from settings to summary; what has ended is not repeated, what was
interrupted goes on.
"""

import errno
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rnnbench.console import RunView, say, summary
from rnnbench.errors import Interrupted, UserError
from rnnbench.runs.lock import claim
from rnnbench.runs.records import Folder
from rnnbench.settings import Settings
from rnnbench.training.run import run_pack


def train(settings: Settings, overrides: Sequence[str], again: str) -> None:
    """Train one run and show what came out.

    again: the command that resumes it, shown where Ctrl-C stops it.

    Raises UserError, and KeyboardInterrupt after saving: what is no Exception, Hydra lets through
    at once.
    """
    folder = Folder.of(settings)
    known = folder.record()
    if known and known["status"] != "failed":
        summary(known, shown(folder.path))
        say(f"This run is finished already; to repeat it: rm -r {shlex.quote(shown(folder.path))}")
        return
    try:
        with ExitStack() as held, RunView() as screen, no_word_of_threads():
            if not claim(held, folder):
                raise UserError(
                    f"another process is training this very run; wait for it, or stop it: "
                    f"{shown(folder.path)}"
                )
            (record,) = run_pack([settings], [overrides], screen, say)
    except Interrupted:
        raise KeyboardInterrupt(f"all is saved; to go on:\n  {again}") from None
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        said = " ".join(str(error).split())[:150]
        raise UserError(
            f"not enough memory ({said}); use fewer units (model.hidden), smaller batches or "
            f"shorter sequences"
        ) from None
    except OSError as error:  # TensorBoard's: what we write and read ourselves says more
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS):
            raise
        raise UserError(
            f"cannot write into {shown(folder.path)}: {error.strerror}; free space or choose "
            f"another folder with paths.results"
        ) from None
    summary(record, shown(folder.path))


@contextmanager
def no_word_of_threads() -> Iterator[None]:
    """TensorBoard's writing thread ends with a traceback when the disk is full, before it raises
    the same for us to tell.
    """
    before, threading.excepthook = (
        threading.excepthook,
        lambda died: None if died.exc_type is OSError else before(died),
    )
    try:
        yield
    finally:
        threading.excepthook = before


def shown(path: Path) -> str:
    """A path as short as it can be written from here."""
    here = Path.cwd()
    return (
        str(path.relative_to(here))
        if path.is_absolute() and path.is_relative_to(here)
        else str(path)
    )
