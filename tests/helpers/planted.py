"""Models as if trained, whose gates open as often as asked: what executors gain can be measured at any density."""

from collections.abc import Iterator
from typing import cast

import torch
from dynbench_methods.lc_net.gates import GatedBackbone, gated_block
from torch import Tensor, nn
from torch.nn.functional import interpolate


def smooth_images(count: int, size: int = 32, seed: int = 1) -> Tensor:
    """Random images (count, 3, size, size) of a few large blots: unlike noise, they still differ once pooled, and in
    many directions, so that each gate finds its own half of them."""
    blots = torch.randn(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return 2 * interpolate(blots, size, mode="bilinear", align_corners=False)


@torch.no_grad()
def estimate_statistics(model: nn.Module, x: Tensor) -> None:
    """Running statistics become those of the images `x` (batch, channels, h, w): activations stay as large as after
    training, whatever the weights."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    model.train()(x)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    model.eval()


@torch.no_grad()
def plant(model: GatedBackbone, x: Tensor, density: float) -> None:
    """Random gates, each open for a share `density` of the images `x` (batch, channels, h, w) and each for others;
    scores have a standard deviation of at most 1. A gate opens for whole images only: which numbers are rounded up and
    which down keeps the mean over gates at `density`."""
    planted = 0
    x = model.backbone.stem(x)
    for (_, block), gate in zip(model.backbone.named_blocks(), model.gates, strict=True):
        for linear in cast("Iterator[nn.Linear]", gate.children()):
            nn.init.normal_(linear.weight, std=0.5)
            linear.bias.zero_()
            # Steeper gates than trained ones would blow up the rounding of whatever comes before them.
            linear.weight /= linear(x.mean((2, 3))).std(0).clamp(min=1)[:, None]
            edges = torch.arange(planted, planted + linear.out_features + 1) * (density * len(x))
            linear.bias.copy_(-_thresholds(linear(x.mean((2, 3))), edges.round().long().diff()))
            planted += linear.out_features
        x = gated_block(block, x, gate(x))


def _thresholds(scores: Tensor, open_images: Tensor) -> Tensor:
    """Of scores (batch, gates): the values (gates,) which `open_images` (gates,) of the batch exceed, midway between
    two images, so that rounding moves none across. Each gate is open for one image at least and closed for one."""
    ordered = scores.sort(dim=0, descending=True).values
    last = open_images.clamp(1, len(scores) - 1)[None]
    return (ordered.gather(0, last - 1) + ordered.gather(0, last))[0] / 2
