"""What early exits gain on the clock: ResNet-18 with an exit after a quarter, half and three quarters of its MACs.

Printed as ratios (`-s`), with the least and the largest of single rounds; no time is asserted. Heads and comparisons
are paid on both sides of `realised`: in the accounted MACs and on the clock.
"""

from functools import cache
from typing import cast

import pytest
import torch
from dynbench_methods.early_exit.executor import ExitExecutor
from dynbench_methods.early_exit.method import EarlyExit
from dynbench_methods.early_exit.net import ExitNet
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from dynbench.backbones import build_backbone
from dynbench.cost import CostModel, dense_macs, evaluating, static_costs
from dynbench.executors import kernels_of
from dynbench.kernels.cpu import operators as native
from dynbench.suite.schema import BackboneSpec
from tests.benchmarks.turns import CPU, IMAGES, SHAPE, dense, in_turns, ratio, say
from tests.helpers.planted import estimate_statistics, smooth_images

pytestmark = pytest.mark.skipif(not native.available(), reason="the kernels are not available")

PLACES = (0.25, 0.5, 0.75)
EAGER = "pytorch eager"


@cache
def planted(place: float, preset: str) -> tuple[EarlyExit, ExitNet, Tensor]:
    """A net with one exit; at its first point half of the images leave there, at the second all, at `never` none."""
    torch.manual_seed(0)
    method = EarlyExit(EarlyExit.Config(preset=preset, exits=(place,)))
    net = cast("ExitNet", method.build(build_backbone(BackboneSpec(name="resnet18"), SHAPE, 10)))
    images = smooth_images(IMAGES)
    estimate_statistics(net, images)
    with evaluating(net):
        found, _ = net.run(images)
        middle = net.score(0, found[0], 0).sort().values[IMAGES // 2 - 1 : IMAGES // 2 + 1].mean()
        net.thresholds[0, 0], net.thresholds[1, 0] = middle, float("inf")
    return method, net, images


def predicted(method: EarlyExit, net: ExitNet, images: Tensor, row: int) -> float:
    """Dense MACs over the accounted ones."""
    with evaluating(net):
        (output,) = method.infer(net, images, [method.points(net)[row]])
        macs = CostModel(static_costs(net, SHAPE), CPU)(output.usage, len(images)).by_kind.sum(1).double().mean()
    return dense_macs(net.backbone) / float(macs)


@pytest.mark.parametrize("preset", ["dg", "branchynet", "sdn"])
@pytest.mark.parametrize("place", PLACES)
def test_planted_exits(benchmark: BenchmarkFixture, place: float, preset: str) -> None:
    """At batch 1 and 32: all leave, half leave (a batch is then compacted), nobody leaves."""
    method, net, images = planted(place, preset)
    lines = []

    def take() -> None:
        for row, who in ((1, "all leave"), (0, "half leave"), (-1, "nobody leaves")):
            executor = ExitExecutor(net, row % len(net.thresholds)).eval()
            expected = predicted(method, net, images, row)
            for batch in (1, 32):
                taken = in_turns({EAGER: dense(), "own": executor}, images, batch)
                gained = ratio(taken[EAGER], taken["own"], expected)
                lines.append(f"{who}, batch {batch}: realised {gained} of {expected:.2f} times")
        lines.append(kernels_of(executor))

    benchmark.pedantic(take, rounds=1, iterations=1)
    say(f"\n{preset}, exit after {place:.0%} of the MACs, threads {torch.get_num_threads()}", lines)
