"""Who trains a run: one process at a time, on machines that share a file system."""

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from rnnbench.errors import UserError
from rnnbench.records import Folder


def claim(held: ExitStack, folder: Folder) -> bool:
    """Claim a run for as long as `held` lasts; the system lets go of it if this process dies. False: it is another's."""
    place = folder.lock_path.parent
    missing = [path for path in (place, *place.parents) if not path.exists()]
    held.callback(_tidy, missing)  # after the lock is gone: a run that is refused leaves nothing
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror}; choose another folder with paths.results") from None
    try:
        held.enter_context(FileLock(folder.lock_path, timeout=0))
    except Timeout:
        return False
    # Who has opened the file but not locked it yet will find the run saved or ended: asking the record comes after claiming.
    held.callback(folder.lock_path.unlink, missing_ok=True)
    return True


def _tidy(folders: Iterable[Path]) -> None:
    """Remove those folders, deepest first, that are empty."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def is_claimed(folder: Folder) -> bool:
    """Whether some process trains this run right now."""
    if not folder.lock_path.exists():
        return False
    with ExitStack() as held:
        return not claim(held, folder)
