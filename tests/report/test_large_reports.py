"""A report of many records: nothing is done again for each of them, and the figures stay readable."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from dynbench.analysis import controls, statistics
from dynbench.analysis.analysis import Analysis
from dynbench.record import folder
from dynbench.record.folder import ResultsFolder
from dynbench.report.plots.accuracy import accuracy_figure
from dynbench.report.plots.histogram import PANELS, histogram_figure
from dynbench.report.plots.realised import realised_figure
from dynbench.report.plots.style import LABELS
from tests.helpers.copies import COMMITTED, copy_committed

SOME = len(ResultsFolder(COMMITTED).records())
MANY = 6 * SOME


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    """Six configurations in place of each of the committed ones; not to be written to."""
    return copy_committed(tmp_path_factory.mktemp("large") / "results", MANY, seeds=1)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each drawing of resamples the pairs that it was for."""
    found: list[int] = []
    resampled = statistics._resampled

    def counted(sums: Any) -> Any:
        found.append(len(sums))
        return resampled(sums)

    monkeypatch.setattr(statistics, "_resampled", counted)
    return found


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if len(text.get_text()) > 1]  # others are quoted points


def test_arrays_are_read_once_and_resamples_drawn_once(
    many: ResultsFolder, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: Counter[tuple[str, ...]] = Counter()
    load = folder.load_arrays

    def counted(path: Path, *names: str) -> Any:
        reads[path.name, *names] += 1
        return load(path, *names)

    monkeypatch.setattr(folder, "load_arrays", counted)
    comparisons = Analysis.of(many).comparisons
    assert len(comparisons) > MANY
    assert set(reads.values()) == {1}
    checked = {name for name, *arrays in reads if len(arrays) > 1}  # once, all that a record is compared with
    assert checked == {many.arrays_path(record.run_id).name for record in many.records()}
    assert len(reads) > len(checked)
    assert len(drawn) == 1


def test_comparisons_are_the_same_however_many_are_made_at_once(
    many: ResultsFolder, drawn: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = Analysis.of(many, many.records()[: 2 * SOME])
    together = few.comparisons
    monkeypatch.setattr(controls, "TOGETHER", 5)
    assert controls.compare_with_controls(many, few.configurations) == together
    assert len(drawn) == 1 + -(-len(together) // 5)


def test_figures_have_as_many_parts_and_no_more_labels_than_fit(many: ResultsFolder) -> None:
    """What they are drawn from grows with the records, what is drawn one by one does not."""
    one, all_ = (Analysis.of(many, records) for records in (ResultsFolder(COMMITTED).records(), many.records()))
    few, more = accuracy_figure(one), accuracy_figure(all_)
    assert len(more.axes[0].collections) == len(few.axes[0].collections)
    assert 0 < len(labels(more)) <= LABELS
    assert 0 < len(labels(realised_figure(all_.latency))) <= LABELS
    histogram = histogram_figure(all_)
    assert 0 < len(histogram.axes) <= PANELS
    assert "Also not shown" in str(histogram._supxlabel.get_text())  # type: ignore[attr-defined]


def test_what_is_labelled_of_many_is_on_the_front_or_named(many: ResultsFolder) -> None:
    found = Analysis.of(many)
    assert found.notable <= {configuration.key for configuration in found.configurations}
    assert {point.configuration.key for front in found.fronts.values() for point in front} <= found.notable
    assert {standing.point.configuration.key for standing in found.standings if standing.point} <= found.notable
    assert len(found.notable) < len(found.configurations)
