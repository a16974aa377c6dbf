"""What a suite needs, told beforehand, against what its runs then take."""

import math
import time
from pathlib import Path

import pytest
import torch

from dynbench.analysis.words import byte_size
from dynbench.backbones import build_backbone
from dynbench.cli.options import read_suite
from dynbench.estimate.estimate import DiskNeeds, checkpoint_bytes, estimate_cost, working_bytes
from dynbench.estimate.throughput import STEP_SECONDS, PeakMemory, measure_throughput
from dynbench.isolate.call import call as call_function
from dynbench.isolate.child import Ask
from dynbench.plan.expand import expand_suite
from dynbench.record.folder import ResultsFolder
from dynbench.stage import Progress
from dynbench.suite.schema import Evaluation, Limits
from tests.conftest import Call, Register
from tests.helpers.broken import Raises
from tests.helpers.small import CPU

SUITE = """\
name: needs
data: digits
backbones: [resnet8]
recipe: {epochs: 2, batch_size: 32}
methods:
  - dense
  - {name: lc_net, params: {l1_layer: 0.1}}
  - {name: blockdrop, params: {curriculum_epochs: 1, joint_epochs: 1}}
tracking: none
latency: none
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "needs.yaml"
    path.write_text(SUITE)
    return path


@pytest.mark.usefixtures("in_process")
def test_hours_and_disk_are_nearly_what_the_runs_take(
    suite: Path, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "perf_counter", time.process_time)  # what else the machine does is not in it
    results = tmp_path / "results"
    told = {run.run_id: measure_throughput(run, Evaluation(), CPU) for run in expand_suite(read_suite(suite))}
    assert call("run", suite, "--results", results).exit_code == 0
    for record in ResultsFolder(results).records():
        seconds = sum(stage.seconds for stage in record.budget.stages)
        assert 0.3 < told[record.run_id].training / seconds < 3
        written = [ResultsFolder(results).work(record.run_id) / "model.safetensors"]
        written += [
            ResultsFolder(results).record_path(record.run_id),
            ResultsFolder(results).arrays_path(record.run_id),
        ]
        assert estimate_cost(record.run).disk.kept == pytest.approx(
            sum(path.stat().st_size for path in written), rel=0.3
        )


def test_a_checkpoint_is_as_large_as_told(suite: Path, tmp_path: Path) -> None:
    for run in expand_suite(read_suite(suite)):
        method = run.make_method()
        model = method.build(build_backbone(run.built, (1, 8, 8), 10))
        for stage in method.stages(run.recipe):
            if stage.edit is not None:
                stage.edit(model)
            optimizer = stage.optimizer(model)
            x, y = torch.randn(4, 1, 8, 8), torch.randint(10, (4,))
            stage.loss(model, x, y, Progress(0, 1, 0.0)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            path = tmp_path / f"{run.method}-{stage.name}.pt"
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
            assert checkpoint_bytes(stage, model) == pytest.approx(path.stat().st_size, rel=0.3)


def test_a_checkpoint_is_replaced_beside_the_weights_of_earlier_stages() -> None:
    assert working_bytes([10, 30], [4, 5]) == 64
    assert working_bytes([100, 30], [4, 5]) == 200


def test_peak_memory_grows_with_the_batch_but_for_what_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeakMemory, "bytes", 1000)
    peak = PeakMemory(CPU)
    assert peak.at(batch=8, measured=2, fixed=900) == 900 + 400
    assert peak.at(batch=8, measured=8, fixed=1001) == 1001


def _held(ask: Ask, size: int) -> tuple[int, int]:
    peak = PeakMemory(CPU)
    torch.ones(size, dtype=torch.uint8)
    return peak.start, peak.bytes


def test_peak_memory_is_the_most_that_was_held() -> None:
    """In a process that has held nothing before: a peak cannot be set back."""
    size = 2**26
    start, most = call_function(_held, size, limits=Limits())
    assert most >= start + 0.9 * size


def test_large_batches_are_measured_with_fewer_images(suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynbench.estimate.throughput.STEP_SECONDS", STEP_SECONDS / 1e9)
    run, *_ = expand_suite(read_suite(suite))
    found = measure_throughput(run, Evaluation(), CPU)
    assert [stage.batch for stage in found.stages] == [8]
    assert math.isfinite(found.seconds)


def test_the_plan_shows_hours_memory_and_disk_once_for_all_seeds(suite: Path, tmp_path: Path, call: Call) -> None:
    result = call("plan", suite, "--results", tmp_path / "r", "--seeds", "0,1", "--methods", "dense", "--measure")
    assert result.exit_code == 0, result.output
    above, below = result.output.split("Each run, from up to 5 steps of each stage on ")
    assert above.count("to do") == 2
    (row,) = (line.split() for line in below.splitlines() if line.startswith("dense"))
    assert row[1:3] == ["2", "32"]
    assert float(row[3].replace(",", "")) > 0
    needs = estimate_cost(expand_suite(read_suite(suite))[0]).disk
    assert f"{byte_size(2 * needs.kept)} kept, {byte_size(needs.working)} more while a run trains." in above
    assert "Still to run:" in below


def test_a_plugin_that_fails_when_it_is_tried_does_not_stop_the_others(
    suite: Path, tmp_path: Path, call: Call, register: Register
) -> None:
    register("raises", Raises)
    result = call("plan", suite, "--results", tmp_path / "r", "--set", "methods=[raises, dense]", "--measure")
    assert result.exit_code == 0, result.output
    assert "not measured: raises: " in result.output
    assert "Each run, from up to 5 steps" in result.output


def test_without_measure_nothing_is_tried(suite: Path, tmp_path: Path, call: Call) -> None:
    result = call("plan", suite, "--results", tmp_path / "r", "--methods", "dense")
    assert "images/s" not in result.output
    assert isinstance(estimate_cost(expand_suite(read_suite(suite))[0]).disk, DiskNeeds)
