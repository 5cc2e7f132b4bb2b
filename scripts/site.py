"""`make docs`: the documentation as a site, without a network, into build/site.

Pages are those of docs/ and the README; the reference (verbs, keys, cells, tasks) is written from
the program, notebooks are executed. Ends with 1 where a link or a picture leads nowhere.
"""

import argparse
import contextlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from rnnbench import catalogue, cli, settings
from rnnbench.catalogue import about
from rnnbench.charts.cell import diagram
from rnnbench.cli import show
from rnnbench.equations.plan import plan
from rnnbench.equations.text import LEGEND, unicode
from rnnbench.settings import Cell, typed

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)([^)]*)\)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="another folder of pages")
    parser.add_argument("--no-notebooks", action="store_true", help="leave notebooks out")
    options = parser.parse_args()
    source = options.out / "source"
    shutil.rmtree(options.out, ignore_errors=True)
    pages = source / "pages"
    stage(options.docs, pages)
    write_reference(pages / "reference")
    write_notebooks(options.docs / "notebooks", pages / "notebooks", options.no_notebooks)
    config = (options.docs / "site.yml").read_text("utf-8")
    (source / "mkdocs.yml").write_text(config, "utf-8")
    program = Path(sys.executable).with_name("zensical")
    built = subprocess.run(
        [program, "build", "--strict", "-f", "mkdocs.yml"],
        cwd=source,
        env=os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    index = source / "html" / "search.json"
    if index.is_file():  # as a script, which a page opened from disk may load
        index.with_suffix(".js").write_text(f"var __index = {index.read_text('utf-8')}", "utf-8")
    broken = list(broken_links(source / "html"))
    for line in broken:
        print(line, file=sys.stderr)
    if built.returncode:
        print(built.stdout, built.stderr, file=sys.stderr)
    if built.returncode or broken:
        return 1
    shutil.move(source / "html", options.out / "html")
    print(options.out / "html" / "index.html")
    return 0


def stage(docs: Path, pages: Path) -> None:
    """Copy the pages, the README as the first one, and what they show from elsewhere."""
    ignored = shutil.ignore_patterns("site.yml", "notebooks", "__pycache__")
    shutil.copytree(docs, pages, ignore=ignored)
    wanted: dict[Path, Path] = {}
    for path in sorted(pages.rglob("*.md")):
        home = docs / path.relative_to(pages).parent
        path.write_text(_moved(path.read_text("utf-8"), home, docs, path, pages, wanted), "utf-8")
    front = _moved((ROOT / "README.md").read_text("utf-8"), ROOT, docs, pages / "x", pages, wanted)
    (pages / "index.md").write_text(front, "utf-8")
    for original, copy in wanted.items():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(original, copy)


def _moved(
    text: str, home: Path, docs: Path, page: Path, pages: Path, wanted: dict[Path, Path]
) -> str:
    """A page's links, where files of the repository outside docs/ are copied beside the pages. A
    page that is called by its file's name is called by its title.
    """

    def moved(found: re.Match[str]) -> str:
        said, target = found[1], (home / found[2]).resolve()
        if target.is_dir():  # a folder of the repository has no page
            return said
        if target.is_relative_to(docs):
            copy = pages / target.relative_to(docs)
            if said.endswith(".md"):
                said = target.read_text("utf-8").partition("\n")[0].removeprefix("# ")
        elif target.is_file() and target.suffix in (".png", ".svg"):
            copy = wanted.setdefault(target, pages / "files" / target.relative_to(ROOT))
        elif target.is_file():  # a text of the repository, as it stands
            copy = pages / "files" / f"{target.relative_to(ROOT)}.txt"
            wanted[target] = copy
        else:
            return found[0]
        return f"[{said}]({os.path.relpath(copy, page.parent)}{found[3]})"

    return LINK.sub(moved, text)


def write_reference(folder: Path) -> None:
    (folder / "cells").mkdir(parents=True)
    for name, lines in (
        ("verbs", verbs()),
        ("keys", keys()),
        ("cells", cells(folder / "cells")),
        ("tasks", tasks()),
        ("python", python()),
    ):
        (folder / f"{name}.md").write_text("\n".join(lines) + "\n", "utf-8")


def verbs() -> Iterator[str]:
    """Every verb with its arguments, as `--help` prints them."""
    yield "# Commands\n\nAll take `--help`. Exit codes:\n"
    yield inspect.getdoc(cli).partition("\n\n")[2]  # type: ignore[union-attr]
    yield "\n## train\n\n```text\n" + _help(["train", "--help"]) + "```\n"
    for verb in cli.VERBS:
        yield f"## {verb.name}\n\n```text\n{_help([verb.name, '--help'])}```\n"


def _help(words: list[str]) -> str:
    said = io.StringIO()
    os.environ["COLUMNS"] = "96"
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main(words)
    return said.getvalue().strip() + "\n"


def keys() -> Iterator[str]:
    """Every key with its default, from the configuration, and what the settings say of it."""
    yield "# Keys\n\nWhat can be typed after `rnnbench train`, with defaults.\n"
    for title, path in (
        ("cell, model, engine, paths, seed, study", "config.yaml"),
        ("train", "train/default.yaml"),
        *((f"optim={name}", f"optim/{name}.yaml") for name in catalogue.choices("optim")),
    ):
        text = (catalogue.config_dir() / path).read_text("utf-8")
        yield f"## {title}\n\n```yaml\n{text.strip()}\n```\n"
    yield "## What they mean\n"
    for schema in (settings.Cell, settings.Model, settings.Optim, settings.Train, settings.Paths):
        yield f"### {schema.__name__.lower()}\n\n```text\n{inspect.getdoc(schema)}\n```\n"


def cells(pictures: Path) -> Iterator[str]:
    """Every cell: its equations, drawn, where they come from and how they are read, its size."""
    yield f"# Cells\n\n{LEGEND}.\n"
    yield (
        "In the pictures time goes from left to right. Dashed lines pass through learnt weights, "
        "Σ and functions act on their sum and a bias, the thick line is a state that goes on.\n"
    )
    known = [name for name in catalogue.choices("cell") if "step" in catalogue.read("cell", name)]
    yield " · ".join(f"[{name}](#{name})" for name in known) + "\n"
    for name in known:
        values = catalogue.read("cell", name)
        cell = typed(Cell, values | {"name": name}, f"cell={name}")
        found = catalogue.resolve(cell.step, "cell.step")
        said = show.about_cell(cell, found.__doc__)
        yield f"## {name}\n\n{_plain(said.summary)}\n"
        facts = {"Source": said.source, "Reading": said.reading}
        if inspect.isfunction(found):
            planned = plan(found, cell.constants)
            yield f"```text\n{unicode(planned.program)}\n```\n"
            (pictures / f"{name}.svg").write_text(diagram(planned.program, name), "utf-8")
            yield f"![{name} drawn: states, gates, products and sums](cells/{name}.svg)\n"
            facts |= {"Forget gate": " ".join(show.gates(cell)), "Parameters": planned.formula}
        else:
            definition = "\n".join(show.placed(cell, 100).definition)
            yield f"```text\n{definition}\n```\n"
        for word, text in facts.items():
            if text:
                yield f"*{word}:* {_plain(text)}\n"


def tasks() -> Iterator[str]:
    """Every task: what it is, and its keys with defaults."""
    yield "# Tasks\n"
    for name in catalogue.choices("task"):
        values = catalogue.read("task", name)
        if "type" not in values:
            continue
        said = about(catalogue.resolve(values["type"], "task.type").__doc__)
        text = (catalogue.config_dir() / "task" / f"{name}.yaml").read_text("utf-8")
        yield f"## {name}\n\n{_plain(said.summary)}\n"
        if said.source:
            yield f"*Source:* {_plain(said.source)}\n"
        yield f"```yaml\n{text.strip()}\n```\n"


def python() -> Iterator[str]:
    """What can be imported."""
    yield "# From Python\n"
    for name in (
        "rnnbench.api.train",
        "rnnbench.api.sweep",
        "rnnbench.api.report",
        "rnnbench.api.judge",
        "rnnbench.api.Run",
        "rnnbench.runs.frame.load",
        "rnnbench.nn.Recurrent",
    ):
        yield f"::: {name}\n"


def _plain(text: str) -> str:
    """A text whose signs mean nothing in Markdown."""
    return re.sub(r"([*_<>\[\]])", r"\\\1", text)


def write_notebooks(source: Path, pages: Path, leave_out: bool) -> None:
    """Every notebook, executed, as a page."""
    pages.mkdir()
    for path in sorted(source.glob("*.py")):
        place = pages / f"{path.stem}.md"
        if leave_out:
            place.write_text(f"# {path.stem}\n", "utf-8")
            continue
        from nbconvert import MarkdownExporter

        text, found = MarkdownExporter().from_notebook_node(executed(path))
        for name, content in found["outputs"].items():
            (pages / f"{path.stem}-{name}").write_bytes(content)
            text = text.replace(f"]({name})", f"]({path.stem}-{name})")
        place.write_text(text, "utf-8")


def executed(path: Path) -> Any:
    """A notebook (py:percent) with its outputs; an error in a cell is raised."""
    import jupytext
    from nbclient import NotebookClient
    from traitlets.config import Config

    notebook = jupytext.read(path)
    before = os.environ.get("PYTHONPATH")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), before)))
        where = {"metadata": {"path": folder}}
        sockets = {"transport": "ipc", "ip": str(Path(folder, "kernel"))}  # no open ports
        config = Config(KernelManager=sockets)
        NotebookClient(notebook, timeout=300, resources=where, config=config).execute()
    return notebook


def broken_links(site: Path) -> Iterator[str]:
    """Every link of the site to itself that leads nowhere, a line each."""
    # served anywhere
    pages = (path for path in sorted(site.rglob("*.html")) if path.name != "404.html")
    found = {path: _Links(path) for path in pages}
    for page, links in found.items():
        for link in links.targets:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.is_file():
                yield f"{page.relative_to(site)}: no file {link}"
            elif parts.fragment and target in found and parts.fragment not in found[target].names:
                yield f"{page.relative_to(site)}: no place {link}"


class _Links(HTMLParser):
    """What a page links to and shows, and the places in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("id", "name") and value:
                self.names.add(value)
            if (tag, key) in (("a", "href"), ("img", "src"), ("script", "src"), ("link", "href")):
                self.targets.append(value or "")


if __name__ == "__main__":
    sys.exit(main())
