"""Static engines of the dense backbone: checked, timed pass by pass, absent with a reason."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dynbench.errors import UserError
from dynbench.executors import FoldedBackbone
from dynbench.latency.engines.compiled import TorchCompile
from dynbench.latency.engines.engine import Call as EngineCall
from dynbench.latency.engines.engine import Engine, load_engine
from dynbench.latency.engines.onnx_runtime import PACKAGES, OnnxRuntime
from dynbench.latency.engines.time_engines import time_engines
from dynbench.latency.figures import with_engines
from dynbench.latency.request import EnginesAnswer, EnginesRequest, TimingAnswer, TimingRequest
from dynbench.latency.timer import Timer
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Latency
from dynbench.suite.engines import ENGINES
from dynbench.suite.schema import LatencyProtocol, Limits
from tests.conftest import Call
from tests.helpers.records import Fake, make_engine, make_record
from tests.helpers.small import random_images, small_backbone

NO_COMPILER = not any(map(shutil.which, ("c++", "g++", "clang++")))
NO_ONNX = any(find_spec(package) is None for package in PACKAGES)
EAGER = "pytorch eager"


class Doubled(Engine):
    """Computes something else."""

    name = "doubled"

    def version(self) -> str:
        return "2.0"

    def prepare(self, net: nn.Module, example: Tensor, threads: int) -> EngineCall:
        return lambda x: 2 * net(x)


class OneImageOnly(Doubled):
    name = "one image only"

    def prepare(self, net: nn.Module, example: Tensor, threads: int) -> EngineCall:
        if len(example) > 1:
            raise RuntimeError("a compiler's\n  long report\n\nSet TORCHDYNAMO_VERBOSE=1 for more")
        return net


class Elsewhere(Doubled):
    name = "elsewhere"

    def unsupported(self, device: torch.device) -> str | None:
        return f"not on {device}"


def folded() -> FoldedBackbone:
    return FoldedBackbone(small_backbone(), kernels=False).eval()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(TorchCompile(), marks=pytest.mark.skipif(NO_COMPILER, reason="no C++ compiler")),
        pytest.param(OnnxRuntime(), marks=pytest.mark.skipif(NO_ONNX, reason="no ONNX Runtime")),
    ],
    ids=lambda engine: engine.name,
)
def test_an_engine_computes_what_eager_pytorch_does_and_is_timed(engine: Engine) -> None:
    (eager, found), raw = time_engines(folded(), [engine], random_images(7), (1, 3), rounds=2)
    assert (found.name, found.absent) == (engine.name, None)
    assert found.version == engine.version() != ""
    assert [(timing.batch, timing.calls, timing.rounds) for timing in found.timings] == [(1, 7, 2), (3, 2, 2)]
    assert [timing.of_eager for timing in eager.timings] == [1, 1]
    for own, reference in zip(found.timings, eager.timings, strict=True):
        assert own.of_eager == pytest.approx(own.mean_ms / reference.mean_ms)
        samples = raw[f"engines/{engine.name}/{own.batch}/ms"]
        assert samples.shape == (2, own.calls)
        assert own.p50_ms == pytest.approx(np.percentile(samples, 50))


def test_an_engine_that_cannot_be_timed_says_why() -> None:
    engines = (Doubled(), OneImageOnly(), Elsewhere())
    (eager, doubled, one_image, elsewhere), raw = time_engines(folded(), engines, random_images(4), (1, 2), rounds=1)
    assert doubled.absent == "its logits differ from eager PyTorch's by 1 of the largest"
    assert one_image.absent == "RuntimeError: a compiler's long report"
    assert elsewhere.absent == "not on cpu"
    timed = {one.name: [timing.batch for timing in one.timings] for one in (eager, doubled, one_image, elsewhere)}
    assert timed == {EAGER: [1, 2], "doubled": [], "one image only": [1], "elsewhere": []}
    assert set(raw) == {f"engines/{EAGER}/1/ms", f"engines/{EAGER}/2/ms", "engines/one image only/1/ms"}


def test_what_is_not_installed_or_not_for_this_device_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert OnnxRuntime().unsupported(torch.device("cuda")) == "dynbench times ONNX Runtime on the CPU only"
    monkeypatch.setattr("dynbench.latency.engines.onnx_runtime.find_spec", lambda name: None)
    reason = OnnxRuntime().unsupported(torch.device("cpu"))
    assert reason == "onnx, onnxruntime, onnxscript not installed; pip install 'dynbench[engines]'"


@pytest.mark.parametrize("name", ENGINES)
def test_suites_and_records_call_an_engine_the_same(name: str) -> None:
    assert load_engine(name).name == name


def latency_of(fake: Fake) -> Latency:
    latency = make_record(fake)[0].points[0].latency
    assert latency is not None
    return latency


def test_realised_best_is_against_the_fastest_engine() -> None:
    """Half of the MACs, 1.8 times as fast as eager: 0.9. An engine that takes 0.5 of eager's time leaves half of it."""
    latency = latency_of(Fake(mmacs=(20.0,), speeds=(1.8,)))
    engines = [make_engine(EAGER, 1.0), make_engine("quick", 0.5), make_engine("quicker", 0.4, batches=(32,))]
    one, eight, many = with_engines(latency, engines).timings
    assert (one.realised, one.realised_best, one.best_engine) == pytest.approx((0.9, 0.45, "quick"))
    assert (eight.realised_best, eight.best_engine) == (None, None)  # no engine was timed there
    assert (many.realised_best, many.best_engine) == pytest.approx((0.36, "quicker"))


def test_eager_pytorch_may_be_the_fastest_but_alone_it_proves_nothing() -> None:
    latency = latency_of(Fake(mmacs=(20.0,), speeds=(1.8,)))
    slow = with_engines(latency, [make_engine(EAGER, 1.0), make_engine("slow", 1.5)]).timings[0]
    assert (slow.realised_best, slow.best_engine) == (slow.realised, EAGER)
    absent = make_engine("gone", 1.0, batches=(), absent="not installed")
    alone = with_engines(latency, [make_engine(EAGER, 1.0), absent])
    assert alone.timings[0].realised_best is None
    assert alone.engines[1].absent == "not installed"


class Asked:
    """In place of the fresh processes."""

    def __init__(self, engines_fail: bool) -> None:
        self.engines_fail = engines_fail
        self.requests: list[TimingRequest | EnginesRequest] = []

    def __call__(
        self, module: str, request: Any, kind: type[Any], doing: str, limits: Limits, /
    ) -> tuple[Any, dict[str, np.ndarray]]:
        self.requests.append(request)
        if isinstance(request, TimingRequest):
            return TimingAnswer(points={"default": latency_of(Fake(speeds=(1.0,)))}), {"default/1/ms": np.ones((2, 4))}
        if self.engines_fail:
            raise UserError(f"{doing} failed: Segmentation fault")
        engines = (make_engine(EAGER, 1.0), make_engine("onnxruntime", 0.5))
        return EnginesAnswer(engines=engines), {"engines/onnxruntime/1/ms": np.ones((2, 4))}


def timed_by(asked: Asked, folder: Path) -> list[Latency]:
    """Latencies of three runs on two backbones."""
    protocol = LatencyProtocol(engines=("onnxruntime",))
    timer = Timer(ResultsFolder(folder), protocol, "cpu", None, "dynbench time", ask=asked)
    fakes = (Fake(), Fake(given={"width": 0.5}), Fake(backbone="resnet32"))
    points = [timer.time(make_record(fake)[0]).points[0] for fake in fakes]
    return [point.latency for point in points if point.latency]


def test_engines_are_timed_once_for_each_backbone(tmp_path: Path) -> None:
    asked = Asked(engines_fail=False)
    latencies = timed_by(asked, tmp_path)
    backbones = [request.backbone.name for request in asked.requests if isinstance(request, EnginesRequest)]
    assert backbones == ["resnet20", "resnet32"]
    assert [latency.timings[0].best_engine for latency in latencies] == ["onnxruntime"] * 3
    with np.load(ResultsFolder(tmp_path).latency_arrays_path(make_record(Fake())[0].run_id)) as raw:
        assert set(raw) == {"default/1/ms", "engines/onnxruntime/1/ms"}


def test_an_engine_that_takes_its_process_down_costs_no_latency(tmp_path: Path) -> None:
    for latency in timed_by(Asked(engines_fail=True), tmp_path):
        assert latency.timings[0].realised == 1.0
        assert latency.timings[0].realised_best is None
        assert latency.engines[0].absent == "timing static engines failed: Segmentation fault"


@pytest.mark.skipif(NO_ONNX, reason="no ONNX Runtime")
def test_time_puts_engines_into_record_and_table(finished: Path, tmp_path: Path, call: Call) -> None:
    results = Path(shutil.copytree(finished, tmp_path / "results"))
    options = ("--images", 4, "--rounds", 1, "--batches", "1", "--threads", 1, "--engines", "onnxruntime")
    done = call("time", results, *options)
    assert done.exit_code == 0, done.output
    assert "The dense backbone on static engines" in done.output
    for record in ResultsFolder(results).records():
        latency = record.points[0].latency
        assert latency is not None
        assert [(engine.name, engine.absent) for engine in latency.engines] == [(EAGER, None), ("onnxruntime", None)]
        assert latency.timings[0].best_engine in (EAGER, "onnxruntime")
        with np.load(ResultsFolder(results).latency_arrays_path(record.run_id)) as raw:
            assert raw["engines/onnxruntime/1/ms"].shape == (1, 4)
