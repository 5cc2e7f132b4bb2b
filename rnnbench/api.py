"""The command line from Python: train, sweep, judge, report. Keys and values are those that one
types.

    run = rnnbench.train(cell="gru", task="copy", optim={"lr": 0.01})
    run.record["primary"], run.curve, run.network
    table = rnnbench.sweep(cell=["lstm", "gru"], task="adding", seed=range(5), study="mine")
    rnnbench.report("results/runs/mine")

A key may be nested (`optim={"lr": 0.01}`) or have dots (`**{"optim.lr": 0.01}`). A cell or a task
may be a name, a file ("mycell.py:mycell"), or a function or class of the session, whose source is
written down. In a notebook progress and results are shown as HTML.
"""

import hashlib
import html
import inspect
import re
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnbench.catalogue import choices, read
from rnnbench.console import RunView, say
from rnnbench.errors import Interrupted, UserError

if TYPE_CHECKING:
    import pandas as pd

    from rnnbench.nn import Predictor
    from rnnbench.tools.judge import Verdict

Choice = str | Callable[..., Any]
RESULTS = "results/runs"  # as config.yaml has it
DRAWN = re.compile(r"(interval|choice|range|tag|sort|shuffle)\(")


@dataclass(frozen=True)
class Run:
    """A run that was trained. record: what `record.json` holds. folder: where all of it lies."""

    folder: Path
    record: Mapping[str, Any]

    @cached_property
    def curve(self) -> "pd.DataFrame":
        """What was measured at each validation: a row per step and split (train, valid)."""
        import pandas as pd

        return pd.DataFrame(self._folder.curve())

    @cached_property
    def network(self) -> "Predictor":
        """The layers with the weights that were best in validation, and the read-out."""
        from rnnbench.nn import Predictor
        from rnnbench.tools.opening import open_run

        opened = open_run(self.folder, say=lambda _: None)
        assert opened.plan, "a module of ours is made of equations"  # a UserError where it is not
        network, model = opened.network, opened.settings.model
        inputs, outputs = opened.task.inputs, opened.task.outputs
        cell = opened.settings.cell
        made = Predictor(
            cell.step,
            cell.constants,
            inputs,
            network.hidden,
            model.layers,
            model.dropout,
            outputs,
            opened.task.symbols,
            network.flat.dtype,
        )
        made.fill({name: tensor[0] for name, tensor in network.params.items()})
        return made

    @property
    def _folder(self) -> Any:
        from rnnbench.runs.records import Folder

        return Folder(self.folder)

    def __repr__(self) -> str:
        record, primary = self.record, self.record["primary"]
        return (
            f"{record['cell']} on {record['task']}, seed {record['seed']}: {record['status']}, "
            f"{primary['name']} {_number(primary['value'])}"
        )

    def _repr_html_(self) -> str:
        from rnnbench.charts import lines

        reported = self.record["best"] or self.record["final"]
        scores = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{_number(reported['test'][name])}</td>"
            f"<td>{_number(reported['valid'].get(name))}</td>"
            f"<td>{_number(self.record['baseline'].get(name))}</td></tr>"
            for name in reported["test"]
        )
        head = "".join(f"<th>{name}</th>" for name in ("", "test", "valid", "without memory"))
        picture = lines.learning([(self._folder, dict(self.record))]).svg.decode()
        return f"<p>{html.escape(repr(self))}</p><table><tr>{head}</tr>{scores}</table>{picture}"


@dataclass(frozen=True)
class Report:
    """A report that was written. path: of its page."""

    path: Path

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text("utf-8"))
        return f'<iframe srcdoc="{page}" width="100%" height="600"></iframe>'


def train(cell: Choice, task: Choice, **settings: Any) -> Run:
    """Train one run, as `rnnbench train` does: what has ended is not repeated, what was interrupted
    goes on.

    Raises UserError for what cannot work, KeyboardInterrupt after saving.
    """
    from rnnbench.compose import compose
    from rnnbench.runs.lock import claim
    from rnnbench.runs.records import Folder
    from rnnbench.training.run import run_pack
    from rnnbench.training.train import no_word_of_threads

    overrides = _typed({"cell": cell, "task": task} | settings)
    composed = compose(overrides)
    folder = Folder.of(composed)
    known = folder.record()
    if known and known["status"] != "failed":
        return Run(folder.path, known)
    with ExitStack() as held, _screen() as screen, no_word_of_threads():
        if not claim(held, folder):
            raise UserError(f"another process is training this very run: {folder.path}")
        try:
            run_pack([composed], [overrides], screen, say)
        except Interrupted:
            raise KeyboardInterrupt("all is saved; the same call goes on") from None
    return Run(folder.path, folder.record() or {})


def sweep(cell: Choice | Sequence[Choice], task: Choice | Sequence[Choice], **settings: Any) -> Any:
    """Train every combination, as `rnnbench train -m` does; a list, tuple or range is a choice.

    Texts such as "interval(1e-4, 1e-1)" are drawn from, with trials=20. Returns the table of all
    runs of the study (`rnnbench.load`), a pandas DataFrame. Raises UserError, SomeFailed where
    runs failed (the others are done), KeyboardInterrupt after saving.
    """
    from rnnbench.compose import compose, run
    from rnnbench.runs.frame import load

    words = _typed({"cell": cell, "task": task} | settings, many=True)
    failed: list[Exception] = []

    def job(settings: Any, overrides: list[str]) -> None:
        from rnnbench.training.train import train

        train(settings, overrides, "rnnbench.sweep(…)")

    try:
        run(["-m", *words], job, lambda _, error: failed.append(error) if error else None)
    except Interrupted:
        raise KeyboardInterrupt("what was running is saved; the same call goes on") from None
    if failed:
        raise failed[0]
    kept = [word for word in words if word.partition("=")[0] in ("study", "paths.results")]
    plain = compose(kept)
    return load(Path(plain.paths.results).expanduser() / plain.study)


def report(
    *places: str | Path | Run, out: str | Path | None = None, baseline: str | None = None
) -> Report:
    """Write the report of the runs in these places, as `rnnbench report` does."""
    from rnnbench.report.render import write_report
    from rnnbench.studies.progress import progress

    folders = [str(place.folder if isinstance(place, Run) else place) for place in places]
    place = Path(out) if out else None
    path = Path(write_report(folders, place, baseline, progress=progress))
    return Report(path)


def judge(
    cell: Choice,
    against: Choice,
    task: Choice = "adding",
    *,
    by: str = "params",
    budget: int = 128,
    margin: str | float = "5%",
    **settings: Any,
) -> "Verdict":
    """Is one cell better than another? As `rnnbench judge`; the verdict prints as its page does.

    Raises UserError, SomeFailed where runs failed, KeyboardInterrupt after saving.
    """
    from rnnbench.tools.judge import judge as judged

    words = _typed({"task": task} | settings)
    folder = Path(dict(_flat(settings)).get("paths.results") or RESULTS).expanduser()
    names = [
        one if isinstance(one, str) else ours("cell", one) or written(one, folder)
        for one in (cell, against)
    ]
    try:
        return judged(names[0], names[1], words, by, budget, str(margin))
    except Interrupted:
        raise KeyboardInterrupt("what was running is saved; the same call goes on") from None


def _typed(settings: Mapping[str, Any], many: bool = False) -> list[str]:
    """Settings as one would type them: ["cell=gru", "optim.lr=0.01"]."""
    from rnnbench.compose import GROUPS

    words = []
    for key, value in _flat(settings):
        several = many and isinstance(value, (list, tuple, range))
        values = list(value) if several else [value]
        if not values:
            raise UserError(f"{key} has no value to choose from")
        if key in ("cell", "task"):
            folder = Path(dict(_flat(settings)).get("paths.results") or RESULTS).expanduser()
            values = [
                item if isinstance(item, str) else ours(key, item) or written(item, folder)
                for item in values
            ]
        elif key not in GROUPS:
            values = [_word(item, many) for item in values]
        words.append(f"{key}={','.join(map(str, values))}")
    return words


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _word(value: Any, many: bool) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_word(item, many) for item in value)}]"
    if isinstance(value, (int, float)):
        return repr(value)
    text = str(value)
    if many and DRAWN.match(text):
        return text
    escaped = re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"


def ours(group: str, thing: Callable[..., Any]) -> str | None:
    """The name that we have for one of our functions or classes, if it is one."""
    target = f"{thing.__module__}.{thing.__qualname__}"
    key = {"cell": "step", "task": "type"}[group]
    names = [name for name in choices(group) if read(group, name).get(key) == target]
    return thing.__name__ if thing.__name__ in names else names[0] if names else None


def written(thing: Callable[..., Any], folder: Path) -> str:
    """`path/to/file.py:name` of a file with the source of a function or class of the session, and
    of what it uses: imports, constants, other functions.

    UserError where Python keeps no source of it.
    """
    if thing.__name__ == "<lambda>" or getattr(thing, "__closure__", None):
        raise UserError(f"{thing.__qualname__} must be a function or class with a name of its own")
    imports, parts = dict[str, str](), dict[str, str]()
    _gather(thing, imports, parts)
    text = "\n".join(imports.values()) + "\n\n\n" + "\n\n".join(parts.values())
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    path = folder / ".source" / f"{thing.__name__}_{digest}.py"
    if not path.is_file():
        from rnnbench.runs.records import write

        write(path, text)
    return f"{path}:{thing.__name__}"


def _gather(thing: Any, imports: dict[str, str], parts: dict[str, str]) -> None:
    """The source of a thing after that of what it names, each once."""
    try:
        source = textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):
        raise UserError(
            f"Python keeps no source of {thing.__name__}; write it into a file and give "
            f"file.py:{thing.__name__}"
        ) from None
    known = vars(sys.modules[thing.__module__])
    parts[thing.__name__] = ""  # begun: it may name itself
    for name in _globals(symtable.symtable(source, thing.__name__, "exec")):
        if name not in known or name in parts or name in imports:
            continue
        value = known[name]
        home = getattr(value, "__module__", None)
        if inspect.ismodule(value):
            imports[name] = f"import {value.__name__} as {name}"
        elif (inspect.isfunction(value) or inspect.isclass(value)) and home == thing.__module__:
            _gather(value, imports, parts)
            continue
        elif isinstance(value, (int, float, str, bool, tuple, type(None))):
            parts[name] = f"{name} = {value!r}\n"
        elif home and hasattr(value, "__name__"):
            imports[name] = f"from {_public(value, home)} import {value.__name__} as {name}"
        else:
            raise UserError(
                f"{thing.__name__} uses {name}, a {type(value).__name__} of the session; write "
                f"both into a file and give file.py:{thing.__name__}"
            )
    parts[thing.__name__] = parts.pop(thing.__name__) + source


def _globals(scope: symtable.SymbolTable) -> Iterator[str]:
    """The names that a piece of source takes from its session, not its arguments and locals."""
    top = scope.get_type() == "module"
    for symbol in scope.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for inner in scope.get_children():
        yield from _globals(inner)


def _public(value: Any, home: str) -> str:
    """Where a name can be imported from: functions of torch say `torch._VariableFunctions`."""
    while home and getattr(sys.modules.get(home), value.__name__, None) is not value:
        home = home.rpartition(".")[0]
    return home or "torch"


def _screen() -> RunView:
    """Who looks on: in a notebook an HTML bar, else the command line's."""
    try:
        from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return RunView()
    shell = get_ipython()
    return Notebook(display) if shell is not None and hasattr(shell, "kernel") else RunView()


class Notebook(RunView):
    """A bar with the last scores, drawn anew in its place."""

    def __init__(self, display: Callable[..., Any]) -> None:
        super().__init__()
        self.display, self.handle = display, None
        self.name, self.scores, self.done, self.steps = "", "", 0, 1

    def start(self, pack: Any, step: int) -> None:
        run = pack.runs[0]
        self.name = f"{run.cell.name} on {run.task['name']}, seed {run.seed}"
        self.metric, self.done, self.steps = pack.task.metric, step, pack.steps
        self.handle = self.display(self, display_id=True)

    def stepped(self, step: int, loss_K: Any) -> None:
        self.done = step
        if step * 100 // self.steps != (step - 1) * 100 // self.steps:
            self._update()

    def validated(self, rows: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        for fresh in rows:
            if fresh:
                train, valid = fresh
                self.scores = (
                    f"loss {train['loss']:.4f}, valid {self.metric} {valid[self.metric]:.4g}"
                )
        self._update()

    def _update(self) -> None:
        if self.handle is not None:
            self.handle.update(self)

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self.done}" max="{self.steps}"></progress>'
        name, scores = html.escape(self.name), html.escape(self.scores)
        return f"{name} {bar} {self.done} of {self.steps} steps {scores}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
