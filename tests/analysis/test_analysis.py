"""What was found is made once, and whoever shows it is handed it."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dynbench.analysis.analysis as made
from dynbench.analysis import summary
from dynbench.analysis.analysis import Analysis
from dynbench.errors import UserError
from dynbench.record.folder import ResultsFolder
from tests.conftest import Call
from tests.helpers.records import Fake, analysed, make_record, small_suite, write_fakes

FINDINGS = ("configurations", "compare_with_controls", "verdicts", "blocks", "read_literature", "pareto_front")


def counted(counts: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def counting(*args: Any, **options: Any) -> Any:
        counts[name] += 1
        return function(*args, **options)

    return counting


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each finding was computed."""
    found: Counter[str] = Counter()
    for module, names in ((made, FINDINGS), (summary, ("_summarise",))):
        for name in names:
            monkeypatch.setattr(module, name, counted(found, name, getattr(module, name)))
    monkeypatch.setattr(ResultsFolder, "records", counted(found, "records", ResultsFolder.records))
    return found


def test_a_whole_report_computes_each_finding_once(counts: Counter[str], call: Call, tmp_path: Path) -> None:
    """Terminal tables, page and plots of one data set."""
    fakes = [*small_suite((0, 1)), Fake(given={"width": 0.9}, speeds=(1.0,))]
    records = write_fakes(tmp_path, fakes)
    points = {(record.run.label, point.name) for record in records for point in record.points}
    assert call("report", tmp_path).exit_code == 0
    assert counts == {**dict.fromkeys((*FINDINGS, "records"), 1), "_summarise": len(points)}


def test_nothing_is_computed_before_it_is_asked_for(counts: Counter[str]) -> None:
    found = analysed([make_record(Fake())[0]])
    assert not counts
    assert [point.name for point in found.points] == ["default"]
    assert counts == {"configurations": 1, "_summarise": 1}


def test_settings_and_fronts_cover_everything_that_finished(tmp_path: Path) -> None:
    write_fakes(tmp_path, [Fake(), Fake(dataset="digits"), Fake("l_net", error="broken")])
    found = Analysis.of(ResultsFolder(tmp_path))
    assert sorted(setting.dataset for setting in found.settings) == ["cifar10", "digits"]
    assert sorted(found.fronts) == ["cifar10", "digits"]
    assert [record.run.method for record in found.failed] == ["l_net"]


def test_an_empty_folder_has_no_analysis(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no records in"):
        Analysis.of(ResultsFolder(tmp_path))
