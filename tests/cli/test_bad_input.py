"""What users can get wrong ends with one line on stderr and exit code 2, and leaves nothing half-written."""

import errno
import os
from pathlib import Path
from shutil import copytree
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from click.testing import Result

from dynbench.cli.options import read_suite
from dynbench.plan.expand import expand_suite
from dynbench.record.folder import ResultsFolder
from dynbench.train.checkpoint import Checkpoint, write_checkpoint
from tests.conftest import Call, Cli


def assert_refused(result: Result, *expected: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    for part in expected:
        assert part in result.stderr


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results folder that is not there yet; there is no data to be found by chance either."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DYNBENCH_DATA", raising=False)
    return tmp_path / "results"


@pytest.mark.parametrize("command", ["run", "plan"])
@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("- dense", "- dnse", ('tiny.yaml:6: unknown method "dnse"; did you mean "dense"?',)),
        ("resnet8", "resnet9", ('tiny.yaml:3: unknown backbone "resnet9"; did you mean "resnet8"?',)),
        ("digits", "digit", ('tiny.yaml:2: unknown data set "digit"; did you mean "digits"?',)),
        ("epochs: 1", "epochs: one", ("tiny.yaml:4: recipe.epochs: expected a whole number, got 'one'",)),
        ("l1_layer", "l1_layers", ('tiny.yaml:7: unknown key "methods.1.params.l1_layers"; did you mean "l1_layer"?',)),
        ("name: tiny", "name: tiny\nname: tiny", ('tiny.yaml:2: duplicate key "name"',)),
        ("width: 0.25", "width: 0.01", ("width 0.01 leaves resnet8 without channels",)),
    ],
)
def test_a_bad_suite(
    call: Call, tiny_suite: Path, results: Path, command: str, old: str, new: str, expected: tuple[str, ...]
) -> None:
    text = tiny_suite.read_text()
    assert text.count(old) == 1
    tiny_suite.write_text(text.replace(old, new))
    assert_refused(call(command, tiny_suite, "--results", results), *expected)
    assert not results.exists()


def test_an_empty_suite(call: Call, tiny_suite: Path, results: Path) -> None:
    tiny_suite.write_text("")
    assert_refused(call("run", tiny_suite, "--results", results), "tiny.yaml:1: the suite is empty")
    assert_refused(call("run", tiny_suite.with_name("none.yaml"), "--results", results), "No such file or directory")
    assert not results.exists()


def test_no_data_and_no_download(
    call: Call, tiny_suite: Path, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", no_network)
    empty = tmp_path / "images"
    empty.mkdir()
    result = call("run", tiny_suite, "--results", results, "--set", "data=cifar10", "--data", empty)
    assert_refused(result, f"CIFAR-10 is not in {empty} and could not be downloaded", "no route to host", "--data")
    assert not results.exists()
    assert list(empty.iterdir()) == []


def test_damaged_data(call: Call, tiny_suite: Path, results: Path, tmp_path: Path) -> None:
    (tmp_path / "data_batch_1.bin").write_bytes(b"short")
    result = call("run", tiny_suite, "--results", results, "--set", "data=cifar10", "--data", tmp_path)
    assert_refused(result, "CIFAR-10 is damaged:", "data_batch_1.bin does not have its published hash")
    assert not results.exists()


def test_a_data_set_name_is_set_beside_its_folder(call: Call, tiny_suite: Path, results: Path) -> None:
    result = call("run", tiny_suite, "--results", results, "--set", "data.name=cifar", "--data", "x")
    assert_refused(result, '--set data.name=cifar: unknown data set "cifar"; did you mean "cifar10"?')


def test_a_truncated_checkpoint(call: Call, tiny_suite: Path, results: Path) -> None:
    dense, other = expand_suite(read_suite(tiny_suite))
    path = results / "work" / dense.run_id / "checkpoint.pt"
    write_checkpoint(path, Checkpoint(dense.run_id, 0, 1, {"w": torch.zeros(1000)}, {}, "{}"))
    path.write_bytes(path.read_bytes()[:2000])
    result = call("run", tiny_suite, "--results", results)
    assert_refused(result, f"checkpoint {path} is damaged; delete it to train this run from its start")
    assert path.stat().st_size == 2000
    assert [record.run_id for record in ResultsFolder(results).records()] == [other.run_id]


def test_damaged_weights_of_the_dense_run_that_another_starts_from(
    call: Call, tiny_suite: Path, finished: Path, results: Path
) -> None:
    copytree(finished, results)
    (weights,) = results.glob("work/dense-*/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    tiny_suite.write_text(tiny_suite.read_text().replace("{l1_layer: 0.1}", "{init: dense}"))
    assert_refused(call("run", tiny_suite, "--results", results), f"weights {weights} are damaged")


def test_a_damaged_record(call: Call, tiny_suite: Path, finished: Path, results: Path) -> None:
    copytree(finished, results)
    (path,) = results.glob("records/dense-*.json")
    path.write_text(path.read_text()[:300])
    for command in ("run", "plan"):
        assert_refused(call(command, tiny_suite, "--results", results), f"record {path} is damaged")


@pytest.mark.parametrize("place", ["file/results", "file", "/proc/results"])
def test_an_unwritable_results_folder(call: Call, tiny_suite: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    folder = tmp_path / place
    assert_refused(call("run", tiny_suite, "--results", folder), f"cannot write to the results folder {folder}: ")
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.usefixtures("in_process")
def test_a_full_disk(call: Call, tiny_suite: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    result = call("run", tiny_suite, "--results", results)
    assert_refused(
        result, "cannot write ", "checkpoint.pt: No space left on device (and 1 more runs failed in the same way)"
    )
    assert {path.name for path in results.rglob("*") if path.is_file()} <= {"lock"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:3"])
def test_cuda_asked_for_and_absent(call: Call, tiny_suite: Path, results: Path, device: str) -> None:
    result = call("run", tiny_suite, "--results", results, "--device", device)
    assert_refused(result, f"device {device} was asked for, but this machine has 0 CUDA devices; use --device cpu")
    assert not results.exists()


def test_a_folder_for_temporary_files_that_is_too_deep(cli: Cli, tiny_suite: Path, tmp_path: Path) -> None:
    """The path of a socket in it has 107 bytes at most."""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    refused = cli("run", tiny_suite, env={"TMPDIR": str(deep)})
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: cannot start processes: AF_UNIX path too long; TMPDIR is ")
    assert refused.stderr.count("\n") == 1


def test_an_option_with_a_wrong_value(call: Call, tiny_suite: Path, results: Path) -> None:
    result = call("run", tiny_suite, "--results", results, "--device", "gpu")
    assert_refused(result, "--device: device: expected text that matches")
    assert not results.exists()


def test_nothing_is_written_where_the_command_stands(
    call: Call, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(call("run", tiny_suite, "--methods", "lcnet"), '--methods lcnet: the suite has no "lcnet"')
    assert list(tmp_path.iterdir()) == [tiny_suite]


@pytest.mark.parametrize("command", [("verify",), ("evaluate", "--backbone", "resnet8")])
def test_a_folder_where_weights_are_meant(call: Call, results: Path, command: tuple[str, ...]) -> None:
    """It is said before any data are read."""
    results.mkdir()
    result = call(*command, results)
    assert result.exit_code == 2
    assert f"File '{results}' is a directory" in result.stderr


def test_more_iterations_than_anyone_waits_for(call: Call, tiny_suite: Path) -> None:
    setting = "recipe.optimizer={name: muon, ns_steps: 1000000}"
    assert_refused(call("plan", tiny_suite, "--set", setting), "ns_steps", "50")
