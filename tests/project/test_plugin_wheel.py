"""A third-party plugin: built as a wheel, installed elsewhere, run through the command line."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

from dynbench.record.folder import ResultsFolder
from tests.conftest import Cli

PLUGIN = Path(__file__).parents[1] / "plugin"

SUITE = """\
name: plugged
data: digits
backbones: [{name: resnet8, width: 0.5}]
recipe: {epochs: 3, batch_size: 64, schedule: constant}
methods:
  - {name: first_exit, params: {thresholds: [0.0, 0.9, 1.0]}}
tracking: none
"""


def pip(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that the plugin's wheel was installed into."""
    folder = tmp_path_factory.mktemp("plugin")
    source = copytree(PLUGIN, folder / "source")
    pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", folder / "wheels", source)
    (wheel,) = (folder / "wheels").glob("*.whl")
    pip("install", "--no-deps", "--no-index", "--no-compile", "--target", folder / "installed", wheel)
    return folder / "installed"


def test_its_files_are_in_the_wheel(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} == {
        "dynbench_early_exit.py",
        "dynbench_early_exit-0.1.0.dist-info",
    }


def test_it_is_listed(cli: Cli, installed: Path) -> None:
    result = cli("methods", env={"PYTHONPATH": str(installed)})
    assert result.returncode == 0, result.stderr
    assert "first_exit  (dynbench-early-exit 0.1.0)\n    Leaves after the first stage when" in result.stdout
    assert "    thresholds: list[float] = [0.5, 0.7, 0.9]\n" in result.stdout


def test_it_trains_and_leaves_its_record(cli: Cli, installed: Path, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE)
    result = cli("run", "suite.yaml", "--results", "results", env={"PYTHONPATH": str(installed)})
    assert result.returncode == 0, result.stdout + result.stderr
    (record,) = ResultsFolder(tmp_path / "results").records()
    assert (record.status, record.run.method) == ("finished", "first_exit")
    assert record.plugin == "dynbench-early-exit 0.1.0"
    points = {point.name: point for point in record.points}
    assert list(points) == ["threshold=0.0", "threshold=0.9", "threshold=1.0"]
    all_leave, some_leave, none_leave = (point.macs for point in points.values())
    classifier = 8 * 10
    assert none_leave.mean == record.macs_dense + classifier
    assert all_leave.gates == some_leave.gates == none_leave.gates == classifier
    stem_and_first_stage = 8 * 8 * 9 * (1 * 8 + 2 * 8 * 8)
    assert all_leave.max == stem_and_first_stage + classifier
    assert all_leave.mean <= some_leave.mean <= none_leave.mean
    assert points["threshold=1.0"].test_top1 > 30
