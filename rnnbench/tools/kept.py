"""What a trained run left in its folder, read and checked: record, settings, weights, checkpoint.

Writes nothing.

Whatever is wrong with a file is a UserError of one line that names it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rnnbench import __version__
from rnnbench.errors import UserError
from rnnbench.runs.checksums import Damaged
from rnnbench.runs.form import ALWAYS, SECTIONS, flaw, is_shallow
from rnnbench.runs.reading import read_settings
from rnnbench.runs.records import (
    SCHEMA,
    Folder,
    files_below,
    is_record,
    parsed,
    unchanged,
    upgraded,
)
from rnnbench.training.checkpoint import lacking
from rnnbench.training.run import read_tensors


def record(folder: Folder) -> dict[str, Any] | None:
    """The record; None while the run has not ended."""
    if not folder.path.is_dir():
        raise UserError(
            f"no folder '{folder.path}'; a run's folder is results/runs/<study>/<task>/<cell>/<id>"
        )
    try:
        found = parsed(folder.record_path.read_bytes())
    except FileNotFoundError:
        return None
    except Damaged as damaged:
        raise UserError(
            f"{folder.record_path} was damaged or edited ({damaged}); restore it, or train this "
            f"run anew"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"cannot read {folder.record_path} ({type(error).__name__}): the file is torn; train "
            f"this run anew"
        ) from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if not is_record(found):
        written = "is no record of a run"
        if isinstance(schema, int) and 1 <= schema <= SCHEMA:
            written += f" ({flaw(found)})"
        elif isinstance(schema, int):
            written = f"is a record of schema {schema}"
        raise UserError(
            f"{folder.record_path} {written}; this version of rnnbench ({__version__}) reads "
            f"schema 1 to {SCHEMA}"
        )
    return upgraded(found)


def config(folder: Folder, ended: Mapping[str, Any] | None) -> dict[str, Any]:
    """What config.yaml holds, as plain values: those that the run was trained with, if it has
    `ended` and left a record.
    """
    path = folder.path / "config.yaml"
    if not path.is_file():
        runs = len(files_below(folder.path, path.name)) if ended is None else 0
        rather = (
            f"; {runs} run{'s lie' if runs > 1 else ' lies'} below it, name one of them"
            if runs
            else ""
        )
        raise UserError(f"{folder.path} is no run: no config.yaml in it{rather}")
    try:
        values: Any = read_settings(path)
    except Damaged as damaged:
        raise UserError(
            f"{path} was damaged or edited ({damaged}); restore it, or train this run anew"
        ) from None
    except Exception as error:  # whatever a torn or foreign file makes YAML raise
        raise UserError(
            f"cannot read {path} ({type(error).__name__}): the file is torn or no YAML; train "
            f"this run anew"
        ) from None
    wanted = ALWAYS["settings"]
    if not wanted(values) or not is_shallow(values):
        raise UserError(
            f"{path} does not hold the settings of a run: {', '.join(SECTIONS)} with the name and "
            f"code of cell and task, sizes, learning rate, budget, and a seed; train this run anew"
        )
    kept = {key: value for key, value in values.items() if key not in ("paths", "engine", "study")}
    if ended is not None and any(
        ended["settings"].get(key) != value for key, value in kept.items()
    ):
        key = next(key for key, value in kept.items() if ended["settings"].get(key) != value)
        raise UserError(
            f"{path} was edited: its {key} is not what record.json says that the run was trained "
            f"with; restore it"
        )
    return dict(values)


def best(folder: Folder, ended: Mapping[str, Any] | None) -> dict[str, Any]:
    """The weights that were best in validation, by name."""
    if not folder.best_path.exists():
        raise UserError(f"no best.pt in {folder.path}: {_why_none(folder, ended)}")
    return _tensors(folder.best_path, ended)


def checkpoint(folder: Folder, steps: int) -> dict[str, Any]:
    """Everything that `last.pt` holds: what `engine.train.Training.resume` takes.

    steps: of the run. UserError if there is no such file or it is torn.
    """
    if not folder.last_path.exists():
        raise UserError(
            f"no last.pt in {folder.path}: this run never came to its first checkpoint, or only "
            f"its record was kept"
        )
    found = _tensors(folder.last_path)
    if why := lacking(found, steps):
        raise UserError(
            f"{folder.last_path} is not a checkpoint of this run: {why}; perhaps another version "
            f"of rnnbench wrote it: train this run anew"
        )
    return found


def _why_none(folder: Folder, ended: Mapping[str, Any] | None) -> str:
    instead = (
        "; --weights last takes those of its last checkpoint" if folder.last_path.exists() else ""
    )
    if ended is None:
        return f"the run has not ended, and the command that started it resumes it{instead}"
    if ended.get("best") is None:
        return f"no validation was finite ({ended.get('reason') or ended['status']}){instead}"
    return f"only its record was kept; train it anew{instead}"


def _tensors(path: Path, ended: Mapping[str, Any] | None = None) -> dict[str, Any]:
    try:
        found = read_tensors(path)
        if not unchanged(path.read_bytes(), ended, path.name):
            raise Damaged("it is not the file that the run wrote")
    except Damaged as damaged:
        raise UserError(f"{path} was damaged or edited ({damaged}); train this run anew") from None
    except Exception as error:  # whatever a torn or foreign file makes torch.load raise
        raise UserError(
            f"cannot read {path} ({type(error).__name__}): the file is torn or foreign; train "
            f"this run anew"
        ) from None
    return found
