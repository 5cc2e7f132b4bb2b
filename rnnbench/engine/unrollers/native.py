"""A cell's equations and their derivatives, compiled by the system's C++ compiler. CPU only."""

from rnnbench.engine import native
from rnnbench.engine.unroller import Unroller


def rank(device: str, replicas: int) -> int:
    """Before the loop; on an accelerator it says why it is not that one."""
    return 2


UNROLLER = Unroller(native.unroll, native.why_not, rank)
