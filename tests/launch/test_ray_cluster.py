"""Runs on a real Ray: two nodes, one of them killed; workers on one machine."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from tests.conftest import Cli

ray = pytest.importorskip("ray")

EPOCHS = 20
"""A second or two: what a killed node did must not be over before anybody has noticed."""
SUITE = f"""\
name: fanout
data: digits
backbones: [{{name: resnet8, width: 0.25}}]
recipe: {{epochs: {EPOCHS}, batch_size: 32}}
seeds: [0, 1]
methods:
  - dense
  - {{name: lc_net, params: {{l1_layer: 0.1, init: dense}}}}
tracking: none
latency: none
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
"""A run's numbers depend on its number of threads, wherever it is made."""


@pytest.fixture(scope="module")
def in_turn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the same suite, made one after another without Ray."""
    folder = tmp_path_factory.mktemp("in-turn")
    with running(folder) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    return folder / "results"


@contextmanager
def running(
    folder: Path, *options: str, program: tuple[str, ...] = ("-m", "dynbench")
) -> Iterator[subprocess.Popen[str]]:
    """`dynbench run` with `options`, its output to be read as it comes."""
    suite = folder / "fanout.yaml"
    suite.write_text(SUITE)
    command = [sys.executable, *program, "run", str(suite), "--results", "results", "--device", "cpu", *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=folder
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def two_nodes() -> Iterator["ray.cluster_utils.Cluster"]:
    """A cluster of two nodes of one core."""
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": soon})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def assert_same_results(one: Path, other: Path, part: str = "") -> None:
    """Results, per-image arrays and weights, of all runs or of those whose ids have this part."""
    wanted = [record for record in ResultsFolder(other).records() if part in record.run_id.split("-") or not part]
    for mine, theirs in zip(ResultsFolder(one).records(), wanted, strict=True):
        assert (mine.run_id, mine.status) == (theirs.run_id, "finished")
        assert mine.points == theirs.points
        assert losses(mine) == losses(theirs)
        arrays, expected = ResultsFolder(one).arrays(mine.run_id), ResultsFolder(other).arrays(mine.run_id)
        assert arrays.keys() == expected.keys()
        assert all(np.array_equal(array, expected[name]) for name, array in arrays.items())
        weights = f"work/{mine.run_id}/model.safetensors"
        assert (one / weights).read_bytes() == (other / weights).read_bytes()


def losses(record: Record) -> list[tuple[str, int, float]]:
    return [(epoch.stage, epoch.epoch, epoch.loss) for epoch in record.history]


def told(output: str, pattern: str) -> Counter[str]:
    return Counter(re.findall(pattern, output, re.MULTILINE))


def test_when_a_node_is_killed_its_run_goes_on_elsewhere_and_none_is_made_twice(tmp_path: Path, in_turn: Path) -> None:
    with two_nodes() as cluster:
        doomed = cluster.add_node(num_cpus=1)
        lost, lines = "", []
        with running(tmp_path, "--launcher", "ray", "--address", cluster.address) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                placed = re.match(r"\[\d/4\] (.*) on \S+ \((\w+)\)", line)
                if placed and doomed is not None and doomed.node_id.startswith(placed[2]):
                    lost = placed[1]
                if lost and doomed is not None and line.startswith(f"    {lost}: train 2/{EPOCHS} "):
                    cluster.remove_node(doomed, allow_graceful=False)
                    doomed = None
            errors = process.stderr.read() if process.stderr else ""
    output = "".join(lines)
    assert (process.returncode, errors) == (0, ""), output
    assert doomed is None, output
    assert re.search(rf"^\[\d/4\] {re.escape(lost)} again on ", output, re.MULTILINE), output
    assert re.search(rf"^    {re.escape(lost)}: train: continuing after epoch [0-9]+$", output, re.MULTILINE), output
    assert set(told(output, r"^    (.*): test ").values()) == {1}
    assert max(told(output, rf"^    (.*): train (?:\d+)/{EPOCHS} ").values()) <= EPOCHS
    assert_same_results(tmp_path / "results", in_turn)
    left = {path.name for path in (tmp_path / "results" / "work").rglob("*") if path.is_file()}
    assert left == {"lock", "model.safetensors", "token"}


def test_nodes_that_do_not_see_the_results_folder_send_everything_back(tmp_path: Path, in_turn: Path) -> None:
    """The driver's token is not the file's, as if the folder were another machine's."""
    elsewhere = (
        "import sys; from dynbench.cli import main; from dynbench.record.folder import ResultsFolder; "
        "ResultsFolder.token = lambda self: 'elsewhere'; main(sys.argv[1:])"
    )
    with two_nodes() as cluster:
        options = ("--launcher", "ray", "--address", cluster.address, "--seeds", "0")
        with running(tmp_path, *options, program=("-c", elsewhere)) as process:
            output, errors = process.communicate()
    assert (process.returncode, errors) == (0, ""), output
    assert_same_results(tmp_path / "results", in_turn, "s0")
    left = {path.name for path in (tmp_path / "results" / "work").rglob("*") if path.is_file()}
    assert left == {"lock", "model.safetensors"}  # nodes have not written here


def test_workers_on_one_machine_give_the_results_of_runs_in_turn(tmp_path: Path, in_turn: Path) -> None:
    with running(tmp_path, "--workers", "2") as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, ""), output
    assert " of training on cpu, 2 at once; " in output
    assert len(told(output, r"^\[\d/4\] (.*) on ")) == 4
    assert_same_results(tmp_path / "results", in_turn)


def test_after_an_interruption_the_same_command_goes_on(tmp_path: Path, in_turn: Path) -> None:
    with running(tmp_path, "--workers", "2", "--methods", "dense") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if f": train 2/{EPOCHS} " in line:
                process.send_signal(signal.SIGINT)
                break
        output, errors = process.communicate(timeout=600)
    assert process.returncode == 130, output
    assert errors == "interrupted; the same command continues from the last finished epoch\n"
    with running(tmp_path, "--methods", "dense") as process:  # without Ray: what it has left is what any process leaves
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert re.search(r"train: continuing after epoch \d", output)
    assert_same_results(tmp_path / "results", in_turn, "dense")


def test_a_cluster_that_is_not_there_is_one_line(tiny_suite: Path, cli: Cli) -> None:
    refused = cli("run", tiny_suite, "--launcher", "ray", "--address", "127.0.0.1:1")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: no Ray cluster at 127.0.0.1:1")
    assert refused.stderr.count("\n") == 1
