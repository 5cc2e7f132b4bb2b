"""rnnbench: compares recurrent cells fairly."""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnbench.api import judge as judge
    from rnnbench.api import train as train
    from rnnbench.runs.frame import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "judge", "load", "report", "sweep", "train"]
LAZY = {"judge": "rnnbench.api", "load": "rnnbench.runs.frame", "train": "rnnbench.api"}


class Verb(ModuleType):
    """A package that is called like the function of `rnnbench.api` of its name."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module("rnnbench.api"), name)(*arguments, **settings)


def __getattr__(name: str) -> Any:
    """What brings pandas, Hydra or torch, when it is asked for."""
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    if name in ("report", "sweep"):
        return import_module(f"rnnbench.{name}")
    raise AttributeError(f"module 'rnnbench' has no attribute '{name}'")
