"""`list` and `show` are quick the second time, and never show what is out of date."""

import os
import subprocess
import sys

import pytest

from rnnbench.cli import remembered
from rnnbench.console import console


@pytest.fixture
def shown(tmp_path, monkeypatch, capsys):
    """shown(*words) → (what was printed, whether it was made anew)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = []

    def run(*words):
        before = len(made)
        remembered.show_remembered(words, lambda: made.append(console.print("[b]page[/b] ½")))
        return capsys.readouterr().out, len(made) > before

    return run


def test_a_page_is_made_once(shown):
    assert shown("list", "cells") == ("page ½\n", True)
    assert shown("list", "cells") == ("page ½\n", False)
    assert shown("list", "tasks")[1]
    assert shown("show", "cell=gru", "model.hidden=32")[1]
    assert not shown("show", "cell=gru", "model.hidden=32")[1]
    assert shown("show", "cell=gru", "model.hidden=64")[1]


def test_another_program_makes_another_page(shown, tmp_path, monkeypatch):
    for folder in ("package", "configs"):
        (tmp_path / folder).mkdir()
    source, config = tmp_path / "package" / "gru.py", tmp_path / "configs" / "gru.yaml"
    source.write_text("a")
    config.write_text("b")
    monkeypatch.setattr(remembered, "HERE", tmp_path / "package")
    monkeypatch.setattr(remembered, "config_dir", lambda: tmp_path / "configs")
    assert [shown("show", "cell=gru")[1] for _ in range(2)] == [True, False]
    for path in (source, config):
        path.write_text("c")
        assert [shown("show", "cell=gru")[1] for _ in range(2)] == [True, False]


def test_another_width_makes_another_page(shown, monkeypatch):
    assert shown("list", "cells")[1]
    monkeypatch.setattr(console, "_width", 43)
    assert shown("list", "cells")[1]


@pytest.mark.parametrize(
    "word",
    ["cell=mycell.py:mycell", "cell=own", "cell.step=a.py:b", "task=charlm", "--verify", "seed=1"],
)
def test_what_may_depend_on_more_is_made_anew(shown, word):
    assert [shown("show", word)[1] for _ in range(2)] == [True, True]


def test_a_cache_that_cannot_be_used_is_none(shown, tmp_path):
    shown("list", "cells")
    (page,) = (tmp_path / "cache" / "rnnbench" / "shown").iterdir()
    page.write_bytes(b"\xff\xfe")
    assert shown("list", "cells") == ("page ½\n", True)
    page.unlink()
    page.parent.rmdir()
    page.parent.write_text("a file where the folder should be")
    assert [shown("list", "cells") for _ in range(2)] == [("page ½\n", True)] * 2


@pytest.mark.parametrize("words", [["list", "cells"], ["show", "cell=mut1"]])
def test_the_second_time_needs_no_torch(words, tmp_path):
    """To import torch takes more than a second; all else together takes a fraction of one."""
    code = (
        "import sys; from rnnbench.cli import main; main(sys.argv[1:]); "
        "assert not {'torch', 'hydra', 'pandas'} & set(sys.modules), 'slow'"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    first, second = (
        subprocess.run(
            [sys.executable, "-c", code, *words],
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        for _ in range(2)
    )
    assert "slow" in first.stderr and second.stderr == "" and second.returncode == 0
    assert first.stdout == second.stdout and len(second.stdout) > 300
