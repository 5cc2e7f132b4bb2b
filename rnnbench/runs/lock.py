"""Who trains a run: one process at a time, on machines that share a file system.

A claim is a locked file. The system lets go of it when its holder dies, so nothing has to be
cleaned up after kill -9.
"""

import fcntl
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from rnnbench.errors import UserError
from rnnbench.runs.records import Folder


def claim(held: ExitStack, folder: Folder) -> bool:
    """Claim a run for as long as `held` lasts. False: it is another's.

    UserError if the disk refuses.
    """
    path = folder.lock_path
    new = [parent for parent in path.parents if not parent.exists()]
    try:
        file = _locked(path)
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror}; choose another folder (runs: paths.results)"
        ) from None
    if file is None:
        return False
    held.callback(os.close, file)
    held.callback(_remove_empty, new)  # a refused run leaves nothing
    held.callback(path.unlink, missing_ok=True)  # while it is still locked
    with suppress(OSError):  # for those who look; a full disk does not weaken the claim
        os.ftruncate(file, 0)
        os.write(file, f"{socket.gethostname()} {os.getpid()}".encode())
    return True


def _locked(path: Path) -> int | None:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the folder went with another's claim
            continue
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file), path.stat()):
                    return file
            os.close(
                file
                # its holder took the file away between our opening and locking it: this lock guards
                # nothing
            )
        except BlockingIOError:
            os.close(file)
            return None
        except BaseException:
            os.close(file)
            raise


def _remove_empty(folders: Sequence[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


def holder(folder: Folder) -> str | None:
    """'machine process' of who trains this run right now; None: nobody."""
    try:
        file = os.open(folder.lock_path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # somebody who claims it in this instant asks again later
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return os.read(file, 1000).decode(errors="replace") or "somebody"
    finally:
        os.close(file)
