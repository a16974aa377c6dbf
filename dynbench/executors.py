"""Parts for executors of residual backbones: BN folded into convolutions, channels and blocks really left out.

Everything is plain PyTorch: correct on every device, but weights are gathered at every call, which costs time.
A part carries the name of the model's layer that it stands for in `layer`, so that the audit can say which layer
ran something else than was accounted.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, conv2d, linear, relu

from dynbench.backbones.residual import Backbone, ResidualBlock


class FoldedConv(nn.Module):
    """A convolution with the batch normalisation after it, as they are in evaluation; any part of its channels."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, layer: str) -> None:
        super().__init__()
        if isinstance(conv.padding, str) or conv.padding_mode != "zeros":
            raise ValueError(f"{layer}: only zero padding of a given size can be folded, got {conv.padding}")
        self.layer = layer
        self.stride, self.padding, self.dilation, self.groups = conv.stride, conv.padding, conv.dilation, conv.groups
        scale, shift = _affine(norm)
        weight = conv.weight.detach().double() * scale[:, None, None, None]
        bias = shift if conv.bias is None else shift + conv.bias.detach().double() * scale
        self.register_buffer("weight", weight.to(conv.weight.dtype))
        self.register_buffer("bias", bias.to(conv.weight.dtype))

    def forward(self, x: Tensor, outputs: Tensor | None = None, inputs: Tensor | None = None) -> Tensor:
        """(batch, active inputs, h, w) -> (batch, active outputs, h', w'); `outputs` and `inputs` are the indices of
        active channels, None for all. Weights of other channels are not read."""
        if self.groups > 1 and (outputs is not None or inputs is not None):
            raise ValueError(f"{self.layer}: channels of a grouped convolution cannot be left out one by one")
        weight = self.weight if outputs is None else self.weight[outputs]
        bias = self.bias if outputs is None else self.bias[outputs]
        weight = weight if inputs is None else weight[:, inputs]
        if 0 in weight.shape[:2]:
            return bias[:, None, None].expand(len(x), -1, *self._size(x))
        return conv2d(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def _size(self, x: Tensor) -> tuple[int, int]:
        """Height and width of the output; nothing needs to be computed to know them."""
        height, width = (
            (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, padding, dilation, kernel, stride in zip(
                x.shape[2:], self.padding, self.dilation, self.weight.shape[2:], self.stride, strict=True
            )
        )
        return height, width


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift (channels,) of a normalisation in evaluation, in float64."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("a batch normalisation without running statistics cannot be folded")
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.detach().double() if norm.affine else shift


class NamedLinear(nn.Module):
    """A fully connected layer, whole."""

    weight: Tensor
    bias: Tensor

    def __init__(self, source: nn.Linear, layer: str) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("weight", source.weight.detach().clone())
        self.register_buffer("bias", source.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) -> (batch, outputs)."""
        return linear(x, self.weight, self.bias)


class FoldedBlock(nn.Module):
    """A residual block in parts. `name` is the block's in the model, e.g. `backbone.layer1.0`."""

    def __init__(self, block: ResidualBlock, name: str) -> None:
        super().__init__()
        self.in_channels, self.mid_channels = block.in_channels, block.mid_channels
        first, *rest = block.branch_convs()
        self.first = _fold(block, first, name)
        self.rest = nn.ModuleList(_fold(block, conv, name) for conv in rest)
        self.shortcut = _fold_shortcut(block.shortcut, f"{name}.shortcut")

    def branch_rest(self, hidden: Tensor, inputs: Tensor | None = None) -> Tensor:
        """What follows the first convolution: (batch, active mid, h', w') -> (batch, out, h'', w'')."""
        second, *others = self.rest
        hidden = second(hidden, None, inputs)
        for conv in others:
            hidden = conv(relu(hidden))
        return hidden

    def forward(self, x: Tensor) -> Tensor:
        """The whole block: (batch, in, h, w) -> (batch, out, h'', w'')."""
        return relu(self.branch_rest(relu(self.first(x))) + self.shortcut(x))


def _fold(block: ResidualBlock, conv: str, name: str) -> FoldedConv:
    """`conv2` of a block with its `bn2`."""
    norm = block.get_submodule(conv.replace("conv", "bn"))
    source = block.get_submodule(conv)
    assert isinstance(source, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return FoldedConv(source, norm, f"{name}.{conv}")


def _fold_shortcut(shortcut: nn.Sequential, name: str) -> nn.Module:
    parts = list(shortcut)
    if len(parts) == 2 and isinstance(parts[0], nn.Conv2d) and isinstance(parts[1], nn.BatchNorm2d):  # noqa: PLR2004
        return FoldedConv(parts[0], parts[1], f"{name}.0")
    return shortcut


class FoldedBackbone(nn.Module):
    """A whole backbone, nothing left out; `prefix` is its name in the model. Methods go through its parts."""

    def __init__(self, backbone: Backbone, prefix: str = "") -> None:
        super().__init__()
        dot = f"{prefix}." if prefix else ""
        self.stem_conv = FoldedConv(backbone.conv1, backbone.bn1, f"{dot}conv1")
        self.blocks = nn.ModuleList(FoldedBlock(block, f"{dot}{name}") for name, block in backbone.named_blocks())
        self.classifier = NamedLinear(backbone.linear, f"{dot}linear")

    def stem(self, x: Tensor) -> Tensor:
        """Images (batch, channels, h, w) -> features of the first block."""
        return relu(self.stem_conv(x))

    def head(self, x: Tensor) -> Tensor:
        """Features of the last block -> logits (batch, classes)."""
        logits: Tensor = self.classifier(torch.flatten(adaptive_avg_pool2d(x, 1), 1))
        return logits

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)
