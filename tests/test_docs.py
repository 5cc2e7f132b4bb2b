"""What is written is so: every setting has its YAML and every YAML its setting; README, CHANGELOG
and Makefile name what there is.
"""

import argparse
import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import rnnbench
from rnnbench import cli
from rnnbench.catalogue import choices, config_dir, kinds, resolve
from rnnbench.compose import SECTIONS
from rnnbench.settings import SCHEDULES, Cell, Engine, Model, Optim, Paths, Train

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README = "\n".join(page.read_text("utf-8") for page in PAGES)  # what a user reads
OPTIMIZERS = {name: rule.numbers for name, rule in kinds("optim").items()}
FILLED_IN = {"name", "digest", "logger"}  # by compose


def read(name):
    return OmegaConf.to_container(OmegaConf.load(config_dir() / name), resolve=False)


def fields(schema):
    return {field.name for field in dataclasses.fields(schema)}


# Settings and their YAML


@pytest.mark.parametrize(
    ("section", "schema"), [("cell", Cell), ("model", Model), ("engine", Engine), ("paths", Paths)]
)
def test_every_setting_has_a_default_and_every_default_is_one(section, schema):
    assert read("config.yaml")[section].keys() == fields(schema) - FILLED_IN


def test_every_section_is_here():
    assert set(SECTIONS.values()) == {Cell, Model, Optim, Train, Engine, Paths}
    assert read("config.yaml").keys() == {
        "defaults",
        "seed",
        "study",
        "logger",
        "hydra",
        "cell",
        "model",
        "engine",
        "paths",
    }


def test_budget():
    assert read("train/default.yaml").keys() == fields(Train)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_has_its_own_numbers_and_no_others(name):
    theirs = {"constants", "digest"} | {key for keys in OPTIMIZERS.values() for key in keys}
    common = fields(Optim) - theirs
    assert {key for keys in SCHEDULES.values() for key in keys} <= common
    assert read(f"optim/{name}.yaml").keys() == common | set(OPTIMIZERS[name])


def test_groups_are_the_optimisers():
    assert choices("optim") == sorted([*OPTIMIZERS, "own"])
    assert all(
        read(f"{group}/{name}.yaml")["name"] == name
        for group in ("optim", "engine")
        for name in choices(group)
        if name != "own"
    )
    assert choices("engine") == sorted(["auto", "own", *kinds("engine")])


@pytest.mark.parametrize("name", [c for c in choices("task") if c != "own"])
def test_a_task_has_its_fields_and_no_others(name):
    values = read(f"task/{name}.yaml")
    kind = resolve(values["task"].pop("type"), "task.type")
    assert values["task"].keys() == fields(kind)
    assert values.keys() <= {"task", "train"} and values.get("train", {}).keys() <= fields(Train)


@pytest.mark.parametrize("name", choices("cell"))
def test_a_cell_sets_nothing_but_settings_of_cells(name):
    assert read(f"cell/{name}.yaml").keys() <= fields(Cell) - FILLED_IN | {"defaults"}


@pytest.mark.parametrize("group", ["task", "optim", "engine", "debug"])
def test_a_choice_begins_with_what_it_is_or_how_it_is_used(group):
    for name in choices(group):
        lines = (config_dir() / group / f"{name}.yaml").read_text("utf-8").splitlines()
        said = [line for line in lines[:2] if line.startswith("# ") and "@package" not in line]
        assert said, f"{group}/{name}.yaml"
        if "rnnbench train" in said[0] and group != "debug":
            assert f"{group}={name}" in said[0]


# Commands


def verbs():
    action = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {choice.dest: choice.help for choice in action._choices_actions}


def test_every_command_and_argument_has_help():
    assert all(verbs().values())
    action = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name, parser in action.choices.items():
        for argument in parser._actions:
            assert argument.help, f"{name} {argument.dest}"


def test_tab_completion_knows_every_command(monkeypatch, capsys):
    monkeypatch.setenv("COMP_LINE", "rnnbench ")
    assert cli.main(["-sc", "query=bash"]) == 0
    assert set(capsys.readouterr().out.split()) == set(verbs())


@pytest.mark.parametrize("verb", verbs())
def test_the_readme_names_every_command(verb):
    assert re.search(rf"\brnnbench {verb}\b", README)


@pytest.mark.parametrize(
    "verb", sorted(set(re.findall(r"(?:^\$ |`)rnnbench ([a-z]+)", README, re.M)))
)
def test_every_command_of_the_readme_exists(verb):
    assert verb in verbs()


@pytest.mark.parametrize("chore", ["demo", "test"])
def test_the_two_commands(chore):
    assert f"make {chore}" in README
    assert re.search(rf"^{chore}:.*## ", (ROOT / "Makefile").read_text("utf-8"), re.M)


def test_every_chore_of_the_readme_exists():
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    assert set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", README, re.M)) <= {
        pair for name in known for pair in ((name, ""), ("", name))
    }


@pytest.mark.parametrize(
    "key",
    sorted(
        set(
            re.findall(
                r"(?<!rnnbench\.)\b((?:cell|model|optim|train|engine|paths)\.[a-z_]+)\b(?!\.py)",
                README.replace(".md", ""),
            )
        )
    ),
)
def test_every_key_of_the_readme_exists(key):
    section, _, name = key.partition(".")
    assert name in fields(SECTIONS[section]), key


# The tree


def tracked():
    """What stands at the top of the repository, as git sees it."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=False
    )
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git repository")
    return {line.split("/")[0] for line in listed.stdout.splitlines()}


def tree():
    return (ROOT / "docs" / "layout.md").read_text("utf-8")


def test_the_tree_names_what_stands_at_the_top():
    hidden = {name for name in tracked() if name.startswith(".")}
    # whoever reads a repository knows these
    itself = {
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "AGENTS.md",
        "CITATION.cff",
        "LICENSE",
        "pyproject.toml",
    }
    for name in sorted(tracked() - hidden - itself):
        assert re.search(rf"^{re.escape(name)}\b", tree(), re.M), name


def test_the_tree_names_every_module_and_package():
    for path in sorted((ROOT / "rnnbench").iterdir()):
        if path.suffix == ".py" and path.stem != "__init__":
            assert path.name in tree(), path.name
        if (path / "__init__.py").exists():
            assert f"{path.name}/" in tree(), path.name


def test_what_the_tree_names_exists():
    for name in set(re.findall(r"\b[a-z_]+(?:\.py|\.txt|/)", tree())) - {
        "runs/"
    }:  # made when something runs
        places = (ROOT, ROOT / "configs", ROOT / "rnnbench", *(ROOT / "rnnbench").iterdir())
        assert any((place / name).exists() for place in places), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_links_to_exists(page):
    for path in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / path).exists(), path


# Versions


def test_the_changelog_ends_at_this_version():
    found = re.findall(r"^## \[([^]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert next(version for version in found if version != "Unreleased") == rnnbench.__version__
    assert "### Numbers" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_the_readme_counts_cells():
    assert f"{len(set(choices('cell')) - {'own'})} of them" in README
