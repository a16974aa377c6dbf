"""An operating point that multiplies nothing is an honest one: it goes through every command."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from dynbench_methods.dense import Dense
from torch import Tensor, nn

from dynbench.method import LayerUsage, Output, Point
from dynbench.record.folder import ResultsFolder
from tests.conftest import Call, Register
from tests.contract.test_liars import recorded


class Constant(Dense):
    """Runs whole, or answers every image with the first class."""

    name = "constant"
    static = False
    ALL, NOTHING = Point("all"), Point("nothing")

    def points(self, model: nn.Module) -> Sequence[Point]:
        return self.NOTHING, self.ALL

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        return [self._nothing(model, x) if point == self.NOTHING else Output(model(x)) for point in points]

    def _nothing(self, model: nn.Module, x: Tensor) -> Output:
        layers = [name for name, one in model.named_modules() if isinstance(one, nn.Conv2d | nn.Linear)]
        skipped = LayerUsage(outputs=torch.zeros(len(x), dtype=torch.float64))
        return Output(Answer()(x), dict.fromkeys(layers, skipped))

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        return Answer() if point == self.NOTHING else super().executor(model, point)


class Answer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        logits = x.new_zeros(len(x), 10)
        logits[:, 0] = 1
        return logits


@pytest.fixture
def results(tmp_path: Path, register: Register) -> Path:
    for method in (Dense, Constant):
        record = recorded(method, tmp_path / "results", register, timed=True)
        assert (record.status, record.error) == ("finished", None)
    return tmp_path / "results"


def test_it_is_audited_timed_reported_and_checked(results: Path, call: Call, tmp_path: Path) -> None:
    record = next(one for one in ResultsFolder(results).records() if one.run.method == "constant")
    nothing, whole = record.points
    assert (nothing.macs.mean, nothing.audited, whole.macs.mean) == (0, True, record.macs_dense)
    assert nothing.latency is not None
    (timing,) = nothing.latency.timings
    assert timing.macs_mean == 0
    assert 0 < timing.realised < 1 < timing.dense_mean_ms / timing.mean_ms
    assert math.isfinite(timing.realised)
    baseline = tmp_path / "baseline.json"
    for command in (
        ("report", results),
        ("table", results),
        ("export", results, "--output", tmp_path / "table.csv"),
        ("baseline", results, "--output", baseline),
        ("check", results, "--baseline", baseline),
    ):
        done = call(*command)
        assert done.exit_code == 0, done.output
