"""The page in a real browser, from its file and in a sandboxed frame. Skipped where there is no browser to drive."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.made_up import hostile, many, usual, write_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"there is no browser here: none of {', '.join(BROWSERS)}")
api = pytest.importorskip("playwright.sync_api", reason="playwright, which drives the browser, is not installed")

ROWS = 16


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])  # as root in a container
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("usual"), usual())


class Opened:
    """A page and what it did: errors, messages and requests. The page itself is the only request that it may make."""

    def __init__(self, browser: Any, width: int = 1280, height: int = 900) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": height})
        self.page.set_default_timeout(120_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def show(self, path: Path) -> Any:
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("#accuracy-chart .mark")
        return self.page

    def check_quiet(self, *allowed: str) -> None:
        assert self.said == []
        assert self.asked == list(allowed)


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    made = Opened(browser)
    yield made
    made.page.close()


@pytest.fixture
def page(opened: Opened, path: Path) -> Iterator[Any]:
    yield opened.show(path)
    opened.check_quiet(path.as_uri())


def cards(page: Any) -> list[str]:
    return [card.inner_text() for card in page.query_selector_all("#details article")]


def shown(page: Any) -> list[str]:
    return page.eval_on_selector_all(
        "#table tbody tr:not([hidden])", "rows => rows.map(row => row.cells[0].textContent)"
    )  # type: ignore[no-any-return]


def column(page: Any, name: str) -> list[float]:
    script = """name => {
      const table = document.getElementById("table");
      const at = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === name);
      return [...table.tBodies[0].rows].map(row => row.cells[at].dataset.value).filter(value => value).map(Number);
    }"""
    return page.evaluate(script, name)  # type: ignore[no-any-return]


def test_hover_gives_the_whole_row_and_a_click_pins_it(page: Any) -> None:
    mark = page.locator('#accuracy-chart .mark[data-row="0"]')
    mark.hover()
    (card,) = cards(page)
    assert card.startswith("dense")
    assert all(word in card for word in ("top-1", "MACs", "audited", "ms", "seeds", "epochs"))
    page.mouse.move(2, 2)
    assert cards(page) == []
    mark.click()
    page.mouse.move(2, 2)
    assert "(pinned)" in cards(page)[0]
    assert mark.get_attribute("aria-pressed") == "true"
    page.check("#pinned")
    assert shown(page) == ["dense"]
    page.uncheck("#pinned")
    page.locator('#table tr[data-row="0"] th').click()
    page.mouse.move(2, 2)
    assert cards(page) == []


def test_sorting_is_by_number_and_turns_round(page: Any) -> None:
    button = page.get_by_role("button", name="top-1, %", exact=True)
    button.click()
    rising = column(page, "top-1, %")
    assert rising == sorted(rising)
    assert len(rising) == ROWS - 1
    assert shown(page)[-1] == "l_net l1_layer=9"  # what failed has none
    button.click()
    assert column(page, "top-1, %") == rising[::-1]
    assert shown(page)[-1] == "l_net l1_layer=9"
    assert page.locator('th[aria-sort="descending"]').inner_text().startswith("top-1, %")


def test_filtering_hides_rows_and_makes_their_marks_faint(page: Any) -> None:
    page.fill("#find", "c_net parallel_cancel")
    assert len(shown(page)) == 3
    assert page.locator("#count").inner_text() == f"3 of {ROWS} rows"
    assert page.locator("#accuracy-chart .mark:not(.away)").count() == 3
    page.fill("#find", "")
    page.select_option("#badge", label="failed")
    assert shown(page) == ["l_net l1_layer=9"]
    page.select_option("#badge", label="any")
    assert len(shown(page)) == ROWS


def test_the_chart_shows_latency_and_logarithms(page: Any) -> None:
    before = page.locator("#accuracy-chart svg").inner_html()
    page.check("#accuracy-log")
    logarithmic = page.locator("#accuracy-chart svg").inner_html()
    assert logarithmic != before
    page.select_option("#accuracy-view", index=1)
    assert "milliseconds" in page.locator("#accuracy-chart svg").inner_html()
    assert not page.is_checked("#accuracy-log")
    assert page.locator("#accuracy-chart .bar").count() == page.locator("#accuracy-chart .mark").count()
    page.select_option("#realised-view", index=2)
    assert page.locator("#realised-chart .mark").count() > 0


def test_the_keyboard_does_all_of_it(page: Any) -> None:
    page.focus("#accuracy-log")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    first = page.evaluate(focused)
    assert first.startswith("configuration: ")
    page.keyboard.press("ArrowRight")
    second = page.evaluate(focused)
    assert second != first
    page.keyboard.press("Enter")
    assert "(pinned)" in cards(page)[0]
    page.keyboard.press("Home")
    assert page.evaluate(focused) == first
    page.locator("#table thead button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("#table thead th").first.get_attribute("aria-sort") == "ascending"
    page.locator("#images rect").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert "of the test split" in page.locator("#images .opened").first.inner_text()


def test_a_bin_opens_its_images(page: Any) -> None:
    bar = page.locator("#images rect").nth(5)
    bar.click(force=True)
    assert "Images " in page.locator("#images .opened").first.inner_text()
    bar.click(force=True)
    page.mouse.move(2, 2)
    assert "Images " not in page.locator("#images .opened").first.inner_text()


COPIED = {"CSV": ("configuration,badges,", 1), "Markdown": ("| configuration |", 2), "LaTeX": ("\\begin{tabular}", 6)}
"""What a format begins with, and how many lines it has that are no rows."""


@pytest.mark.parametrize("form", COPIED)
def test_the_table_is_copied_as_it_is_shown(page: Any, form: str) -> None:
    page.fill("#find", "static control")
    page.get_by_role("button", name=form, exact=True).click()
    start, others = COPIED[form]
    text = page.input_value("#text")
    assert text.startswith(start)
    assert text.count("\n") == 3 + others
    assert "copied" in page.locator("#count").inner_text()


FRAME = '<!doctype html><iframe sandbox="allow-scripts" width="1200" height="800"></iframe>'


def test_it_works_in_a_sandboxed_frame(opened: Opened, path: Path) -> None:
    """As MLflow shows an artifact."""
    opened.page.set_content(FRAME)
    opened.page.evaluate("text => { document.querySelector('iframe').srcdoc = text; }", path.read_text())
    frame = opened.page.frame_locator("iframe")
    frame.locator('#accuracy-chart .mark[data-row="0"]').hover()
    assert "dense" in frame.locator("#details article h3").inner_text()
    frame.get_by_role("button", name="MACs", exact=True).click()
    frame.get_by_role("button", name="CSV", exact=True).click()
    assert frame.locator("#text").input_value().startswith("configuration,")
    opened.check_quiet(*opened.asked[:1])  # the frame's own document
    assert all(url.startswith("about:") for url in opened.asked)


def test_it_prints(page: Any) -> None:
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.emulate_media(media="print", color_scheme="dark")
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )  # no ink for the night
    assert not page.is_visible("nav")


def test_hostile_names_are_text(opened: Opened, tmp_path: Path) -> None:
    path = write_page(tmp_path, hostile())
    page = opened.show(path)
    page.locator('#accuracy-chart .mark[data-row="2"]').hover()
    assert "<img src=x" in cards(page)[0]
    assert "[U+202E]" in cards(page)[0]
    assert page.evaluate("window.stolen") is None
    opened.check_quiet(path.as_uri())


@pytest.mark.parametrize("width", [360, 1280, 3840])
def test_nothing_is_wider_than_the_window(browser: Any, path: Path, width: int) -> None:
    opened = Opened(browser, width=width)
    page = opened.show(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    opened.check_quiet(path.as_uri())
    page.close()


def test_a_thousand_configurations_are_usable(opened: Opened, tmp_path: Path) -> None:
    page = opened.show(write_page(tmp_path, many(1000)))
    timed = """() => { const from = performance.now(); document.querySelectorAll('#table thead button')[3].click();
      document.body.offsetHeight; return performance.now() - from; }"""
    assert page.evaluate(timed) < 5000  # a machine that does a lot else; some 100 ms on one that does not
    assert len(shown(page)) == 200
    page.click("#all")
    assert len(shown(page)) > 1000
