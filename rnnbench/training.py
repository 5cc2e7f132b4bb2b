"""`rnnbench train`: one run from settings to summary; what has ended is not repeated, what was interrupted goes on."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from rnnbench.engine.run import Interrupted, run_pack
from rnnbench.errors import UserError
from rnnbench.records import Folder
from rnnbench.screen import Screen, say, summary
from rnnbench.settings import Settings


class Trainer:
    """Called by Hydra with one combination of settings after another; remembers the exit code."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments, self.exit_code = arguments, 0

    def __call__(self, settings: Settings, overrides: list[str]) -> None:
        if self.exit_code == 130:
            return
        folder = Folder.of(settings)
        record = folder.record()
        if record is not None and record["status"] != "failed":
            say(f"{settings.cell.name} on {settings.task['name']}, seed {settings.seed}: has ended before; delete {shown(folder.path)} to repeat it")
        else:
            try:
                with Screen() as screen:
                    (record,) = run_pack([settings], [overrides], screen, say)
            except Interrupted:
                self.exit_code = 130
                say(f"interrupted and saved; to go on:\n  rnnbench train {shlex.join(self.arguments)}")
                return
            except (MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
                    raise
                raise UserError(
                    f"not enough memory ({' '.join(str(error).split())[:150]}); use fewer units, a smaller batch or shorter sequences"
                ) from None
        summary(record, shown(folder.path))


def shown(path: Path) -> str:
    """A path as short as it can be written from here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)
