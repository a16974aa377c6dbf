"""Dense-narrow: the width at which the dense backbone costs so many MACs."""

from bisect import bisect_left
from collections import defaultdict

from dynbench.backbones import build_backbone, stage_channels
from dynbench.cost import dense_macs
from dynbench.suite.schema import BackboneSpec

STEP = 1000
"""Widths are whole multiples of 1 / STEP."""
WIDEST = 2


def width_near(backbone: BackboneSpec, macs: float, shape: tuple[int, int, int], classes: int) -> float:
    """The factor of `backbone`'s width at which it comes nearest to `macs` an image of `shape`, and costs less rather
    than more of two as near.

    Channels are whole, so a range of widths is one net: its shortest decimal number is taken, in the middle of the
    range where there are several.
    """
    widths: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for step in range(1, WIDEST * STEP + 1):
        widths[stage_channels(_scaled(backbone, step))].append(step)
    nets = sorted(channels for channels in widths if min(channels) > 0)  # each at least as wide in every stage

    def cost(channels: tuple[int, ...]) -> int:
        return dense_macs(build_backbone(_scaled(backbone, widths[channels][0]), shape, classes))

    after = min(bisect_left(nets, macs, key=cost), len(nets) - 1)
    best = min(nets[max(0, after - 1) : after + 1], key=lambda net: abs(cost(net) - macs))
    return _shortest(widths[best]) / STEP


def _scaled(backbone: BackboneSpec, step: int) -> BackboneSpec:
    return backbone.model_copy(update={"width": backbone.width * (step / STEP)})


def _shortest(steps: list[int]) -> int:
    """Of whole numbers in a row, the one with the most zeros at its end, nearest to their middle."""
    middle = (steps[0] + steps[-1]) / 2
    roundest = next(found for zeros in (1000, 100, 10, 1) if (found := [step for step in steps if step % zeros == 0]))
    return min(roundest, key=lambda step: abs(step - middle))
