"""rnnbench's sweepers and launcher, where Hydra looks for plugins.

Everything heavy is imported when a sweep starts.

`rnnbench train -m …` uses them by default: hydra/sweeper=grid and hydra/launcher=packs.
hydra/sweeper=random draws trials. Hydra's own launchers, and other people's, get one job at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

HERE = "hydra_plugins.rnnbench_plugins"


class PackLauncher(Launcher):
    """Trains runs of equal shape together, in packs, on workers."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.config = hydra_context, config

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Hydra's way in, for other sweepers; what they want to know of a run is its
        primary score.
        """
        from rnnbench.sweep.planning import with_own

        words = [[o.partition("=") for o in overrides] for overrides in job_overrides]
        made = self.run([with_own({k: v for k, _, v in one}) for one in words])
        records = [job.folder.record() or {} for job in made]
        return [
            JobReturn(
                overrides=list(job.overrides),
                status=JobStatus.COMPLETED,
                _return_value=(record.get("primary") or {}).get("value"),
            )
            for job, record in zip(made, records, strict=True)
        ]

    def run(self, jobs: Sequence[dict[str, str]]) -> Sequence[Any]:
        from rnnbench.compose import COMMAND, PLAN
        from rnnbench.sweep.launch import launch

        made, options = self.planned(jobs)
        if (plan := PLAN.get()) is not None:
            plan(made, options)
        else:
            launch(made, options, COMMAND.get())
        return made

    def planned(self, jobs: Sequence[dict[str, str]]) -> tuple[Sequence[Any], Any]:
        """The jobs with their settings, and the options of the launch."""
        from rnnbench.settings import typed
        from rnnbench.sweep.launch import Options
        from rnnbench.sweep.planning import groups_in, planned

        loader = self.context.config_loader
        options = typed(Options, OmegaConf.create(self.options), "")
        return planned(
            jobs,
            groups_in(jobs, loader),
            lambda overrides: loader.load_sweep_config(self.config, list(overrides)),
        ), options


class _OwnSweeper(Sweeper):
    """What both sweepers share: jobs as data, to our launcher as they are, to any other as lists of
    overrides.
    """

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def jobs(self, arguments: Sequence[str]) -> list[dict[str, str]]:
        from rnnbench.sweep.planning import jobs_of

        return jobs_of(arguments, self.context.config_loader, self.draw)

    def sweep(self, arguments: list[str]) -> Any:
        from rnnbench.errors import SomeFailed
        from rnnbench.sweep.planning import typed

        jobs = self.jobs(arguments)
        if isinstance(self.launcher, PackLauncher):
            return self.launcher.run(jobs)
        assert self.launcher is not None  # Hydra has called setup
        codes = [
            result.return_value
            for result in self.launcher.launch(
                [list(typed(job)) for job in jobs], initial_job_idx=0
            )
        ]
        if failed := [
            code for code in codes if code
        ]:  # where the launcher has processes of its own, all that comes back
            raise SomeFailed(
                f"{len(codes) - len(failed)} of {len(codes)} runs are done; the errors are "
                f"listed above"
            )
        return codes

    def draw(self, axes: Any) -> Any:
        raise NotImplementedError


class GridSweeper(_OwnSweeper):
    """Every combination of what was typed."""

    def draw(self, axes: Any) -> Any:
        from rnnbench.sweep.expand import grid

        return grid(axes)


class RandomSweeper(_OwnSweeper):
    """Trials drawn from interval(…), choice(…) and range(…), the same for every combination of the
    rest.
    """

    def __init__(self, **draws: Any) -> None:
        self.draws = draws

    def draw(self, axes: Any) -> Any:
        from rnnbench.settings import typed
        from rnnbench.sweep.expand import Draws, random

        return random(axes, typed(Draws, self.draws, ""))


@dataclass
class PackLauncherConf:  # types are checked where they are used, in words of ours
    _target_: str = f"{HERE}.PackLauncher"
    backend: Any = "loky"
    workers: Any = None
    pack: Any = 32
    retry: Any = "failed"
    fail_fast: Any = False
    cluster: dict[str, Any] = field(default_factory=dict)


@dataclass
class GridSweeperConf:
    _target_: str = f"{HERE}.GridSweeper"


@dataclass
class RandomSweeperConf:
    _target_: str = f"{HERE}.RandomSweeper"
    trials: Any = 20
    sampler: Any = "random"
    seed: Any = 0


store = ConfigStore.instance()
store.store(group="hydra/launcher", name="packs", node=PackLauncherConf, provider="rnnbench")
store.store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="rnnbench")
store.store(group="hydra/sweeper", name="random", node=RandomSweeperConf, provider="rnnbench")
