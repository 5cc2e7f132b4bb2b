"""What a folder of ours holds and what others add: sections of the report, charts, kinds of claim.

One of ours is a module in the folder, and nothing else names it. One from outside is an entry point
in any installed package, of the group that is called as the folder is (`rnnbench.charts.kinds`); it
names an object of the same type, and takes the place of ours where it has its name.
"""

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from rnnbench.errors import UserError


@cache
def found(package: str, constant: str) -> dict[str, Any]:
    """Name → what the modules of a package hold as `constant`, then what the entry points of the
    group of the package's name hold.

    Raises UserError if an entry point cannot be loaded, or is of another type than ours.
    """
    folder = import_module(package)
    ours = {
        module.name: getattr(import_module(f"{package}.{module.name}"), constant)
        for module in pkgutil.iter_modules(folder.__path__)
    }
    kind = type(next(iter(ours.values())))
    return ours | {
        point.name: _loaded(point, package, kind) for point in entry_points(group=package)
    }


def _loaded(point: Any, group: str, kind: type) -> Any:
    try:
        made = point.load()
    except Exception as error:
        raise UserError(
            f"entry point '{point.name}' of {group} ({point.value}) cannot be loaded: {error}; "
            f"mend or uninstall the package that has it"
        ) from error
    if not isinstance(made, kind):
        raise UserError(
            f"entry point '{point.name}' of {group} ({point.value}) must be a {kind.__module__}."
            f"{kind.__name__}, got a {type(made).__name__}"
        )
    return made
