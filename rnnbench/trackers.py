"""Who else is told of a run while it trains: `logger=tensorboard|csv|wandb|mlflow`, or a list.

All get the same names, those of TensorBoard. wandb and mlflow work offline, into the folder of the
results, unless their own variables (WANDB_MODE, MLFLOW_TRACKING_URI) say otherwise; a client that
fails is left out of the rest of the run, which goes on: its record has everything.
"""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Protocol

from rnnbench.board import Board, flat, name_run, tag
from rnnbench.errors import UserError
from rnnbench.runs.records import CurveRow, Folder, write
from rnnbench.settings import Settings

Scores = Mapping[str, float]


class Tracker(Protocol):
    """rows: of the curve; scores: on the test set, once the run has ended."""

    def add(self, rows: Iterable[CurveRow]) -> None: ...
    def close(self, settings: Mapping[str, Any] | None, scores: Scores | None) -> None: ...


def named(rows: Iterable[CurveRow]) -> Iterator[tuple[int, str, float]]:
    """(step, name, value) of every number, as TensorBoard calls it."""
    for row in rows:
        for column, value in row.items():
            if column not in ("step", "split", "seconds") and value is not None:
                yield row["step"], tag(column, row["split"]), value


class Csv:
    """scalars.csv in the run's folder: step, name, value."""

    def __init__(self, folder: Folder, settings: Settings) -> None:
        self.path = folder.path / "scalars.csv"
        write(self.path, "step,name,value\n")

    def add(self, rows: Iterable[CurveRow]) -> None:
        self._append(named(rows))

    def close(self, settings: Mapping[str, Any] | None, scores: Scores | None) -> None:
        self._append(("", name, value) for name, value in (scores or {}).items())

    def _append(self, lines: Iterable[Sequence[Any]]) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)


class Wandb:
    """A run of Weights & Biases in the project of the study's name; offline unless WANDB_MODE."""

    def __init__(self, folder: Folder, settings: Settings) -> None:
        import wandb

        place = Path(settings.paths.results).expanduser()
        place.mkdir(parents=True, exist_ok=True)
        self.run = wandb.init(
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            dir=str(place),
            project=settings.study,
            id=folder.path.name,
            name=f"{settings.cell.name} {settings.task['name']} {settings.seed}",
            group=f"{settings.cell.name} {settings.task['name']}",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )

    def add(self, rows: Iterable[CurveRow]) -> None:
        by_step: dict[int, dict[str, float]] = {}
        for step, name, value in named(rows):
            by_step.setdefault(step, {})[name] = value
        for step, values in by_step.items():
            self.run.log(values, step=step)

    def close(self, settings: Mapping[str, Any] | None, scores: Scores | None) -> None:
        self.run.config.update(dict(flat(settings or {})))  # type: ignore[no-untyped-call]
        self.run.summary.update(dict(scores or {}))
        self.run.finish(exit_code=0 if settings is not None else 1)


class Mlflow:
    """A run of MLflow in the experiment of the study's name, in RESULTS/mlflow.db unless
    MLFLOW_TRACKING_URI; an earlier attempt at the same run is deleted.
    """

    def __init__(self, folder: Folder, settings: Settings) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric

        self.metric = Metric
        place = Path(settings.paths.results).expanduser().absolute()
        place.mkdir(parents=True, exist_ok=True)
        local = f"sqlite:///{place / 'mlflow.db'}"
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI", local))
        known = self.client.get_experiment_by_name(settings.study)
        experiment = known.experiment_id if known else self.client.create_experiment(settings.study)
        this = f"tags.rnnbench = '{folder.path.name}'"
        for earlier in self.client.search_runs([experiment], this):
            self.client.delete_run(earlier.info.run_id)
        name = f"{settings.cell.name} {settings.task['name']} {settings.seed}"
        tags = {"rnnbench": folder.path.name}
        self.id = self.client.create_run(experiment, run_name=name, tags=tags).info.run_id

    def add(self, rows: Iterable[CurveRow]) -> None:
        metrics = [self.metric(name, value, 0, step) for step, name, value in named(rows)]
        if metrics:
            self.client.log_batch(self.id, metrics=metrics)

    def close(self, settings: Mapping[str, Any] | None, scores: Scores | None) -> None:
        for key, value in flat(settings or {}):
            self.client.log_param(self.id, key, value)
        for name, value in (scores or {}).items():
            self.client.log_metric(self.id, name, value)
        self.client.set_terminated(self.id, "FINISHED" if settings is not None else "KILLED")


CLIENTS: Mapping[str, Callable[[Folder, Settings], Tracker]] = {
    "csv": Csv,
    "wandb": Wandb,
    "mlflow": Mlflow,
}


class Trackers:
    """All trackers of one run. rows: what an earlier attempt had reached. overrides: what was typed
    for the run; those settings lead in TensorBoard's table.
    """

    def __init__(
        self,
        folder: Folder,
        settings: Settings,
        rows: Sequence[CurveRow],
        overrides: Sequence[str],
        say: Callable[[str], None],
    ) -> None:
        self.say = say
        self.board: Board | None = None
        self.clients: dict[str, Tracker] = {}
        for name in settings.paths.loggers:
            if name == "tensorboard":
                typed = (word.partition("=")[0] for word in overrides)
                self.board = Board(folder.board_path, rows, ["optim.lr", "seed", *typed])
                name_run(folder.board_path, settings.optim.lr, settings.seed)
            else:
                self._begin(name, folder, settings, rows)

    def _begin(
        self, name: str, folder: Folder, settings: Settings, rows: Sequence[CurveRow]
    ) -> None:
        def begin() -> None:
            self.clients[name] = CLIENTS[name](folder, settings)
            self.clients[name].add(rows)

        try:
            self._told(name, begin)
        except ImportError:
            raise UserError(f"logger={name} needs {name}: pip install 'rnnbench[{name}]'") from None

    def _told(self, name: str, action: Callable[[], None]) -> None:
        """Let a client act; one that fails is left out from here on."""
        try:
            with redirect_stdout(StringIO()):  # what clients print is not ours
                action()
        except (ImportError, UserError):
            raise
        except Exception as error:
            self.clients.pop(name, None)
            said = " ".join(str(error).split())[:150]
            self.say(f"logger={name} failed and is left out of this run: {said}")

    def add(self, rows: Iterable[CurveRow]) -> None:
        fresh = list(rows)
        if self.board:
            self.board.add(fresh)
        for name, client in list(self.clients.items()):
            self._told(name, lambda client=client: client.add(fresh))  # type: ignore[misc]

    def add_look(
        self, step: int, by_lag: Mapping[str, Sequence[float]], spread: Mapping[str, Any]
    ) -> None:
        """Histograms, for TensorBoard alone; see `Board.add_look`."""
        if self.board:
            self.board.add_look(step, by_lag, spread)

    def close(
        self, settings: Mapping[str, Any] | None = None, scores: Scores | None = None
    ) -> None:
        """The end, with settings and scores if the run has ended."""
        if self.board:
            self.board.close(settings, scores)
        for name, client in list(self.clients.items()):
            self._told(name, lambda client=client: client.close(settings, scores))  # type: ignore[misc]
