"""A disk that is full or may not be written to, and a folder that others delete or write into."""

import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from dynbench.record.folder import ResultsFolder
from tests.helpers.command import SMALL, Command, Ended, dynbench, is_told, many, moments, outcome

TRIES = many("DYNBENCH_KILLS", 1)
MOUNT = 'mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@"'
"""In a namespace of its own, which needs no rights on most systems."""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL.replace("epochs: 2", "epochs: 1"))
    return path


def on_a_disk(options: str, folder: Path, *arguments: object) -> Ended:
    """Run the command with a file system of its own mounted at `folder`."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no namespaces here")
    folder.mkdir()
    return dynbench(*arguments, prefix=("unshare", "-rm", "sh", "-c", MOUNT, "sh", options, str(folder)))


def test_a_full_disk(suite: Path, tmp_path: Path) -> None:
    """The plots, the database or a checkpoint: whatever comes first does not fit."""
    results = tmp_path / "results"
    ended = on_a_disk("size=40k", results, "run", suite, "--results", results)
    assert ended.code == 2
    assert is_told(ended)
    assert any("No space left on device" in line for line in ended.errors)


def test_a_disk_that_is_read_only(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    ended = on_a_disk("ro", results, "run", suite, "--results", results)
    assert (ended.code, len(ended.errors)) == (2, 1)
    assert f"cannot write to the results folder {results}: Read-only file system" in ended.err


def test_a_folder_that_is_deleted_at_any_moment(suite: Path, tmp_path: Path) -> None:
    """Either the command says that something went wrong, or all is there."""
    chosen, seconds = moments(3), dynbench("run", suite, "--results", tmp_path / "whole").seconds
    for number in range(TRIES):
        results = tmp_path / str(number)
        with Command("run", suite, "--results", results) as command:
            time.sleep(chosen.uniform(0.3, 1) * seconds)
            shutil.rmtree(results, ignore_errors=True)
            ended = command.end()
        assert is_told(ended), ended.err
        assert ended.code in {0, 1, 2}
        if ended.code == 0:
            assert [record.status for record in ResultsFolder(results).records()] == ["finished", "finished"]
        else:
            assert any(line.startswith(("lost: ", "error: ")) for line in ended.errors)


def test_four_commands_at_once_do_each_run_once(suite: Path, tmp_path: Path) -> None:
    results, alone = tmp_path / "results", tmp_path / "alone"
    with ExitStack() as all_of_them:
        commands = [
            all_of_them.enter_context(Command("run", suite, "--results", results, MPLCONFIGDIR=str(tmp_path)))
            for _ in range(4)
        ]
        ended = [command.end() for command in commands]
    assert [(one.code, one.err) for one in ended] == [(0, "")] * 4
    assert dynbench("run", suite, "--results", alone, "--tracking", "none").code == 0
    assert outcome(results) == outcome(alone)
    lines = [line for one in ended for line in one.out.splitlines() if line.startswith("[")]
    assert len(lines) == 2, "a run was made twice"
    assert not any(path.name.startswith(".") for path in results.rglob("*") if "mlartifacts" not in path.parts)
