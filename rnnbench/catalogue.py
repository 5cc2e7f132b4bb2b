"""What a user can choose, and how a name becomes code: the folders of `configs/` are the registry.

Knows no cell and no task by name, and loads neither torch nor Hydra: a module is imported when it
is asked for.
"""

import ast
import hashlib
import importlib
import inspect
import pkgutil
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from omegaconf import OmegaConf

from rnnbench import plugins
from rnnbench.errors import UserError, unknown

HERE = Path(__file__).resolve().parent
KINDS = {  # group whose choices are code: the folder, and what a module of it holds
    "optim": ("rnnbench.engine.rules", "RULE"),
    "engine": ("rnnbench.engine.unrollers", "UNROLLER"),
}
_importing = threading.RLock()  # one file's neighbours at a time
TASK_FILES = ("corpus", "path", "test_path", "type")  # settings of tasks that may name files


@dataclass(frozen=True)
class About:
    """What a docstring says: its first paragraph, where the equations come from, the reading chosen
    where sources disagree.
    """

    summary: str
    source: str = ""
    reading: str = ""


def about(docstring: str | None) -> About:
    """Read the fixed form of a docstring: what it is, then paragraphs that begin with `Source:`
    and `Reading:`.
    """
    first, _, rest = inspect.cleandoc(docstring or "").partition("\n\n")
    parts = re.split(r"^(Source|Reading):", rest, flags=re.MULTILINE)
    # A paragraph ends at a blank line; what follows belongs to no field.
    fields = {
        key.lower(): " ".join(text.strip().split("\n\n")[0].split())
        for key, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    return About(" ".join(first.split()), **fields)


def config_dir() -> Path:
    """The folder of configurations: inside an installed package, or at the top of the
    repository.
    """
    inside = HERE / "configs"
    return inside if inside.is_dir() else HERE.parent / "configs"


def choices(group: str) -> list[str]:
    """What can be selected in a group: `choices("cell")` → ["cifg", "coupled", …]."""
    return sorted(path.stem for path in (config_dir() / group).glob("*.yaml"))


def cells() -> list[str]:
    """Those of ours that are equations: without layers of other kinds, and without `own`."""
    return [name for name in choices("cell") if (step(name) or "").startswith("rnnbench.cells.")]


def read(group: str, name: str) -> dict[str, Any]:
    """The values that `group=name` selects, over the defaults of `config.yaml`.

    A value not given (???) is left out.

    Hydra composes runs; this is for listings, which would wait a second for it.
    """
    if name not in choices(group):
        raise unknown(group, name, choices(group), f"rnnbench list {group}s")
    common = _plain(config_dir() / "config.yaml").get(group) or {}
    values: Any = OmegaConf.to_container(OmegaConf.merge(common, *_layers(group, name)))
    return {key: value for key, value in values.items() if value != "???"}


@cache
def step(cell: str) -> str | None:
    """The equations of a cell of ours; None for `own`, which has none before it is given some."""
    found: str | None = read("cell", cell).get("step")
    return found


@cache
def _plain(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path)) or {}  # type: ignore[return-value]


def _layers(group: str, name: str) -> list[Any]:
    """What a YAML says of its group, after what the YAMLs in its `defaults` say."""
    path = config_dir() / group / f"{name}.yaml"
    own = dict(_plain(path))
    bases = own.pop("defaults", [])
    if "@package _global_" in path.read_text("utf-8"):
        own = own.get(group, {})
    # a mapping selects from another group
    stack = [base for base in bases if isinstance(base, str)]
    return [
        layer
        for base in [*stack, *["_self_"] * ("_self_" not in stack)]
        for layer in ([own] if base == "_self_" else _layers(group, base))
    ]


def remark(group: str, name: str) -> About | None:
    """What the comment at the top of a YAML says, as in `# Author (2015): the network started at
    the identity.`
    """
    path = config_dir() / group / f"{name}.yaml"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    top = lines[: next((k for k, line in enumerate(lines) if line[:1] != "#"), None)]
    comment = " ".join(line.lstrip("# ") for line in top if "@package" not in line)
    source, colon, text = comment.partition("): ")
    if not colon:
        return About(comment) if comment else None
    return About(text[:1].upper() + text[1:], f"{source}).")


def kinds(group: str) -> dict[str, Any]:
    """Every optimiser or engine that is installed, by its name."""
    return plugins.found(*KINDS[group])


def outside(group: str) -> set[str]:
    """The names of those that other packages have and our folder of configurations has not."""
    return plugins.names(KINDS[group][0]) - set(choices(group)) if group in KINDS else set()


def kind(group: str, name: str) -> Any:
    """The optimiser or the engine `name`: one that is installed, or `path/to/file.py:NAME`.

    Raises UserError.
    """
    known = kinds(group)
    if is_file(name):
        made = resolve(name, f"{group}.name")
        return plugins.checked(made, type(next(iter(known.values()))), f"{group}.name={name}")
    if name not in known:
        automatic = ["auto"] if group == "engine" else []  # which is chosen, and is no engine
        raise unknown(group, name, [*automatic, *known])
    return known[name]


def resolve(target: str, what: str) -> Any:
    """The object behind `package.module.name` or `path/to/file.py:name`; the path is relative to
    the current folder.

    what: the setting that holds the target (`cell.step`), for messages. Raises UserError.
    """
    place, _, name = target.rpartition(":" if is_file(target) else ".")
    if not place or not name.isidentifier():
        file = place or target
        example = (
            f"{file}:name"
            if file.endswith(".py")
            else "package.module.name or path/to/file.py:name"
        )
        raise UserError(f"{what} must be {example}, got '{target}'")
    module = (
        _from_file(place, what) if is_file(target) else _from_package(place, f"{what}={target}")
    )
    if not hasattr(module, name):
        where = Path(place).name if is_file(target) else place
        known = [
            n
            for n, v in vars(module).items()
            if not n.startswith("_") and getattr(v, "__module__", None) == module.__name__
        ]
        raise UserError(f"{what}: {unknown(f'name in {where}:', name, known)}")
    return getattr(module, name)


def file_digest(target: str, what: str = "file") -> str | None:
    """SHA-256 of the file that `path/to/file.py:name` names; None for `package.module.name`.

    Of a file with neighbours: of the digests of all. what: see `resolve`.
    """
    if not is_file(target):
        return None
    place = target.rpartition(":")[0] or target
    own = hashlib.sha256(_bytes(place, what)).hexdigest()
    others = [hashlib.sha256(file.read_bytes()).hexdigest() for file in neighbours(Path(place))]
    return hashlib.sha256(" ".join([own, *others]).encode()).hexdigest() if others else own


def neighbours(path: Path) -> list[Path]:
    """The Python files beside a Python file that it imports, and those that they import, by name.

    Modules of Python's own come before files of their names.
    """
    path = path.expanduser().resolve()
    found: set[Path] = set()
    waiting = [path] if path.suffix == ".py" else []
    while waiting:
        for name in _imported(waiting.pop()):
            file = path.with_name(f"{name}.py")
            if name not in sys.stdlib_module_names and file.is_file() and file not in found:
                found.add(file)
                waiting.append(file)
    return sorted(found - {path})


def _imported(path: Path) -> Sequence[str]:
    """The top-level names of what a file imports; none of one that cannot be read."""
    try:
        return _imported_by(path.read_bytes())
    except OSError:
        return ()


@lru_cache(maxsize=16)  # a file of many cells is asked for once a cell
def _imported_by(source: bytes) -> tuple[str, ...]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.append(node.module.partition(".")[0])
    return tuple(found)


def task_files(task: Mapping[str, Any]) -> dict[str, str]:
    """Setting → the file of the user's that it names: a text, data, a class."""
    found = {key: str(task.get(key) or "") for key in TASK_FILES}
    return {
        key: target
        for key, target in found.items()
        if target and (is_file(target) if key == "type" else Path(target).expanduser().is_file())
    }


def task_digest(task: Mapping[str, Any]) -> str | None:
    """SHA-256 of the files of the user's that a task is made of; None: there are none.

    Of several: of their digests, joined.
    """
    digests = [
        file_digest(target if key == "type" else f"{target}:data", f"task.{key}") or ""
        for key, target in task_files(task).items()
    ]
    if len(digests) < 2:
        return digests[0] if digests else None
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def is_file(target: str) -> bool:
    """Whether code is named by a file of the user's, `path/to/file.py:name`."""
    return ":" in target or "/" in target or target.endswith(".py")


def _bytes(path: str, what: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{what}: no file '{path}' in {Path.cwd()}; paths are relative to the current folder"
        ) from None
    except OSError as error:
        raise UserError(f"{what}: cannot read '{path}': {error.strerror}") from None


def _from_file(path: str, what: str) -> ModuleType:
    """Run a file as a module of its own, one per path and content: an edited file is never answered
    from a cache.
    """
    source, full = _bytes(path, what), Path(path).expanduser().resolve()
    beside = neighbours(full)
    content = [source, *(file.read_bytes() for file in beside)]
    identity = hashlib.sha256(b"\0".join([bytes(full), *content])).hexdigest()[:16]
    name = f"_rnnbench_file_{re.sub(r'[^0-9a-zA-Z]', '_', full.stem)}_{identity}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(full)
    sys.modules[name] = module  # dataclasses and inspect look a module up while it runs
    try:
        with _importable(beside):
            exec(compile(source, str(full), "exec", dont_inherit=True), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UserError(f"{what}: {path}{_line(error, str(full))}: {_told(error)}") from error
    return module


@contextmanager
def _importable(files: Iterable[Path]) -> Iterator[None]:
    """While a file runs, its neighbours are modules, before all others of their names; afterwards
    they are none, so that files of one name in two folders do not meet.
    """
    finder = _Neighbours({file.stem: file for file in files})
    with _importing:
        before = {name: sys.modules.pop(name, None) for name in finder.files}
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            for name, module in before.items():
                sys.modules.pop(name, None)
                if module is not None:
                    sys.modules[name] = module


@dataclass(eq=False)
class _Neighbours(MetaPathFinder):
    """files: by the name that imports them."""

    files: Mapping[str, Path]

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name not in self.files:
            return None
        file = self.files[name]
        return spec_from_file_location(name, file, loader=_Fresh(name, str(file)))


class _Fresh(SourceFileLoader):
    """Reads the file, never what Python made of it earlier."""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.get_data(self.path), self.path, "exec", dont_inherit=True)


def _from_package(dotted: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError as error:
        if not error.name or not f"{dotted}.".startswith(f"{error.name}."):
            raise UserError(f"{what}: {dotted} cannot be imported: {_told(error)}") from error
        parent, _, missing = error.name.rpartition(".")
        if not parent:
            raise UserError(
                f"{what}: no package '{missing}' is installed; for a file of yours write "
                f"path/to/file.py:name"
            ) from None
        modules = [
            m.name for m in pkgutil.iter_modules(getattr(sys.modules[parent], "__path__", []))
        ]
        raise UserError(f"{what}: {unknown(f'module in {parent}:', missing, modules)}") from None
    except Exception as error:
        raise UserError(f"{what}: {dotted} cannot be imported: {_told(error)}") from error


def blame(error: BaseException, target: str) -> str:
    """An error in one line, after the place in the user's file that it passed through."""
    file = target.rpartition(":")[0] or target
    return f"{file}{_line(error, str(Path(file).expanduser().resolve()))}: {_told(error)}"


def _line(error: BaseException, file: str) -> str:
    """`:12`, the last line of `file` that an error passed through."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f":{error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == file
    ]
    return f":{lines[-1]}" if lines else ""


def _told(error: BaseException) -> str:
    """An error in one line: its kind and what it says, with the offending text where there
    is one.
    """
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    text = f" in '{error.text.strip()}'" if isinstance(error, SyntaxError) and error.text else ""
    return f"{type(error).__name__}: {' '.join(said.split())}{text}"
