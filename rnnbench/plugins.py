"""What a folder of ours holds and what others add: optimisers, engines, sections of the report,
charts, kinds of claim.

One of ours is a module in the folder, and nothing else names it. One from outside is an entry point
in any installed package, of the group that is called as the folder is (`rnnbench.charts.kinds`); it
names an object of the same type, and takes the place of ours where it has its name.
"""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from rnnbench.errors import UserError


@cache
def found(package: str, constant: str) -> dict[str, Any]:
    """Name → what the modules of a package hold as `constant`, then what the entry points of the
    group of the package's name hold.

    Raises UserError if an entry point cannot be loaded, or is of another type than ours.
    """
    ours = {
        name: getattr(import_module(f"{package}.{name}"), constant) for name in modules(package)
    }
    kind = type(next(iter(ours.values())))
    return ours | {point.name: _loaded(point, package, kind) for point in _points(package)}


def modules(package: str) -> list[str]:
    """The names of ours, of which nothing is loaded."""
    return [module.name for module in pkgutil.iter_modules(import_module(package).__path__)]


def names(package: str) -> set[str]:
    """Every name of `found`, of which nothing is loaded."""
    return {*modules(package), *(point.name for point in _points(package))}


@cache
def _points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _loaded(point: EntryPoint, group: str, kind: type) -> Any:
    where = f"entry point '{point.name}' of {group} ({point.value})"
    try:
        made = point.load()
    except Exception as error:
        raise UserError(
            f"{where} cannot be loaded: {error}; repair or uninstall the package that has it"
        ) from error
    return checked(made, kind, where)


def checked(made: Any, kind: type, where: str) -> Any:
    """The object itself. UserError, naming `where` it comes from, if it is of another type."""
    if not isinstance(made, kind):
        raise UserError(
            f"{where} must be a {kind.__module__}.{kind.__name__}, got a {type(made).__name__}"
        )
    return made
