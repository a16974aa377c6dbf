"""A run timed in a forked process, which has torch already, against a fresh one: the same figures."""

from pathlib import Path

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from dynbench.latency.request import TimingAnswer, TimingRequest
from dynbench.latency.timer import TIMING, Asks, ask_forked_process, ask_fresh_process
from dynbench.record.folder import ResultsFolder
from dynbench.suite.schema import DEFAULT_LIMITS, LatencyProtocol
from tests.conftest import Call

TURNS = 5
SUITE = """\
name: timed
data: digits
backbones: [resnet8]
recipe: {epochs: 1, batch_size: 128}
methods: [{name: lc_net, params: {l1_layer: 0.1}}]
tracking: none
latency: none
"""


def test_a_forked_process_times_as_a_fresh_one(benchmark: BenchmarkFixture, call: Call, tmp_path: Path) -> None:
    suite, results = tmp_path / "timed.yaml", ResultsFolder(tmp_path / "results")
    suite.write_text(SUITE)
    assert call("run", suite, "--results", results).exit_code == 0
    (record,) = results.records()
    request = TimingRequest(
        results=results.path,
        run_id=record.run_id,
        data_root=None,
        device="cpu",
        protocol=LatencyProtocol(threads=1),
        command="a benchmark",
    )
    figures = benchmark.pedantic(lambda: in_turn(request), rounds=1, warmup_rounds=0)
    for batch, of in figures.items():
        ratios = ", ".join(f"{name} {ratio:.2f} ({low:.2f} to {high:.2f})" for name, (low, ratio, high) in of.items())
        print(f"\nforked / fresh, batch {batch}, median and range of {TURNS}: {ratios}")


def in_turn(request: TimingRequest) -> dict[int, dict[str, tuple[float, float, float]]]:
    """Least, median and largest ratio of each figure, turn by turn, by batch size."""
    forked, fresh = [], []
    for turn in range(TURNS):
        pair = (forked, ask_forked_process), (fresh, ask_fresh_process)
        for found, ask in pair if turn % 2 else reversed(pair):
            found.append(timed(ask, request))
    ratios = {batch: np.array([one[batch] for one in forked]) / [one[batch] for one in fresh] for batch in forked[0]}
    names = "method ms", "dense ms", "realised"
    return {
        batch: {
            name: (float(column.min()), float(np.median(column)), float(column.max()))
            for name, column in zip(names, table.T, strict=True)
        }
        for batch, table in ratios.items()
    }


def timed(ask: Asks, request: TimingRequest) -> dict[int, tuple[float, float, float]]:
    answer, _ = ask(TIMING, request, TimingAnswer, "timing", DEFAULT_LIMITS)
    assert answer.refused is None, answer.refused
    latency = next(iter(answer.points.values()))
    return {one.batch: (one.p50_ms, one.dense_p50_ms, one.realised) for one in latency.timings}
