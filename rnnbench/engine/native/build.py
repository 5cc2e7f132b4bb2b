"""Compiles C++ once: a shared library per content, compiler, flags and CPU, in the user's cache
folder.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
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


def compiler() -> str | None:
    """$CXX, else c++; None if it is not on this machine."""
    return shutil.which(os.environ.get("CXX") or "c++")


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rnnbench" / "native"


def library(source: str, flags: tuple[str, ...] = FLAGS) -> ctypes.CDLL:
    """The compiled source.

    Processes that want the same one at the same time each compile it; the last to finish stays.
    """
    command = compiler()
    if command is None:
        raise UserError(
            f"the native engine needs a C++ compiler, and there is no "
            f"'{os.environ.get('CXX') or 'c++'}': install one, set CXX, or use engine=loop"
        )
    folder = cache_folder()
    target = folder / f"{_key(source, command, flags)}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            text, built = Path(made) / "cell.cpp", Path(made) / "cell.so"
            text.write_text(source, "utf-8")
            done = subprocess.run(
                [command, *flags, *LINKED, str(text), "-o", str(built)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                lines = (done.stderr or done.stdout).strip().split("\n")
                said = next((line for line in lines if "error" in line), lines[-1])
                raise UserError(
                    f"the native engine needs a C++ compiler, and {command} fails ({said}): set "
                    f"CXX or use engine=loop"
                )
            built.replace(target)
    return ctypes.CDLL(str(target))


def _key(source: str, command: str, flags: tuple[str, ...]) -> str:
    parts = (source, command, _version(command), " ".join(flags), _cpu())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _version(command: str) -> str:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


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
