"""The report in a browser: every page opens from disk without network, on a phone, in the dark and
in print; filters, legends and links work; axe finds nothing. Needs Chromium and Playwright.
"""

import shutil
import time

import pytest
from synthetic import make_study

from rnnbench.catalogue import choices
from rnnbench.report.render import write_report

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
CELLS = ("lstm", "lstm_b", "gru", "mut1", "mut2", "mut3", "nfg", "nig", "nog", "noaf", "niaf")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("browser") / "s"
    cells = (*CELLS, "tanh", "irnn", "cifg")
    page = write_report([str(make_study(place, cells, ("adding", "copy"), range(5), (1e-3, 5e-2)))])
    return page.parent


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as found:
        started = found.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, request):
    context = browser.new_context(**getattr(request, "param", {}))
    made = context.new_page()
    made.problems = []
    made.on("pageerror", lambda error: made.problems.append(str(error)))
    made.on("requestfailed", lambda asked: made.problems.append(asked.url))
    context.set_offline(True)
    yield made
    assert not made.problems
    context.close()


def opened(page, folder, name):
    page.goto(f"file://{folder / name}")
    return page


def drawn(page, name):
    """Wait until a chart has taken the place of its picture."""
    page.locator(f"#{name}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{name} .live svg")


NAMES = ("index.html", "task-adding.html", "task-copy.html", "runs.html")


@pytest.mark.parametrize("name", NAMES)
def test_every_page_opens_and_every_chart_draws(page, folder, name):
    opened(page, folder, name)
    assert page.locator("h1").count() == 1 and page.locator("main section").count() >= 1
    for figure in page.locator("figure:has(> script)").all():
        drawn(page, figure.get_attribute("id"))
    assert {path.name for path in folder.glob("*.html")} == set(NAMES)


def test_a_number_leads_to_its_runs(page, folder):
    opened(page, folder, "task-adding.html")
    page.locator("#table-leaderboard-adding tbody tr", has_text="gru").first.locator("a").nth(
        1
    ).click()
    page.wait_for_url("**/runs.html#*")
    fold = page.locator("details[open]")
    assert fold.count() == 1 and "adding, gru" in fold.locator("summary").inner_text()
    assert "rnnbench train cell=gru" in fold.inner_text()


def test_filters_hide_rows_and_curves(page, folder):
    opened(page, folder, "task-adding.html")
    rows = page.locator("#table-leaderboard-adding tbody tr:visible")
    assert rows.count() == 15  # without memory, too
    drawn(page, "figure-scores-adding")
    page.locator("details.filter", has_text="Cells").locator("summary").click()
    page.get_by_label("gru", exact=True).uncheck()
    assert rows.count() == 14
    pressed = page.locator("#figure-scores-adding .legend button[aria-pressed=true]")
    assert "gru" not in pressed.all_inner_texts()
    page.get_by_role("button", name="Cells: none").click()
    assert rows.count() == 1
    page.get_by_role("button", name="Cells: all").click()
    page.get_by_label("Search the tables").fill("mut")
    assert rows.count() == 3
    assert page.locator("#hidden").inner_text().endswith("rows hidden")


def test_a_dozen_cells_are_drawn_and_a_click_adds_one(page, folder):
    opened(page, folder, "task-adding.html")
    drawn(page, "figure-curves-adding")
    figure = page.locator("#figure-curves-adding")
    lines = figure.locator("g.mark-line path")
    assert lines.count() == 12
    figure.locator(".legend button[aria-pressed=false]").first.press("Enter")
    page.wait_for_function(
        "document.querySelectorAll('#figure-curves-adding g.mark-line path').length === 13"
    )
    figure.locator(".drawing").hover(position={"x": 200, "y": 100})


def test_heads_sort(page, folder):
    opened(page, folder, "task-adding.html")
    table = page.locator("#table-leaderboard-adding")
    head = table.get_by_role("button", name="median")
    head.focus()
    page.keyboard.press("Enter")
    values = [
        float(of)
        for of in table.locator("td:nth-child(2)").evaluate_all(
            "cells => cells.map((cell) => cell.dataset.v)"
        )
    ]
    assert values == sorted(values)
    page.keyboard.press("Enter")
    assert table.locator("th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize("page", [{"viewport": PHONE}], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_a_phone_sees_the_score(page, folder, name):
    opened(page, folder, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    if name.startswith("task"):
        place = page.locator("figure.table tbody tr:first-child td:nth-child(2)").first
        box = place.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]


@pytest.mark.parametrize("page", [{}, {"color_scheme": "dark"}], indirect=True)
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(page, folder, name):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened(page, folder, name)
    for figure in page.locator("figure:has(> script)").all():
        drawn(page, figure.get_attribute("id"))
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_it_prints(page, folder):
    opened(page, folder, "task-adding.html")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible() and page.locator("h1").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_scripts_it_can_be_read(browser, folder):
    context = browser.new_context(java_script_enabled=False)
    made = context.new_page()
    made.goto(f"file://{folder / 'task-adding.html'}")
    assert made.locator("#table-leaderboard-adding tbody tr").count() == 15
    assert made.locator("#figure-scores-adding img").is_visible()
    context.close()


@pytest.mark.slow
def test_a_large_study_is_light(page, tmp_path):
    """About 3,000 runs of 31 cells."""
    cells = choices("cell")[:31]
    tasks = ("adding", "copy", "xml", "memorize", "arithmetic")
    report = write_report(
        [str(make_study(tmp_path / "wide", cells, tasks, range(10), (1e-3, 5e-3)))]
    )
    size = sum(path.stat().st_size for path in report.parent.rglob("*") if path.is_file())
    assert report.stat().st_size <= 500_000 and size <= 15_000_000
    start = time.perf_counter()
    opened(page, report.parent, "index.html")
    drawn(page, "figure-answer")
    assert time.perf_counter() - start < 2
