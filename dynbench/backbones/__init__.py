"""Backbones by name: the thin CIFAR ResNets of He et al. and the wide ones of the LC-Net paper."""

from dynbench.backbones.residual import Backbone, BasicBlock, BlockType, Bottleneck, ResidualBlock
from dynbench.errors import UserError
from dynbench.registry import did_you_mean
from dynbench.suite.schema import BackboneSpec

__all__ = ["BACKBONES", "Backbone", "ResidualBlock", "build_backbone", "stage_channels"]

Stages = tuple[tuple[int, int], ...]


def _thin(depth: int) -> tuple[BlockType, Stages, str]:
    """CIFAR ResNet-(6n+2), option-A shortcuts (He et al. 2015, section 4.2)."""
    blocks = (depth - 2) // 6
    return BasicBlock, ((16, blocks), (32, blocks), (64, blocks)), "A"


def _wide(block: BlockType, *depths: int) -> tuple[BlockType, Stages, str]:
    """ImageNet's stages behind a 3x3 stem, projection shortcuts: the CIFAR ResNet-18/34/50 of the LC-Net paper."""
    return block, tuple(zip((64, 128, 256, 512), depths, strict=True)), "B"


BACKBONES: dict[str, tuple[BlockType, Stages, str]] = {
    **{f"resnet{depth}": _thin(depth) for depth in (8, 20, 32, 44, 56, 110)},
    "resnet18": _wide(BasicBlock, 2, 2, 2, 2),
    "resnet34": _wide(BasicBlock, 3, 4, 6, 3),
    "resnet50": _wide(Bottleneck, 3, 4, 6, 3),
}


def stage_channels(spec: BackboneSpec) -> tuple[int, ...]:
    """Channels of each stage at the spec's width, rounded to whole ones; inside the blocks, for bottlenecks."""
    return tuple(round(channels * spec.width) for channels, _ in BACKBONES[spec.name][1])


def build_backbone(spec: BackboneSpec, input_shape: tuple[int, int, int], num_classes: int) -> Backbone:
    """A randomly initialised backbone for images of `input_shape` (channels, height, width).

    Raises UserError for an unknown name or a width that leaves a stage without channels.
    """
    if spec.name not in BACKBONES:
        raise UserError(f'unknown backbone "{spec.name}"; {did_you_mean(spec.name, BACKBONES)}')
    block, stages, option = BACKBONES[spec.name]
    scaled = tuple((channels, depth) for channels, (_, depth) in zip(stage_channels(spec), stages, strict=True))
    if scaled[0][0] < 1:
        raise UserError(f"width {spec.width} leaves {spec.name} without channels; 1/{stages[0][0]} is the least")
    return Backbone(block, scaled, input_shape, num_classes, spec.shortcut or option)
