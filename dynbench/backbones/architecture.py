"""What a backbone's name stands for: how a spec becomes a net."""

from dataclasses import dataclass
from typing import Protocol

from dynbench.backbones.backbone import Backbone
from dynbench.backbones.mobilenet import LAST, ROWS, STEM, MobileNetV2
from dynbench.backbones.residual import BlockType, ImageNetResNet, ResNet
from dynbench.suite.schema import BackboneSpec

Shape = tuple[int, int, int]
LARGE = 64
"""Images of at least this many rows get the stem of ImageNet, where the spec does not say."""


class Architecture(Protocol):
    """A family of backbones: its widths, what it refuses, and how it is built."""

    def channels(self, width: float) -> tuple[int, ...]:
        """Return every channel count that a width scales."""

    def refuses(self, spec: BackboneSpec) -> str | None:
        """Return what the spec asks for and cannot have, after the net's name; or None."""

    def build(self, spec: BackboneSpec, shape: Shape, classes: int) -> Backbone:
        """Return the net for images of `shape` (channels, height, width)."""


@dataclass(frozen=True)
class ResNetArchitecture:
    """`stages`: (channels, blocks) of each.

    `option`: the shortcuts where the spec does not say. `large`: the block of torchvision's net for large images, if
    there is one.
    """

    block: BlockType
    stages: tuple[tuple[int, int], ...]
    option: str
    large: BlockType | None = None

    def channels(self, width: float) -> tuple[int, ...]:
        return tuple(round(channels * width) for channels, _ in self.stages)

    def refuses(self, spec: BackboneSpec) -> str | None:
        return "has no ImageNet stem" if self._wants_large(spec) else None

    def _wants_large(self, spec: BackboneSpec) -> bool:
        return spec.stem == "imagenet" and self.large is None

    def build(self, spec: BackboneSpec, shape: Shape, classes: int) -> Backbone:
        depths = (depth for _, depth in self.stages)
        stages = tuple(zip(self.channels(spec.width), depths, strict=True))
        option = spec.shortcut or self.option
        stem = spec.stem or ("imagenet" if shape[1] >= LARGE else "cifar")
        if self.large is not None and stem == "imagenet":
            return ImageNetResNet(self.large, stages, shape, classes, option)
        return ResNet(self.block, stages, shape, classes, option)


class MobileNetArchitecture:
    """torchvision's MobileNetV2, whatever the image."""

    def channels(self, width: float) -> tuple[int, ...]:
        return tuple(round(count * width) for count in (STEM, *(row[1] for row in ROWS), LAST))

    def refuses(self, spec: BackboneSpec) -> str | None:
        if spec.shortcut is not None:
            return "has no shortcut options: its blocks change no shape, or have no shortcut"
        return "has no CIFAR stem" if spec.stem == "cifar" else None

    def build(self, spec: BackboneSpec, shape: Shape, classes: int) -> Backbone:
        return MobileNetV2(self.channels(spec.width), shape, classes)
