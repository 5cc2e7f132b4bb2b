"""What tests share: the real configuration, composed as users compose it, with folders of its own;
a watcher that says nothing.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import settings as hypothesis_settings

from rnnbench.settings import Settings

# how long a case takes says nothing on a busy machine
hypothesis_settings.register_profile("steady", deadline=None)
hypothesis_settings.load_profile("steady")


@cache
def _composed(overrides: tuple[str, ...]) -> Settings:
    from rnnbench.compose import compose

    return compose(overrides)


class Silent:
    """A watcher that looks away; with `stop_after`, it asks to stop once so many steps were
    made.
    """

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.step, self.losses = stop_after, 0, []

    def start(self, pack, step):
        self.step = step

    def stepped(self, step, loss_K):
        self.step = step
        self.losses.append(loss_K.tolist())

    def validated(self, rows):
        pass

    def interrupted(self):
        return self.stop_after is not None and self.step >= self.stop_after


@pytest.fixture(scope="session")
def mirror() -> str:
    """A folder with the real data files; tests that ask for it are skipped without one, but on CI
    they fail.
    """
    if not (folder := os.environ.get("RNNBENCH_MIRROR")):
        if os.environ.get("CI") == "true":
            pytest.fail("CI must set RNNBENCH_MIRROR to a folder with the data files")
        pytest.skip("needs RNNBENCH_MIRROR, a folder with the data files")
    return folder


@pytest.fixture
def settings_for(tmp_path) -> Callable[..., Settings]:
    """settings_for("cell=gru", "task=adding") → Settings; runs land in the test's own folder."""

    def made(*overrides: str) -> Settings:
        settings = _composed(overrides)
        return replace(
            settings,
            paths=replace(
                settings.paths,
                results=str(tmp_path / "runs"),
                data=str(tmp_path / "data"),
                mirror=None,
            ),
        )

    return made


@pytest.fixture
def pack_of() -> Callable:
    """pack_of(*settings) → the Pack that trains them together."""
    from rnnbench.engine.pack import Pack
    from rnnbench.layers import layer_of
    from rnnbench.training.run import load_task

    def made(*runs: Settings) -> Pack:
        return Pack(runs, layer_of(runs[0].cell, runs[0].model), load_task(runs[0], print))

    return made


@pytest.fixture
def silent() -> type[Silent]:
    return Silent


@pytest.fixture
def trained(silent) -> Callable:
    """trained(*settings) → their records, from one pack; keyword arguments: watch, say."""
    from rnnbench.training.run import run_pack

    def made(*runs: Settings, watch=None, say=print):
        return run_pack(runs, [[]] * len(runs), watch or silent(), say)

    return made
