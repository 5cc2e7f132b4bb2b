"""rnnbench's sweepers and launcher, where Hydra looks for plugins. Everything heavy is imported when a sweep starts.

`rnnbench train -m …` uses them by default: hydra/sweeper=grid and hydra/launcher=packs. hydra/sweeper=random draws trials.
Hydra's own launchers, and other people's, get one job at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

HERE = "hydra_plugins.rnnbench_plugins"


class PackLauncher(Launcher):
    """Trains runs of equal shape together, in packs, on workers."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Hydra's way in, for other sweepers."""
        jobs = [dict(override.split("=", 1) for override in overrides) for overrides in job_overrides]
        self.run(jobs, [f"{key}={value}" for job in jobs for key, value in job.items()])
        return []

    def run(self, jobs: Sequence[dict[str, str]], arguments: Sequence[str]) -> None:
        from rnnbench.sweep.launch import Options, launch
        from rnnbench.sweep.planning import groups_in, planned

        loader = self.context.config_loader
        options = Options(**OmegaConf.to_container(OmegaConf.create(self.options)))  # type: ignore[arg-type]
        made = planned(jobs, groups_in(jobs, loader), lambda overrides: loader.load_sweep_config(self.config, list(overrides)))
        launch(made, options, ["-m", *arguments])


class _OwnSweeper(Sweeper):
    """What both sweepers share: jobs as data, to our launcher as they are, to any other as lists of overrides."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        from rnnbench.sweep.planning import jobs_of

        jobs = jobs_of(arguments, self.context.config_loader, self.draw)
        if isinstance(self.launcher, PackLauncher):
            return self.launcher.run(jobs, arguments)
        overrides = [[f"{key}={value}" for key, value in job.items()] for job in jobs]
        return [result.return_value for result in self.launcher.launch(overrides, initial_job_idx=0)]

    def draw(self, axes: Any) -> Any:
        raise NotImplementedError


class GridSweeper(_OwnSweeper):
    """Every combination of what was typed."""

    def draw(self, axes: Any) -> Any:
        from rnnbench.sweep.expand import grid

        return grid(axes)


class RandomSweeper(_OwnSweeper):
    """Trials drawn from interval(…), choice(…) and range(…), the same for every combination of the rest."""

    def __init__(self, trials: int, sampler: str, seed: int) -> None:
        self.trials, self.sampler, self.seed = trials, sampler, seed

    def draw(self, axes: Any) -> Any:
        from rnnbench.sweep.expand import random

        return random(axes, self.trials, self.sampler, self.seed)


@dataclass
class PackLauncherConf:
    _target_: str = f"{HERE}.PackLauncher"
    backend: str = "loky"
    workers: int | None = None
    pack: int = 32
    retry: str = "failed"
    fail_fast: bool = False
    cluster: dict[str, Any] = field(default_factory=dict)


@dataclass
class GridSweeperConf:
    _target_: str = f"{HERE}.GridSweeper"


@dataclass
class RandomSweeperConf:
    _target_: str = f"{HERE}.RandomSweeper"
    trials: int = 20
    sampler: str = "random"
    seed: int = 0


store = ConfigStore.instance()
store.store(group="hydra/launcher", name="packs", node=PackLauncherConf, provider="rnnbench")
store.store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="rnnbench")
store.store(group="hydra/sweeper", name="random", node=RandomSweeperConf, provider="rnnbench")
