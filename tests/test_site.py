"""The documentation: it builds without a broken link, its notebooks and examples run."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch

import rnnbench

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
LSTM = "self.rnn = nn.LSTM(embedding, hidden, layers, dropout=dropout)"
GRU = "self.rnn = nn.GRU(inputs, hidden, batch_first=True)"


def loaded(path, source=None):
    """A Python file as a module, with other text if given."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    exec(compile(source or path.read_text("utf-8"), str(path), "exec"), vars(module))
    return module


@pytest.fixture(scope="module")
def site():
    return loaded(ROOT / "scripts" / "site.py")


@pytest.fixture(scope="module")
def html(site, tmp_path_factory):
    """The site without its notebooks, built."""
    pytest.importorskip("zensical")
    out = tmp_path_factory.mktemp("docs") / "site"
    with pytest.MonkeyPatch.context() as patch:
        words = ["site.py", "--no-notebooks", "--out", str(out), "--docs", str(ROOT / "docs")]
        patch.setattr(sys, "argv", words)
        assert site.main() == 0
    return out / "html"


def test_the_site(html):
    cells = (html / "reference" / "cells.html").read_text("utf-8")
    assert "W_z x" in cells and cells.count("<svg") + cells.count(".svg") >= 31
    assert "--notation" in (html / "reference" / "verbs.html").read_text("utf-8")
    index = (html / "search.js").read_text("utf-8")  # what a page opened from disk may load
    assert index.startswith("var __index = {") and "keeps descent on the cliff" in index
    front = (html / "index.html").read_text("utf-8")
    assert ">The lecture, claim by claim</a>" in front and "docs/lecture.md" not in front
    python = (html / "reference" / "python.html").read_text("utf-8")
    assert "num_layers" in python
    for name in rnnbench.__all__[1:]:  # without the version
        assert re.search(rf'id="rnnbench\.[a-z_.]*\b{name}"', python), name
    for page in html.rglob("*.html"):  # nothing is fetched from elsewhere
        text = page.read_text("utf-8")
        for mark in ('src="http', '<link rel="stylesheet" href="http'):
            assert mark not in text, page


def test_the_search_works_from_disk(html):
    """In a browser, without a network: where no worker may start, a frame takes its place."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        page.context.set_offline(True)
        page.goto(f"file://{html / 'cluster.html'}")
        page.locator("button.md-search__button").click()
        page.get_by_role("combobox").fill("clipping")
        page.get_by_text("keeps descent on the cliff").first.wait_for()
        browser.close()


def test_every_page_is_in_the_site():
    listed = (ROOT / "docs" / "site.yml").read_text("utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"- {page.name}\n" in listed, page.name


def test_a_link_that_leads_nowhere_is_told(site, monkeypatch, tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="x"></h1><a href="b.html#y"></a><img src="c.png">')
    (tmp_path / "b.html").write_text('<a href="a.html#x"></a><a href="https://x.org">x</a>')
    assert list(site.broken_links(tmp_path)) == [
        "a.html: no place b.html#y",
        "a.html: no file c.png",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_its_results(path, site, capfd):
    pytest.importorskip("ipykernel")
    notebook = site.executed(path)
    assert "WARNING" not in capfd.readouterr().err  # of the kernel
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    shown = [o for o in outputs if "text/html" in o.get("data", {})]
    assert any("<table" in str(o["data"]["text/html"]) for o in shown)
    assert any("<progress" in str(o["data"]["text/html"]) for o in shown)


def one_line(path, before, after):
    source = path.read_text("utf-8")
    assert source.count(before) == 1
    return loaded(path, source.replace(before, after))


@pytest.mark.parametrize("cell", [None, "mut1", "lstm"])
def test_the_word_language_model_with_one_line_changed(cell, tmp_path):
    path = ROOT / "docs" / "examples" / "word_language_model.py"
    (tmp_path / "text.txt").write_text("the cat sat on the mat and the dog ran\n" * 60)
    ours = f'self.rnn = Recurrent("{cell}", embedding, hidden, layers, dropout=dropout)'
    module = one_line(path, LSTM, ours if cell else LSTM)
    losses = module.train(tmp_path / "text.txt", epochs=2, batch=4, rate=2.0)
    assert losses[1] < losses[0] < 2.6  # log 10 words is 2.3


@pytest.fixture(scope="module")
def lightning():
    """Lightning, without torchvision where that was built for another torch and cannot load."""
    imports = pytest.importorskip("lightning_utilities.core.imports")
    whole = imports.RequirementCache.__bool__
    try:
        import torchvision  # noqa: F401
    except Exception:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                imports.RequirementCache,
                "__bool__",
                lambda self: "torchvision" not in (self.requirement or "") and whole(self),
            )
            yield pytest.importorskip("lightning")
    else:
        yield pytest.importorskip("lightning")


@pytest.mark.filterwarnings("ignore")  # of Lightning
@pytest.mark.parametrize("cell", [None, "gru", "mgu"])
def test_the_lightning_module_with_one_line_changed(cell, lightning, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = ROOT / "docs" / "examples" / "lightning_module.py"
    ours = f'self.rnn = Recurrent("{cell}", inputs, hidden, batch_first=True)'
    module = one_line(path, GRU, ours if cell else GRU)
    state = torch.random.get_rng_state()
    assert module.fit(epochs=12) < 0.6  # by chance 0.69
    torch.random.set_rng_state(state)
