"""The area between a method's curve and that of static nets: by hand, and paired."""

from pathlib import Path

import numpy as np
import pytest

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.curves import CurveComparison, curve_of, interpolation, trapezium
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import PointRecord
from dynbench.report.markdown import markdown_report
from dynbench.report.plots.curves import curves_figure
from dynbench.report.plots.style import styled
from tests.helpers.records import IMAGES, Fake, make_record

POINTS = ("a", "b", "c")
COSTS = (10.0, 20.0, 40.0)
OWN = (60.0, 80.0, 85.0)
"""Per cent right at each of them."""
WIDTHS = {0.5: (15.0, 70.0), 0.75: (25.0, 75.0), 1.0: (40.0, 85.0)}


def write(results: ResultsFolder, fake: Fake, right: dict[str, float]) -> None:
    """Its record, with this many per cent of the first images right at each point."""
    record, arrays = make_record(fake)
    points: list[PointRecord] = []
    for point in record.points:
        correct = np.arange(IMAGES) < IMAGES * right[point.name] / 100
        arrays[f"{point.name}/correct"] = correct
        top1 = 100 * float(correct.mean())
        points.append(point.model_copy(update={"test_top1": top1, "val_top1": top1}))
    results.write_record(record.model_copy(update={"points": tuple(points)}), arrays)


def folder_of(path: Path, accuracies: tuple[float, ...] = OWN, seeds: tuple[int, ...] = (0,)) -> Analysis:
    results = ResultsFolder(path)
    for seed in seeds:
        fake = Fake("early", points=POINTS, mmacs=COSTS, seed=seed)
        write(results, fake, dict(zip(POINTS, accuracies, strict=True)))
        for width, (mmacs, top1) in WIDTHS.items():
            given = {} if width == 1.0 else {"width": width}
            write(results, Fake("dense", given, mmacs=(mmacs,), seed=seed), {"default": top1})
    return Analysis.of(results)


def compared(path: Path, accuracies: tuple[float, ...] = OWN) -> CurveComparison:
    (found,) = folder_of(path, accuracies).curves
    return found


def test_by_hand(tmp_path: Path) -> None:
    """Shared from 15 to 40 M. The method: 70 at 15, 80 at 20, 85 at 40; the nets: 70 at 15, 75 at 25, 85 at 40."""
    found = compared(tmp_path)
    assert (found.start, found.end) == (15e6, 40e6)
    own = (70 + 80) / 2 * 5 + (80 + 85) / 2 * 20
    nets = (70 + 75) / 2 * 10 + (75 + 85) / 2 * 15
    assert found.difference == pytest.approx((own - nets) / 25)
    assert found.area == pytest.approx((own - nets) * 1e6)
    assert found.low < found.difference < found.high
    assert found.outcome == "better"
    assert [(point.macs, point.static, round(point.difference, 6)) for point in found.band] == [
        (15e6, 70, 0),
        (20e6, pytest.approx(72.5), 7.5),
        (25e6, 75, 6.25),
        (40e6, 85, 0),
    ]


def test_the_interval_is_paired(tmp_path: Path) -> None:
    """Images that both get right, or both wrong, tell nothing: unpaired, 2 points of 400 images would be no finding."""
    found = compared(tmp_path, (64.0, 77.0, 87.0))
    assert found.outcome == "better"
    errors = np.sqrt(2 * 0.8 * 0.2 / IMAGES) * 100
    assert found.difference < 2 * errors
    assert found.high - found.low < errors * 2


def test_worse_and_not_shown(tmp_path: Path) -> None:
    assert compared(tmp_path / "worse", (50.0, 65.0, 75.0)).outcome == "worse"
    same = compared(tmp_path / "same", (67.5, 72.5, 85.0))
    assert same.outcome == "not shown"
    assert same.difference == pytest.approx(0, abs=0.3)


def test_seeds(tmp_path: Path) -> None:
    (found,) = folder_of(tmp_path, seeds=(0, 1, 2)).curves
    assert (found.seeds.n, found.seeds.half_width) == (3, 0)
    assert found.seeds.mean == pytest.approx(found.difference)


def test_what_is_no_curve(tmp_path: Path) -> None:
    modes = folder_of(tmp_path, (80.0, 80.0, 80.0))
    assert modes.curves == ()
    (early,) = [one for one in modes.configurations if not one.static]
    assert [point.name for point in curve_of(early)] == ["a"], "the cheapest of the same answers"


def test_weights_by_hand() -> None:
    places = np.array([0.0, 1.0, 3.0])
    assert trapezium(places).tolist() == [1 / 6, 1 / 2, 1 / 3]
    assert interpolation(np.array([0.0, 2.0]), np.array([0.5, 2.0])).tolist() == [[0.75, 0.25], [0.0, 1.0]]


def test_it_is_reported_and_drawn(tmp_path: Path) -> None:
    found = folder_of(tmp_path)
    page = markdown_report(found)
    assert "| early | dense, 3 nets | 15.0M | 40.0M | +4.00 |" in page
    with styled():
        figure = curves_figure(found.curves)
    (axes,) = figure.axes
    assert axes.get_title(loc="left") == "early: +4.00 points on the mean"
