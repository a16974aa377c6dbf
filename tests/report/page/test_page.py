"""The page without a browser: what is on it, that it needs nothing else, and that names are text."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from bs4 import BeautifulSoup, Tag

from dynbench.analysis.analysis import Analysis
from dynbench.record.folder import ResultsFolder
from dynbench.report.accuracy_tables import curves_table
from dynbench.report.page.page import ASSETS, html_page, visible
from dynbench.report.page.palette import CONTRAST, DAY, NIGHT, SHAPES, contrast, looks, readable
from dynbench.report.report_files import write_report
from tests.analysis.test_curves import folder_of
from tests.helpers.records import Fake, make_record, small_suite, write_fakes
from tests.report.page.made_up import SHOWN, hostile, many, usual, write_page

REFERENCES = Path(__file__).parents[3] / "results" / "reference"
MEGABYTE = 10**6


def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


def body(page: BeautifulSoup) -> list[Tag]:
    """The rows of the table of results."""
    return page.select("#table tbody tr")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("usual"), usual())


@pytest.fixture(scope="module")
def page(path: Path) -> BeautifulSoup:
    return parsed(path)


def test_sections_stand_in_the_order_in_which_people_ask(page: BeautifulSoup) -> None:
    found = [section["id"] for section in page.select("main > section")]
    assert found == ["chart", "results", "controls", "realised", "images", "budgets", "claims", "made"]
    assert all(page.find(id=section["aria-labelledby"]) for section in page.select("main > section"))
    assert all(page.select_one(link["href"]) for link in page.select("a"))


def test_it_begins_with_what_was_found(page: BeautifulSoup) -> None:
    heading = page.h1.get_text()
    assert heading == (
        "lc_net is not shown to do better than every static net of its cost; no static net of equal cost was trained "
        "to compare c_net, l_net with. 1 run failed."
    )


def test_too_few_seeds_make_no_claim(tmp_path: Path) -> None:
    assert "1 seed: a first look, no claim." in parsed(write_page(tmp_path, small_suite())).h1.get_text()


@pytest.mark.parametrize(
    ("fakes", "start"),
    [
        ([Fake()], "No dynamic method was run; the best static net is dense with 90.00 % at 40.0M MACs"),
        ([Fake(error="broken")], "Every run failed."),
        ([Fake("lc_net", {"x": 1}, spread=0.1)], "No static net of equal cost was trained to compare lc_net with."),
    ],
)
def test_there_is_a_sentence_for_every_folder(tmp_path: Path, fakes: list[Fake], start: str) -> None:
    assert parsed(write_page(tmp_path, fakes)).h1.get_text().startswith(start)


def test_a_row_for_each_point_and_each_failure(page: BeautifulSoup) -> None:
    badges = {row.th.get_text(): row.select_one(".badges").get_text(" ", strip=True) for row in body(page)}
    assert len(body(page)) == 3 + 4 * 3 + 1
    assert "audited" in badges["dense"]
    assert "static control" in badges["dense"]
    assert "TrainingDiverged: the loss is nan in epoch 3" in badges["l_net l1_layer=9"]


def test_what_was_not_timed_and_not_audited_is_simulated(tmp_path: Path) -> None:
    page = parsed(write_page(tmp_path, [Fake(), Fake("lc_net", {"x": 1}, mmacs=(20.0,), spread=0.1)]))
    assert "simulated" in body(page)[1].select_one(".badges").get_text()


def test_latencies_of_different_machines_are_never_in_one_chart_or_column(tmp_path: Path) -> None:
    fakes = [Fake(speeds=(1.0,)), Fake(given={"width": 0.5}, mmacs=(10.0,), speeds=(2.0,), threads=1)]
    page = parsed(write_page(tmp_path, fakes))
    labels = [option.get_text() for option in page.select("#accuracy-view option")]
    assert len(labels) == 3
    assert "2 threads" in labels[1]
    assert "1 thread," in labels[2]
    views = json.loads(page.find(id="data").get_text())["views"]["accuracy"]
    assert [[point["row"] for point in view["points"]] for view in views] == [[0, 1], [0], [1]]
    head = [cell.get_text() for cell in page.select("#table thead th")]
    cells = [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in body(page)]
    columns = [[row[head.index(name)] for row in cells] for name in ("ms A", "ms B")]
    assert columns == [["4", ""], ["", "2"]]


def test_charts_have_the_rows_intervals_fronts_and_quoted_points(page: BeautifulSoup) -> None:
    views = json.loads(page.find(id="data").get_text())["views"]
    macs = views["accuracy"][0]
    assert len(macs["points"]) == 3 + 4 * 3
    assert all(low < middle < high for middle, low, high in (point["y"] for point in macs["points"]))
    front = sorted((point["x"][0], point["y"][0]) for point in macs["points"] if point["front"])
    assert front == sorted(front, key=lambda one: one[1])
    assert len(front) > 1
    assert len(views["realised"]) == 3  # batch sizes
    assert [line["name"] for line in views["realised"][0]["lines"]] == ["dense on onnxruntime"]


def test_quoted_points_stand_beside_macs_alone(tmp_path: Path) -> None:
    page = parsed(write_page(tmp_path, [Fake(backbone="resnet56", speeds=(1.0,))]))
    views = json.loads(page.find(id="data").get_text())["views"]["accuracy"]
    assert views[0]["quoted"]
    assert not views[1]["quoted"]
    assert {option.get_text() for option in page.select("#claims .badge")} <= {"met", "not met", "not measured"}
    assert page.select("#claims tbody tr")


def test_controls_are_named_with_their_intervals(page: BeautifulSoup) -> None:
    rows = page.select("#controls tbody tr")
    assert rows
    assert all(re.search(r"[+-]\d+\.\d\d \([+-]\d+\.\d\d to ", row.get_text()) for row in rows)
    assert all(row.svg["aria-label"] in row.get_text() for row in rows)
    assert page.select("#controls li")


def test_curves_of_operating_points_have_their_areas(tmp_path: Path) -> None:
    found = folder_of(tmp_path)
    assert found.curves
    page = BeautifulSoup(html_page(found), "html.parser")
    assert any(curves_table(found.curves).title in caption.get_text() for caption in page.select("#controls caption"))


def test_bins_hold_every_image_once(page: BeautifulSoup) -> None:
    first = page.select_one("#images figure")
    counts = [int(re.search(r"(\d+) images?,", bar["aria-label"])[1]) for bar in first.select("rect")]
    assert sum(counts) == 3 * 400
    assert all(bar["data-images"] for bar in first.select("rect"))


def test_environment_command_and_citation(page: BeautifulSoup) -> None:
    text = page.find(id="made").get_text()
    assert "dynbench run made-up.yaml" in text
    assert "0" * 40 in text
    assert "@misc{dynbench," in text


def test_everything_that_is_used_has_a_name(page: BeautifulSoup) -> None:
    for control in page.select("input, select, textarea"):
        assert control.find_parent("label") or page.select_one(f'label[for="{control.get("id")}"]'), control
    for drawn in page.select("svg, [role=button], [role=region], [role=group]"):
        assert drawn.get("aria-label"), drawn
    assert page.html["lang"] == "en"
    assert all(table.caption or table.get("aria-label") for table in page.select("table"))
    assert all(head.get("scope") for head in page.select("th"))


LOADS = ("src", "srcset", "poster", "data", "action", "formaction", "background", "xlink:href")


def test_it_needs_no_second_file_and_no_network(path: Path, page: BeautifulSoup) -> None:
    assert not page.select("link, iframe, object, embed, base, audio, video, source, use, image")
    loads = [tag for tag in page.find_all() if any(tag.has_attr(name) for name in LOADS)]
    assert loads == page.select('img[src^="data:image/png;base64,"]')
    assert all(link["href"].startswith("#") for link in page.select("[href]"))
    text = path.read_text()
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|localStorage|sessionStorage|indexedDB|cookie", text)


def test_the_browser_is_told_to_run_and_load_nothing_else(page: BeautifulSoup) -> None:
    policy = page.select_one('meta[http-equiv="Content-Security-Policy"]')["content"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not [
        tag for tag in page.find_all() if tag.has_attr("style") or any(key.startswith("on") for key in tag.attrs)
    ]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    path = write_page(tmp_path, hostile(), {"command": SHOWN, "plugin": SHOWN})
    page = parsed(path)
    assert len(page.select("script")) == 2
    assert not page.select("img")
    assert "\u202e" not in path.read_text()
    assert "\\u202e" not in path.read_text().replace((ASSETS / "page.js").read_text(), "")
    assert SHOWN in page.select_one("#table").get_text()
    assert SHOWN in page.find(id="made").get_text()


def test_what_is_not_seen_is_spelt_out() -> None:
    assert visible("a\u202eb\u200bc\x00\ufeff é 漢 \n") == "a[U+202E]b[U+200B]c[U+0000][U+FEFF] é 漢 \n"


def test_the_page_is_the_same_each_time(tmp_path: Path) -> None:
    first = write_page(tmp_path, usual()).read_bytes()
    assert html_page(Analysis.of(ResultsFolder(tmp_path))).encode() == first


def test_a_report_writes_it_beside_the_plots(tmp_path: Path) -> None:
    write_fakes(tmp_path, small_suite())
    files = write_report(Analysis.of(ResultsFolder(tmp_path)))
    assert tmp_path / "report.html" in files
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")


def test_twenty_configurations_are_less_than_a_megabyte(tmp_path: Path) -> None:
    assert len(write_page(tmp_path, many(20)).read_bytes()) < MEGABYTE / 2
    folder = REFERENCES / "cifar10-cpu-sgd"
    assert len(html_page(Analysis.of(ResultsFolder(folder))).encode()) < MEGABYTE


def test_colours_are_seen_by_day_and_by_night_and_shapes_differ() -> None:
    methods = ["dense", "lc_net", "c_net", "l_net", "filter_pruning", "nisp", "blockdrop", "another"]
    found = looks(methods)
    assert len({look.shape for look in found.values()}) == SHAPES
    assert all(
        contrast(look.day, DAY) >= CONTRAST and contrast(look.night, NIGHT) >= CONTRAST for look in found.values()
    )
    assert readable("#000000", NIGHT) != "#000000"
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


TEXT = 4.5
"""Least contrast of text: WCAG 2.2, 1.4.3."""


@pytest.mark.parametrize("ink", ["ink", "soft", "link", "good", "bad", "warning"])
def test_words_have_contrast_by_day_and_by_night(ink: str) -> None:
    css = (ASSETS / "page.css").read_text()
    day, night = (
        (re.findall(rf"--{name}: (#\w+)", css) for name in ("paper", "raised")),
        re.findall(rf"--{ink}: (#\w+)", css),
    )
    for behind in day:
        assert len(behind) == len(night) == 2
        assert all(contrast(one, other) >= TEXT for one, other in zip(behind, night, strict=True))
    assert re.findall(r"--paper: (#\w+)", css) == [DAY, NIGHT]


def test_what_is_missing_is_an_error_of_its_own(tmp_path: Path) -> None:
    record, arrays = make_record(Fake("lc_net", {"x": 1}, mmacs=(20.0,), spread=0.1))
    ResultsFolder(tmp_path).write_record(record, {name: array for name, array in arrays.items() if "macs" not in name})
    make: Callable[[], str] = lambda: html_page(Analysis.of(ResultsFolder(tmp_path)))  # noqa: E731
    with pytest.raises(Exception, match="run it again"):
        make()
