"""Backbones by name.

The thin CIFAR ResNets of He et al., the wide ones of the LC-Net paper, and torchvision's ResNets and MobileNetV2.

`resnet18`, `resnet34`, `resnet50` and `resnet101` are torchvision's on large images, and have a 3x3 stem on small ones;
a spec's `stem` says which, whatever the image.
"""

from dynbench.backbones.architecture import Architecture, MobileNetArchitecture, ResNetArchitecture
from dynbench.backbones.backbone import Backbone, ResidualBlock
from dynbench.backbones.residual import BasicBlock, BlockType, Bottleneck, TorchvisionBasicBlock, TorchvisionBottleneck
from dynbench.errors import UserError, did_you_mean
from dynbench.suite.schema import BackboneSpec

__all__ = ["BACKBONES", "Backbone", "ResidualBlock", "build_backbone", "check_backbone", "stage_channels"]


def _thin(depth: int) -> Architecture:
    """CIFAR ResNet-(6n+2), option-A shortcuts (He et al. 2015, section 4.2)."""
    blocks = (depth - 2) // 6
    return ResNetArchitecture(BasicBlock, ((16, blocks), (32, blocks), (64, blocks)), "A")


def _wide(block: BlockType, large: BlockType, *depths: int) -> Architecture:
    """ImageNet's stages, projection shortcuts: torchvision's, and the CIFAR ResNet-18/34/50 of the LC-Net paper."""
    return ResNetArchitecture(block, tuple(zip((64, 128, 256, 512), depths, strict=True)), "B", large)


BACKBONES: dict[str, Architecture] = {
    **{f"resnet{depth}": _thin(depth) for depth in (8, 20, 32, 44, 56, 110)},
    "resnet18": _wide(BasicBlock, TorchvisionBasicBlock, 2, 2, 2, 2),
    "resnet34": _wide(BasicBlock, TorchvisionBasicBlock, 3, 4, 6, 3),
    "resnet50": _wide(Bottleneck, TorchvisionBottleneck, 3, 4, 6, 3),
    "resnet101": _wide(Bottleneck, TorchvisionBottleneck, 3, 4, 23, 3),
    "mobilenet_v2": MobileNetArchitecture(),
}


def stage_channels(spec: BackboneSpec) -> tuple[int, ...]:
    """Return every channel count that the spec's width scales, rounded to whole ones.

    Of each stage, inside the blocks for bottlenecks; of MobileNetV2's blocks outside, and of stem and last convolution.
    """
    return BACKBONES[spec.name].channels(spec.width)


def check_backbone(spec: BackboneSpec) -> None:
    """Refuse what cannot be built.

    Raises UserError for an unknown name, a width that leaves a stage without channels, and a stem or shortcut that the
    backbone does not have.
    """
    if spec.name not in BACKBONES:
        raise UserError(f'unknown backbone "{spec.name}"; {did_you_mean(spec.name, BACKBONES)}')
    architecture = BACKBONES[spec.name]
    least = min(architecture.channels(1.0))
    if min(architecture.channels(spec.width)) < 1:
        raise UserError(f"width {spec.width} leaves {spec.name} without channels; 1/{least} is the least")
    refusal = architecture.refuses(spec)
    if refusal is not None:
        others = [name for name, other in BACKBONES.items() if other.refuses(spec) is None]
        instead = f"; take {' or '.join((', '.join(others[:-1]), others[-1]))}" if others[1:] else ""
        raise UserError(f"{spec.name} {refusal}{instead}")


def build_backbone(spec: BackboneSpec, input_shape: tuple[int, int, int], num_classes: int) -> Backbone:
    """Return a randomly initialised backbone for images of `input_shape` (channels, height, width).

    Raises UserError as `check_backbone` does.
    """
    check_backbone(spec)
    return BACKBONES[spec.name].build(spec, input_shape, num_classes)
