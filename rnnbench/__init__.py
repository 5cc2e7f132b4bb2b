"""rnnbench: compares recurrent cells fairly."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnbench.runs.frame import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`rnnbench.load`, which brings pandas, when it is asked for."""
    if name == "load":
        from rnnbench.runs.frame import load

        return load
    raise AttributeError(f"module 'rnnbench' has no attribute '{name}'")
