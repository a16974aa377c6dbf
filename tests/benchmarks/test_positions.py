"""What it gains on the clock to leave out positions: ResNet-18 with planted gates for patches of S x S, and
torchvision's ResNet-50.

Printed as ratios (`-s`), with the least and the largest of single rounds; no time is asserted. Maskers are paid on both
sides of `realised`, in the accounted MACs and on the clock; the lists of positions on the clock only.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import pytest
import torch
from dynbench_methods.laudnet.maskers import ChannelMasker, PlaceMasker
from dynbench_methods.laudnet.method import LaudNetMethod
from dynbench_methods.laudnet.net import LaudNet, Masker, masked_block, output_size
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from dynbench.backbones import build_backbone
from dynbench.cost import CostModel, dense_macs, evaluating, static_costs
from dynbench.executors import FoldedBackbone, kernels_of
from dynbench.kernels.cpu import operators as native
from dynbench.suite.schema import BackboneSpec
from tests.benchmarks.turns import CPU, in_turns, ratio, say
from tests.helpers.planted import estimate_statistics, smooth_images

pytestmark = pytest.mark.skipif(not native.available(), reason="the kernels are not available")

DENSITIES = (0.75, 0.5, 0.25)
PARADIGMS: dict[str, dict[str, Any]] = {
    "S=1": {"modes": ["spatial"], "granularity": [1]},
    "S=4": {"modes": ["spatial"], "granularity": [4]},
    "S=8": {"modes": ["spatial"], "granularity": [8]},
    "S=4 and channels": {"modes": ["both"], "granularity": [4]},
    "channels": {"modes": ["channel"]},
    "layers": {"modes": ["layer"]},
}


@dataclass(frozen=True)
class Planted:
    """Executors of one net, and dense MACs over accounted ones."""

    own: nn.Module
    eager: nn.Module
    same: nn.Module
    images: Tensor
    predicted: float
    share: float


@torch.no_grad()
def open_for(linear: nn.Linear, scores: Tensor, density: float) -> None:
    """The bias at which a share `density` of the scores (n, outputs), of all together, is above 0."""
    linear.bias -= scores.flatten().quantile(1 - density)


@torch.no_grad()
def plant(net: LaudNet, x: Tensor, density: float) -> None:
    """Random maskers, each open for a share `density` of what it decides about on images x (batch, channels, h, w)."""
    x = net.backbone.stem(x)
    for (_, block), masker in zip(net.backbone.named_blocks(), net.maskers, strict=True):
        assert isinstance(masker, Masker)
        size = output_size(block, x)
        for part in (masker.places, masker.channels):
            if part is None:
                continue
            seen: list[Tensor] = []
            nn.init.normal_(part.scores.weight, std=0.5)
            hook = part.scores.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
            part(x, size, None) if isinstance(part, PlaceMasker) else cast("ChannelMasker", part)(x, None)
            hook.remove()
            open_for(part.scores, seen[0], density)
        x = masked_block(block, x, masker(x, size, None))


@cache
def planted(spec: BackboneSpec, size: int, paradigm: str, density: float, count: int) -> Planted:
    torch.manual_seed(0)
    method = LaudNetMethod(LaudNetMethod.Config(**PARADIGMS[paradigm], distillation=0))
    net = cast("LaudNet", method.build(build_backbone(spec, (3, size, size), 10)))
    images = smooth_images(count, size)
    estimate_statistics(net, images[:16])
    plant(net, images[:16], density)
    with evaluating(net):
        outputs = [method.infer(net, image, method.points(net))[0] for image in images.split(1)]
        costs = CostModel(static_costs(net, (3, size, size)), CPU)
        macs = sum(int(costs(output.usage, 1).by_kind.sum()) for output in outputs) / count
        own = method.executor(net, method.points(net)[0]).eval()
        for image, output in zip(images.split(1), outputs, strict=True):
            torch.testing.assert_close(own(image), output.logits, rtol=1e-3, atol=1e-3)
    whole = dense_macs(net.backbone)
    eager, same = (FoldedBackbone(net.backbone, kernels=kernels).eval() for kernels in (False, True))
    return Planted(own, eager, same, images, whole / macs, macs / whole)


def realised(subject: Planted, name: str) -> None:
    calls = {"eager": subject.eager, "same": subject.same, "own": subject.own}
    taken = in_turns(calls, subject.images)
    lines = [
        f"realised {ratio(taken['eager'], taken['own'], subject.predicted)} of {subject.predicted:.2f} times",
        f"realised_same {ratio(taken['same'], taken['own'], subject.predicted)}",
        kernels_of(subject.own),
    ]
    say(f"\n{name}, {subject.share:.1%} of the dense MACs, threads {torch.get_num_threads()}", lines)


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_planted_positions(benchmark: BenchmarkFixture, paradigm: str, density: float) -> None:
    """Single images of ResNet-18 for CIFAR, against dense in eager PyTorch and on our own kernels."""
    subject = planted(BackboneSpec(name="resnet18"), 32, paradigm, density, 32)
    benchmark.pedantic(realised, args=(subject, f"{paradigm}, {density:.0%} open"), rounds=1, iterations=1)


@pytest.mark.parametrize("paradigm", ["S=4", "S=4 and channels", "channels", "layers"])
def test_planted_bottlenecks(benchmark: BenchmarkFixture, paradigm: str) -> None:
    """torchvision's ResNet-50 on images of 224 pixels, half of everything open."""
    subject = planted(BackboneSpec(name="resnet50"), 224, paradigm, 0.5, 8)
    benchmark.pedantic(realised, args=(subject, f"ResNet-50, {paradigm}, 50% open"), rounds=1, iterations=1)
