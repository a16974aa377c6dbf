"""What plugin code does besides computing."""

from pathlib import Path

import pytest

from dynbench.data.catalogue import DATASETS, DatasetInfo, file_patterns
from dynbench.errors import AuditFailed
from dynbench.guards.side_effects import watched


def opened(path: Path) -> str:
    """What is found when a plugin opens this file; empty when nothing is."""
    path.touch()
    try:
        with watched("in a test"), path.open("rb"):
            return ""
    except AuditFailed as error:
        return str(error)


@pytest.mark.parametrize(
    "name", ["digits.csv.gz", "data_batch_1", "data_batch_5.bin", "test_batch", "test_batch.bin", "n01440764_1.JPEG"]
)
def test_files_of_data_sets_are_watched(name: str, tmp_path: Path) -> None:
    assert opened(tmp_path / name) == f"in a test, the plugin read the data set's file {name} by itself"


@pytest.mark.parametrize("name", ["data_batch_6", "a_data_batch_1", "digits.csv", "weights.safetensors", "plot.jpeg"])
def test_others_are_not(name: str, tmp_path: Path) -> None:
    assert opened(tmp_path / name) == ""


def test_a_data_set_that_is_added_is_watched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "svhn_test.mat"
    assert opened(path) == ""
    info = DatasetInfo("nowhere:load", (3, 32, 32), 10, 73_257, 5_000, files=("svhn_*.mat",))
    monkeypatch.setitem(DATASETS, "svhn", info)
    assert opened(path) == "in a test, the plugin read the data set's file svhn_test.mat by itself"


def test_every_data_set_with_files_of_known_names_says_them() -> None:
    assert [name for name, info in DATASETS.items() if not info.files] == ["imagefolder"]
    assert set(file_patterns()) == {pattern for info in DATASETS.values() for pattern in info.files}
