"""Pictures of what ran: on single images, by class and channel, by position."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
from bs4 import BeautifulSoup
from PIL import Image

from dynbench.analysis.analysis import Analysis
from dynbench.record.folder import ResultsFolder
from dynbench.record.usage_arrays import PointUsage
from dynbench.report.page.page import html_page
from dynbench.report.page.ran import ALL, IMAGES, LAYERS, NOTHING, picture, thinned, what_ran
from tests.helpers.records import IMAGES as TESTED
from tests.helpers.records import Fake, make_record


def pixels(url: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))))


def write(folder: Path) -> Analysis:
    """A gated net whose records say what ran: nothing of the first layer, all of the second."""
    record, arrays = make_record(Fake("lc_net", {"x": 1}, mmacs=(20.0,), spread=0.1))
    by_layer = np.tile(np.array([0, 255], np.uint8), (TESTED, 1))
    by_layer[0, 1] = 100
    activation = {f"layer{index}": np.linspace(0, 1, 30).reshape(10, 3) for index in range(9)}
    usage = PointUsage.of(by_layer, activation, {"layer0": np.eye(4)})
    ResultsFolder(folder).write_record(record, arrays | usage.arrays("default"))
    return Analysis.of(ResultsFolder(folder))


def test_the_cheapest_and_the_costliest_images_are_those(tmp_path: Path) -> None:
    found = write(tmp_path)
    (ran,) = what_ran(found)
    (record,) = found.records
    macs = found.results.arrays(record.run_id)["default/macs"]
    assert [row.number for row in ran.cheapest] == np.argsort(macs, kind="stable")[:IMAGES].tolist()
    assert macs[ran.costliest[0].number] == macs.max()
    assert pixels(ran.cheapest[1].layers.url).tolist() == [[list(NOTHING), list(ALL)]]
    assert ran.cheapest[1].layers.words == "of 2 groups of gated layers 1 ran whole, 1 not at all"


def test_pictures_of_classes_and_positions_are_on_the_page(tmp_path: Path) -> None:
    found = write(tmp_path)
    (ran,) = what_ran(found)
    assert [one.name for one in ran.classes] == ["layer0", "layer3", "layer5", "layer8"]
    assert len(ran.classes) == LAYERS
    assert pixels(ran.classes[0].url).shape == (10, 3, 3)
    assert pixels(ran.positions[0].url)[1, 1].tolist() == list(ALL)
    page = BeautifulSoup(html_page(found), "html.parser")
    assert len(page.select("#ran img")) == 2 * IMAGES + LAYERS + 1
    assert all(one["alt"] and one["src"].startswith("data:image/png;base64,") for one in page.select("img"))


def test_older_records_have_no_such_section(tmp_path: Path) -> None:
    record, arrays = make_record(Fake("lc_net", {"x": 1}, mmacs=(20.0,), spread=0.1))
    ResultsFolder(tmp_path).write_record(record, arrays)
    found = Analysis.of(ResultsFolder(tmp_path))
    assert what_ran(found) == ()
    assert 'id="ran"' not in html_page(found)


def test_large_pictures_are_averaged() -> None:
    shares = np.zeros((200, 300), np.uint8)
    shares[:, 150:] = 255
    small = thinned(shares, 20, 30)
    assert small.shape == (20, 30)
    assert (small[:, :15] == 0).all()
    assert (small[:, 15:] == 255).all()
    assert thinned(shares[:3, :4]).shape == (3, 4)
    assert picture(small).startswith("data:image/png;base64,")
