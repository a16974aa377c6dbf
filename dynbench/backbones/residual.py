"""Residual nets of He et al. (2015): those for CIFAR, and torchvision's for ImageNet.

A block computes `relu(branch(x) + shortcut(x))`; the first convolution is the one that a channel gate switches.
Parameter names are those of the public CIFAR ResNets (`conv1`, `layer1.0.bn2`, `shortcut`, `linear`) and of
torchvision's (`downsample`, `fc`), so their weights load.
"""

from typing import ClassVar, Protocol

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from dynbench.backbones.backbone import Backbone, ResidualBlock

__all__ = ["Backbone", "BasicBlock", "Bottleneck", "ImageNetResNet", "ResNet", "ResidualBlock", "SubsampleAndPad"]


class SubsampleAndPad(nn.Module):
    """Option-A shortcut (He et al. 2015, section 4.2): every `stride`-th pixel, new channels zero; no MACs."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        before = (out_channels - in_channels) // 2
        self.padding = (0, 0, 0, 0, before, out_channels - in_channels - before)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in_channels, h, w) -> (batch, out_channels, ceil(h / stride), ceil(w / stride))."""
        return pad(x[:, :, :: self.stride, :: self.stride], self.padding)


def projection(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Option-B shortcut (He et al. 2015, section 4.2): 1x1 convolution and BN."""
    conv = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def make_shortcut(option: str, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """Return the shortcut of a block: empty where the shape does not change."""
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    if option == "A":
        return nn.Sequential(SubsampleAndPad(in_channels, out_channels, stride))
    return projection(in_channels, out_channels, stride)


class ResNetBlock(ResidualBlock):
    """The base of basic and bottleneck blocks. Attributes: `conv1`, `bn1`, the branch's first layer."""

    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d

    def branch_convs(self) -> tuple[str, ...]:
        return tuple(name for name, child in self.named_children() if isinstance(child, nn.Conv2d))

    def first(self, x: Tensor) -> Tensor:
        """First convolution, BN and ReLU: (batch, in, h, w) -> (batch, mid, h', w')."""
        return relu(self.bn1(self.conv1(x)), inplace=True)

    def _set_shortcut(self, option: str, in_channels: int, out_channels: int, stride: int) -> None:
        setattr(self, self.shortcut_name, make_shortcut(option, in_channels, out_channels, stride))
        self.out_channels = out_channels


class BasicBlock(ResNetBlock):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_channels: int, planes: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self._set_shortcut(option, in_channels, planes, stride)

    def rest(self, h: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv2(h))
        return out


class Bottleneck(ResNetBlock):
    """1x1, 3x3 (strided) and 1x1 convolutions; four times as wide outside as inside."""

    expansion = 4

    def __init__(self, in_channels: int, planes: int, stride: int, option: str) -> None:
        super().__init__()
        out_channels = self.expansion * planes
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self._set_shortcut(option, in_channels, out_channels, stride)

    def rest(self, h: Tensor) -> Tensor:
        out: Tensor = self.bn3(self.conv3(relu(self.bn2(self.conv2(h)), inplace=True)))
        return out


class TorchvisionBasicBlock(BasicBlock):
    """With torchvision's names."""

    shortcut_name = "downsample"


class TorchvisionBottleneck(Bottleneck):
    """With torchvision's names; the stride is in the 3x3 convolution in both."""

    shortcut_name = "downsample"


class BlockType(Protocol):
    """A constructor of residual blocks."""

    expansion: int

    def __call__(self, in_channels: int, planes: int, stride: int, option: str) -> ResidualBlock: ...


class ResNet(Backbone):
    """The net for small images: a 3x3 stem, and all stages but the first halve the image.

    `stages` gives (channels, blocks) of each stage: `layer1`, `layer2`, ...
    """

    stem_conv = "conv1"
    linear_name = "linear"
    conv1: nn.Conv2d
    bn1: nn.BatchNorm2d

    def __init__(
        self,
        block: BlockType,
        stages: tuple[tuple[int, int], ...],
        input_shape: tuple[int, int, int],
        num_classes: int,
        option: str,
    ) -> None:
        super().__init__(input_shape, num_classes)
        channels = stages[0][0]
        self._add_stem(input_shape[0], channels)
        for index, (planes, depth) in enumerate(stages):
            layers = []
            for position in range(depth):
                stride = 2 if index > 0 and position == 0 else 1
                layers.append(block(channels, planes, stride, option))
                channels = planes * block.expansion
            self.add_module(f"layer{index + 1}", nn.Sequential(*layers))
        self._depth = len(stages)
        setattr(self, self.linear_name, nn.Linear(channels, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _add_stem(self, inputs: int, channels: int) -> None:
        self.conv1 = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def stem(self, x: Tensor) -> Tensor:
        return relu(self.bn1(self.conv1(x)), inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (batch, channels, height, width) -> logits (batch, num_classes)."""
        x = self.stem(x)
        for index in range(self._depth):
            x = self.get_submodule(f"layer{index + 1}")(x)
        return self.head(x)


class ImageNetResNet(ResNet):
    """torchvision's net for large images: a 7x7 stem of stride 2 and a 3x3 max pooling of stride 2."""

    linear_name: ClassVar[str] = "fc"
    maxpool: nn.MaxPool2d

    @property
    def pool(self) -> nn.MaxPool2d:
        return self.maxpool

    def _add_stem(self, inputs: int, channels: int) -> None:
        self.conv1 = nn.Conv2d(inputs, channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)

    def stem(self, x: Tensor) -> Tensor:
        out: Tensor = self.maxpool(super().stem(x))
        return out
