"""What a run was made with and on: goes into its record."""

import platform
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch

from rnnbench import __version__


def peak_memory(device: str) -> int:
    """Bytes: of the device if it is a GPU, else the most this process ever had resident."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


def provenance(device: str, threads: int) -> dict[str, Any]:
    """What the numbers were made with and on."""
    return {
        "git": commit(),
        "versions": {
            "rnnbench": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "cpu": cpu_name(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        "threads": threads,
    }


@cache
def commit() -> str | None:
    """The checkout's commit, with `-dirty` where it was changed; None for an installed package."""
    top = Path(__file__).resolve().parents[2]
    if not (top / ".git").exists():  # git would find whatever repository the installation lies in
        return None
    described = subprocess.run(
        ["git", "-C", str(top), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None


@cache
def cpu_name() -> str:
    """The processor's own name for itself, where the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.processor(),
    )
