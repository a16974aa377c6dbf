"""What executors gain on the clock: ResNet-18 with planted gates against dense, and convolution by convolution.

Printed as ratios (`-s`), with the least and the largest of single rounds; no time is asserted. OMP_NUM_THREADS decides
about threads.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast
from unittest.mock import patch

import pytest
import torch
from dynbench_methods.lc_net.gates import Gate
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.nn.functional import conv2d

from dynbench.evaluation.executed import executed_macs
from dynbench.executors import Decision, FoldedBackbone, GatedExecutor, PooledGate, PooledLinear, kernels_of
from dynbench.executors.packed_weights import PackedWeights
from dynbench.kernels.cpu import operators as native
from dynbench.latency.figures import Samples
from dynbench.latency.loop import Call
from tests.benchmarks.turns import (
    DENSITIES,
    METHODS,
    Subject,
    check,
    dense,
    describe,
    in_turns,
    planted,
    ratio,
    say,
    static_engines,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of compilers and exporters
    pytest.mark.skipif(not native.available(), reason="the kernels are not available"),
]

EAGER = "pytorch eager"
SHAPES = ((64, 32), (128, 16), (256, 8), (512, 4))
"""Channels and height of ResNet-18's 3x3 convolutions with stride 1."""
SHARES = (0.5, 0.25, 0.1)
REPEATS = 20
GROUPS = (1, 8, 16)


def timed(benchmark: BenchmarkFixture, calls: dict[str, Call], images: Tensor, batch: int = 1) -> dict[str, Samples]:
    taken: dict[str, Samples] = benchmark.pedantic(in_turns, args=(calls, images, batch), rounds=1, iterations=1)
    benchmark.extra_info.update({name: round(samples.mean, 4) for name, samples in taken.items()})
    return taken


def realised(taken: dict[str, Samples], subject: Subject, own: str) -> list[str]:
    """Against eager PyTorch, and against each static engine that was timed beside it, the fastest first."""
    engines = sorted((name for name in taken if name not in {own, EAGER}), key=lambda name: taken[name].mean)
    best = [f"realised_best {ratio(taken[name], taken[own], subject.predicted)} against {name}" for name in engines]
    return [f"realised {ratio(taken[EAGER], taken[own], subject.predicted)}", *best]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("name", METHODS)
def test_planted(benchmark: BenchmarkFixture, name: str, density: float) -> None:
    """Single images, against dense in eager PyTorch and in the static engines."""
    subject = planted(name, density)
    executor = subject.executor()
    own = kernels_of(executor)
    taken = timed(benchmark, {EAGER: dense(), **static_engines(), own: executor}, subject.images)
    say(describe(name, subject), [*realised(taken, subject, own), own])


@pytest.mark.parametrize("density", (0.5, 0.25, 0.1))
def test_channel_groups(benchmark: BenchmarkFixture, density: float) -> None:
    """What it gains on the clock that neighbouring channels share a gate: `realised`, since MACs differ a little."""
    subjects = {group: planted("c_net", density, group) for group in GROUPS}
    calls: dict[str, Call] = {f"groups of {group}": subject.executor() for group, subject in subjects.items()}
    taken = timed(benchmark, {EAGER: dense(), **calls}, subjects[1].images)
    for group, subject in subjects.items():
        own = f"groups of {group}"
        say(f"{describe('c_net', subject)}, {own}", [f"realised {ratio(taken[EAGER], taken[own], subject.predicted)}"])


@pytest.mark.parametrize("name", METHODS)
def test_plain_pytorch(benchmark: BenchmarkFixture, name: str) -> None:
    """The same executor without our kernels: what they are worth."""
    subject = planted(name, 0.5)
    kernels = subject.executor()

    def unavailable() -> AbstractContextManager[None]:
        return patch.object(native, "available", lambda: False)

    with unavailable():
        plain = subject.executor()

    def without(x: Tensor) -> Tensor:
        with unavailable():  # gates ask at every call
            y: Tensor = plain(x)
        return y

    taken = timed(benchmark, {EAGER: dense(), "without": without, "with": kernels}, subject.images)
    say(
        describe(name, subject),
        [
            f"realised {ratio(taken[EAGER], taken['with'], subject.predicted)}",
            f"realised {ratio(taken[EAGER], taken['without'], subject.predicted)} without kernels, which make it "
            f"{ratio(taken['without'], taken['with'])} times as fast",
        ],
    )


def strangers_gates(subject: Subject, decide: Callable[[int], Decision], hidden: bool = False) -> GatedExecutor:
    """The subject's channel gates with another decision, given the number of scores; `hidden`: behind a linear layer of
    an eighth as many neurons, at which scores are then other ones."""
    gates = []
    for index, gate in enumerate(cast("Iterable[Gate]", subject.model.gates)):
        assert gate.channel is not None
        source, first = gate.channel, None
        if hidden:
            before = nn.Linear(source.in_features, max(source.in_features // 8, 4))
            source, first = nn.Linear(before.out_features, source.out_features), PooledLinear([before], ("hidden",))
        scores = PooledLinear([source], (f"gates.{index}",))
        gates.append(PooledGate(scores, channels=decide(source.out_features), hidden=first))
    return GatedExecutor(FoldedBackbone(subject.model.backbone, "backbone"), gates).eval()


@torch.inference_mode()
def macs_of(executor: nn.Module, images: Tensor) -> float:
    """Executed, a mean over images."""
    return sum(executed_macs(executor, image)[0] for image in images.split(1)) / len(images)


def test_strangers_gates(benchmark: BenchmarkFixture) -> None:
    """Other gates than LC-Net's on the same path, in turn with it. 1: as fast, MAC for MAC."""
    subject = planted("c_net", 0.5)
    own = subject.executor()
    executors: dict[str, nn.Module] = {
        "sigmoid": strangers_gates(subject, lambda _: Decision("sigmoid", above=0.5, scales=True)),
        "hard": strangers_gates(subject, lambda _: Decision("identity", above=0.0)),
        "largest half": strangers_gates(subject, lambda n: Decision("relu", top=n // 2, scales=True)),
        "two layers": strangers_gates(subject, lambda n: Decision("sigmoid", top=n // 2, scales=True), hidden=True),
    }
    taken = timed(benchmark, {"lc_net": own, **executors}, subject.images)
    macs = {name: macs_of(executor, subject.images) for name, executor in {"lc_net": own, **executors}.items()}
    lines = [
        f"{name}: {ratio(taken['lc_net'], taken[name], macs['lc_net'] / macs[name])} of LC-Net's speed for its MACs, "
        f"{macs[name] / macs['lc_net']:.3f} of LC-Net's"
        for name in executors
    ]
    say(describe("c_net", subject), lines)


def test_offline_throughput(benchmark: BenchmarkFixture) -> None:
    """Batches of 32, which layer skipping divides block by block."""
    subject = planted("l_net", 0.5)
    executor = subject.executor()
    check(executor, subject, 32)
    taken = timed(benchmark, {EAGER: dense(), "own": executor}, subject.images, batch=32)
    say(f"{describe('l_net', subject)}, batch 32", realised(taken, subject, "own"))


def repeated(call: Call) -> Call:
    """One convolution is over too soon for the clock."""

    def run(x: Tensor) -> Tensor:
        for _ in range(REPEATS):
            y = call(x)
        return y

    return run


@dataclass(frozen=True)
class Layer:
    """A convolution with as many outputs as inputs, `x` (1, channels, h, w)."""

    x: Tensor
    weight: Tensor
    bias: Tensor

    def dense(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, padding=1)

    def of_outputs(self, some: Tensor) -> tuple[Call, Call]:
        """Ours and torch's."""
        kernel = PackedWeights(self.weight, self.bias, 1, 1, 1)
        return (
            lambda x: kernel(x, some, None, None, None, False),
            lambda x: conv2d(x, self.weight[some], self.bias[some], padding=1),
        )

    def of_inputs(self, some: Tensor | None) -> tuple[Call, Call]:
        kernel = PackedWeights(self.weight, self.bias, 1, 1, 1)
        return (
            lambda x: kernel(x, None, some, None, None, False),
            lambda x: conv2d(x[:, some], self.weight[:, some], self.bias, padding=1),
        )


def layer(channels: int, height: int) -> Layer:
    torch.manual_seed(0)
    weight = torch.randn(channels, channels, 3, 3)
    return Layer(torch.randn(1, channels, height, height), weight, torch.randn(channels))


def compared(layer: Layer, own: Call, gathered: Call, share: float) -> str:
    """1 of dense's MACs/s: every MAC left out is time left out."""
    torch.testing.assert_close(own(layer.x), gathered(layer.x), rtol=1e-4, atol=1e-3)
    calls = {"dense": layer.dense, "own": own, "gathered": gathered}
    taken = in_turns({name: repeated(call) for name, call in calls.items()}, layer.x)
    of_dense = ratio(taken["dense"], taken["own"], 1 / share)
    return f"{of_dense} of torch dense's MACs/s, {ratio(taken['gathered'], taken['own'])} times gather + conv2d"


def compared_at_all_shares(layer: Layer) -> list[str]:
    channels = len(layer.weight)
    own, _ = layer.of_inputs(None)
    lines = [f"all: {compared(layer, own, layer.dense, 1.0).partition(',')[0]}"]
    for kind, calls_of in (("outputs", layer.of_outputs), ("inputs", layer.of_inputs)):
        for share in SHARES:
            some = torch.randperm(channels)[: round(share * channels)].sort().values
            lines.append(f"{share:.0%} of {kind}: {compared(layer, *calls_of(some), len(some) / channels)}")
    return lines


@pytest.mark.parametrize(("channels", "height"), SHAPES)
def test_convolution(benchmark: BenchmarkFixture, channels: int, height: int) -> None:
    """Our kernel beside torch's dense convolution, and beside gathering the active weights for it. One layer alone,
    called again and again: its weights are in the caches, which those of a whole net may not be."""
    with torch.inference_mode():
        lines = benchmark.pedantic(compared_at_all_shares, args=(layer(channels, height),), rounds=1, iterations=1)
    say(f"\n{channels} channels of {height}x{height}, threads {torch.get_num_threads()}", lines)
