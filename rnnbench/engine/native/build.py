"""Compiles C++ once: a shared library per content, compiler, flags and CPU, in the user's cache
folder.
"""

import atexit
import ctypes
import errno
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from rnnbench.errors import UserError

# no -ffast-math: it would hide what is not finite, and change the arithmetic of the whole process
FLAGS = (
    "-std=c++17",
    "-O2",
    "-march=native",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-Wno-psabi",
    "-w",
)
LINKED = ("-shared", "-fPIC", "-pthread")
PATIENCE = 300  # seconds that a compiler may take
OTHERS_WRITE = 0o022
LIBRARIES = (b"\x7fELF", b"\xcf\xfa\xed\xfe")  # how a shared library starts: Linux, macOS
NOEXEC = ("not permitted", "ermission denied", "failed to map segment")  # what loaders say of it
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
LOADED = "import ctypes, sys; made = ctypes.CDLL(sys.argv[1]); [made[n] for n in sys.argv[2:]]"
FUNCTION = re.compile(r'extern "C" \w+ (\w+)\(')  # what a source promises


def compiler() -> str | None:
    """$CXX, else c++; None if it is not on this machine."""
    return shutil.which(os.environ.get("CXX") or "c++")


def cache_folder() -> Path:
    """Raises RuntimeError where nobody knows the user's home."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rnnbench" / "native"


@cache
def private_folder() -> Path:
    """A folder for this process alone, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="rnnbench-native-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def library(source: str, flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """The compiled source, from the cache or, where that cannot be used, from a folder of this
    process alone.

    Processes that want the same one at the same time each compile it. Raises UserError where there
    is no compiler that works, or nowhere to load from.
    """
    command = compiler()
    if command is None:
        raise UserError(
            f"the native engine needs a C++ compiler, and there is no "
            f"'{os.environ.get('CXX') or 'c++'}': install one, set CXX, or use engine=loop"
        )
    key = _key(source, command, flags)
    folder: Path | str = "the cache"
    try:
        folder = cache_folder()
        return _from(folder, key, source, command, flags)
    except (OSError, RuntimeError) as error:
        _say(f"compiled code is not kept, each process compiles anew: {folder}: {_reason(error)}")
    try:
        folder = private_folder()
        return _from(folder, key, source, command, flags)
    except OSError as error:
        raise UserError(
            f"the native engine has no folder to load compiled code from ({folder}: "
            f"{_reason(error)}): set XDG_CACHE_HOME or TMPDIR, or use engine=loop"
        ) from None


def _from(folder: Path, key: str, source: str, command: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """Load a library from a folder, where it is compiled first if it is not there whole.

    Its name says what it was compiled from and what it holds. Raises OSError if the folder is not
    ours alone or cannot be used, UserError if the compiler does not work.
    """
    _guard(folder)
    for found in sorted(folder.glob(f"{key}-*.so")):
        if _is_sound(found):
            return ctypes.CDLL(str(found))
        _say(f"{found} is damaged, or not yours alone to write: compiled anew")
        found.unlink()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        text, built = Path(made) / "cell.cpp", Path(made) / "cell.so"
        text.write_text(source, "utf-8")
        _compile([command, *flags, *LINKED, str(text), "-o", str(built)])
        _rehearse(built, command, FUNCTION.findall(source))
        content = built.read_bytes()
        built.chmod(0o700)
        with built.open("rb") as file:
            os.fsync(file.fileno())
        target = folder / f"{key}-{_digest(content)}.so"
        built.replace(target)
    return ctypes.CDLL(str(target))


def _guard(folder: Path) -> None:
    """Make the folder; OSError if anybody else can write into it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid():
        raise PermissionError("it belongs to another user")
    if folder.stat().st_mode & OTHERS_WRITE:
        folder.chmod(0o700)
    for left in folder.glob("tmp*"):  # of processes that were killed while they compiled
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > 10 * PATIENCE:
                shutil.rmtree(left)


def _is_sound(path: Path) -> bool:
    """Whether a library is what was compiled: its content, its owner, and nobody else to change
    it.
    """
    try:
        stat = path.stat()
        own = stat.st_uid == os.geteuid() and not stat.st_mode & OTHERS_WRITE
        return own and path.stem.rpartition("-")[2] == _digest(path.read_bytes())
    except OSError:
        return False


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _compile(words: list[str]) -> None:
    """Raises UserError if the compiler does not work, OSError if there was no room for what it
    writes.
    """
    command, environment = words[0], os.environ | {"LC_ALL": "C"}  # its messages in English
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=PATIENCE,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unfit(command, _reason(error)) from None
    if done.returncode:
        for number in NO_ROOM:
            if os.strerror(number) in done.stderr:
                raise OSError(number, os.strerror(number), words[-1])
        lines = (done.stderr or done.stdout).strip().split("\n")
        raise _unfit(command, next((line for line in lines if "error" in line), lines[-1]))


def _rehearse(built: Path, command: str, functions: list[str]) -> None:
    """Load what a compiler made, and look for its functions, in a process that may die of it.

    Raises UserError if it is no library, OSError if this folder is none to load from.
    """
    content = built.read_bytes() if built.is_file() else b""
    if content[:4] not in LIBRARIES:
        raise _unfit(command, "writes no library" if not content else "writes something else")
    words = [sys.executable, "-I", "-S", "-c", LOADED, str(built), *functions]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return
    said = (done.stderr.strip().splitlines() or [f"signal {-done.returncode}"])[-1]
    if any(words in said for words in NOEXEC):
        raise PermissionError("nothing can be loaded from there")
    raise _unfit(command, f"what it writes cannot be loaded: {said}")


def _unfit(command: str, said: str) -> UserError:
    return UserError(
        f"the native engine needs a C++ compiler, and {command} fails ({said}): set CXX or use "
        f"engine=loop"
    )


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


@cache  # once a process
def _say(text: str) -> None:
    print(f"rnnbench: {text}", file=sys.stderr)


def _key(source: str, command: str, flags: tuple[str, ...]) -> str:
    parts = (source, command, _version(command), " ".join(flags), _cpu())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _version(command: str) -> str:
    try:
        done = subprocess.run(
            [command, "--version"], capture_output=True, check=False, timeout=PATIENCE
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unfit(command, _reason(error)) from None
    return done.stdout.decode(errors="replace")


@cache
def _cpu() -> str:
    """What -march=native looks at."""
    info = Path("/proc/cpuinfo")
    lines = (
        info.read_text("utf-8").split("\n\n")[0].split("\n")
        if info.exists()
        else [platform.processor()]
    )
    return "\n".join(
        [
            platform.machine(),
            *sorted(line for line in lines if line.startswith(("flags", "model name", "Features"))),
        ]
    )
