"""The timing protocol, and `dynbench time`. Nothing here asserts how long anything takes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import Tensor

import dynbench
from dynbench.errors import UserError
from dynbench.executors.convolution import EAGER
from dynbench.kernels.cpu import operators as native
from dynbench.latency import timer
from dynbench.latency.figures import Samples, realised
from dynbench.latency.loop import WARM_UP_CALLS, batches_of, by_pass
from dynbench.latency.timer import Timer
from dynbench.record.folder import ResultsFolder
from tests.conftest import Call


def numbered(count: int) -> Tensor:
    return torch.arange(count).view(count, 1, 1, 1).float()


def test_passes_are_whole_warmed_up_and_never_in_the_same_order() -> None:
    called: list[tuple[str, int]] = []

    def spy(name: str) -> Callable[[Tensor], Tensor]:
        def call(x: Tensor) -> Tensor:
            called.append((name, int(x[0, 0, 0, 0])))
            return x

        return call

    samples = by_pass([spy("dense"), spy("method")], batches_of(numbered(5), 1), rounds=6, seed=0)
    assert [one.ms.shape for one in samples] == [(6, 5), (6, 5)]
    starts = [index for index, (name, _) in enumerate(called) if index == 0 or called[index - 1][0] != name]
    passes = [called[start:end] for start, end in zip(starts, [*starts[1:], len(called)], strict=True)]
    assert 2 <= len(passes) <= 12  # two passes of one module can meet between rounds
    assert {name for name, _ in called} == {"dense", "method"}
    orders = [tuple(image for _, image in one[-5:]) for one in passes]
    assert all(len(one) >= 5 + WARM_UP_CALLS for one in passes)
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len(set(orders)) > 1


def test_only_whole_batches() -> None:
    assert [len(batch) for batch in batches_of(numbered(10), 4)] == [4, 4]
    assert batches_of(numbered(3), 4) == []


def test_figures_of_planted_samples() -> None:
    """Columns are images; a hiccup in one round does not move the mean, but is among the percentiles."""
    dense = Samples(np.array([[4.0, 4.0], [4.0, 4.0], [4.0, 100.0]]))
    method = Samples(np.array([[1.0, 3.0], [1.0, 3.0], [1.0, 3.0]]))
    assert (dense.mean, method.mean) == (4.0, 2.0)
    assert dense.percentile(99) > 90
    assert realised(dense, method, dense_macs=300.0, method_macs=100.0) == pytest.approx(2 / 3)
    assert realised(dense, dense, 100.0, 100.0) == 1


@pytest.fixture
def results(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results"))


def test_time_adds_latency_to_finished_runs(results: Path, call: Call) -> None:
    options = ("--images", 6, "--rounds", 2, "--batches", "1,4,64", "--threads", 1, "--engines", "none")
    done = call("time", results, *options)
    assert done.exit_code == 0, done.output
    assert "Latency: resnet8 x0.25 on digits" in done.output
    for record in ResultsFolder(results).records():
        for point in record.points:
            assert point.latency is not None
            assert [timing.batch for timing in point.latency.timings] == [1, 4]  # 64 images were not asked for
            assert [timing.calls for timing in point.latency.timings] == [6, 1]
            assert point.latency.threads == 1
        with np.load(ResultsFolder(results).latency_arrays_path(record.run_id)) as raw:
            name = record.points[0].name
            assert raw[f"{name}/1/ms"].shape == raw[f"{name}/1/dense_ms"].shape == (2, 6)
            assert raw[f"{name}/1/dense_apart_ms"].shape == (2, 6)
            single = record.points[0].latency.timings[0] if record.points[0].latency else None
            assert single is not None
            assert single.p50_ms == pytest.approx(np.percentile(raw[f"{name}/1/ms"], 50))
    table = dynbench.load(results)
    assert bool((table.latency_ms_p50 > 0).all())
    assert bool((table.realised > 0).all())
    assert set(table.engine) == {f"dynbench kernels ({native.instruction_set()})" if native.available() else EAGER}
    assert bool(table.realised_best.isna().all())


def test_without_weights_it_says_what_to_do(results: Path, call: Call) -> None:
    for record in ResultsFolder(results).records():
        ResultsFolder(results).weights(record.run_id).unlink()
    done = call("time", results)
    assert done.exit_code == 2
    assert "has no trained weights" in done.stderr
    assert all(point.latency is None for record in ResultsFolder(results).records() for point in record.points)


def test_a_run_that_is_being_done_is_left_alone(results: Path, call: Call) -> None:
    first = ResultsFolder(results).records()[0]
    with FileLock(ResultsFolder(results).work(first.run_id) / "lock"):
        done = call("time", results)
    assert done.exit_code == 2
    assert "is being run by another process" in done.stderr


@pytest.mark.parametrize("sizes", ["0", "1,x", ""])
def test_bad_batch_sizes(results: Path, call: Call, sizes: str) -> None:
    assert call("time", results, "--batches", sizes).exit_code == 2


def test_an_unknown_engine_names_the_nearest(results: Path, call: Call) -> None:
    done = call("time", results, "--engines", "onnx")
    assert done.exit_code == 2
    assert 'unknown engine "onnx"; did you mean "onnxruntime"?' in done.stderr


# Within `dynbench run`

SHORT = ("--set", "latency={images: 4, rounds: 1, batches: [1, 2]}", "--methods", "dense")


def test_a_run_ends_with_its_latency_and_is_not_timed_again(call: Call, tiny_suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = call("run", tiny_suite, "--results", results, *SHORT)
    assert done.exit_code == 0, done.output
    assert "    timing\n    test " in done.stdout
    assert "as fast" in done.stdout
    assert (results / "plots" / "realised.png").is_file()
    (record,) = ResultsFolder(results).records()
    latency = record.points[0].latency
    assert latency is not None
    assert [timing.batch for timing in latency.timings] == [1, 2]
    assert latency.engines == ()
    assert ResultsFolder(results).latency_arrays_path(record.run_id).is_file()
    again = call("run", tiny_suite, "--results", results, *SHORT)
    assert "timing" not in again.stdout
    assert "as fast" in again.stdout
    full = call("report", results, "--full")
    assert "Latency: resnet8 x0.25 on digits" in full.stdout
    assert ResultsFolder(results).records() == (record,)


@pytest.mark.parametrize("options", [("--no-latency", *SHORT), ("--methods", "dense")])
def test_latency_can_be_turned_off(
    call: Call, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr(Timer, "time", lambda self, record: pytest.fail("timed"))
    done = call("run", tiny_suite, "--results", tmp_path / "results", *options)
    assert done.exit_code == 0, done.output
    assert "timing" not in done.stdout
    assert "Latency" not in done.stdout
    assert "as fast" not in done.stdout


def test_a_run_that_cannot_be_timed_is_finished(
    call: Call, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UserError("timing it failed: as planned")

    monkeypatch.setattr(timer, "ask_forked_process", fail)
    done = call("run", tiny_suite, "--results", tmp_path / "results", *SHORT)
    assert done.exit_code == 0, done.output
    assert "    not timed: timing it failed: as planned\n" in done.stdout
    (record,) = ResultsFolder(tmp_path / "results").records()
    assert (record.status, record.points[0].latency) == ("finished", None)


def test_a_run_that_is_interrupted_while_it_is_timed_is_finished(
    call: Call, tiny_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(timer, "ask_forked_process", interrupt)
    results = tmp_path / "results"
    assert call("run", tiny_suite, "--results", results, *SHORT).exit_code == 130
    (record,) = ResultsFolder(results).records()
    assert record.status == "finished"
    assert ResultsFolder(results).weights(record.run_id).is_file()
