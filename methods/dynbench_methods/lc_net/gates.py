"""Salience gates of LC-Net (Xia et al., arXiv 2007.15151): what L-Net, C-Net and LC-Net share."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from dynbench.method import Backbone, ResidualBlock


def relu1(x: Tensor) -> Tensor:
    """ReLU-1, equation 5: x limited to [0, 1]. Evaluation uses this one."""
    return x.clamp(0, 1)


def leaky_relu1(x: Tensor, leak: float) -> Tensor:
    """Leaky ReLU-1, section 3.3.1: slope 1 within [0, 1] and `leak` outside. Training uses this one."""
    return leaky_relu(x, leak) - (1 - leak) * (x - 1).relu()


@dataclass(frozen=True)
class Salience:
    """Scores of one block on a batch: `layer` (batch,) is S_L, `channel` (batch, mid_channels) is S_C."""

    layer: Tensor | None
    channel: Tensor | None

    def of(self, images: Tensor) -> "Salience":
        """Return the scores of some of the batch's images, by their indices."""
        layer = None if self.layer is None else self.layer[images]
        return Salience(layer, None if self.channel is None else self.channel[images])


class Gate(nn.Module):
    """The gate of one block, equations 3 and 4; both gates share one global average pooling (section 3.3).

    `group` neighbouring channels share one score (the paper: 1). It leaves the initialisation open: gates start open
    (bias 1, small weights). Blocks without a shortcut, which the paper does not have, get no layer gate.
    """

    def __init__(self, block: ResidualBlock, layer: bool, channel: bool, leak: float, group: int = 1) -> None:
        super().__init__()
        self.leak, self.group = leak, group
        self.layer = _fully_connected(block.in_channels, 1) if layer and block.skippable else None
        self.channel = _fully_connected(block.in_channels, block.mid_channels // group) if channel else None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to decide: the block runs whole."""
        return self.layer is None and self.channel is None

    def forward(self, x: Tensor) -> Salience:
        """Salience of the block's input (batch, in_channels, h, w)."""
        if self.empty:
            return Salience(None, None)
        pooled = x.mean((2, 3))
        layer = self._activate(self.layer(pooled)[:, 0]) if self.layer is not None else None
        channel = self._activate(self.channel(pooled)) if self.channel is not None else None
        return Salience(layer, channel if channel is None else channel.repeat_interleave(self.group, 1))

    def _activate(self, score: Tensor) -> Tensor:
        return leaky_relu1(score, self.leak) if self.training else relu1(score)


def _fully_connected(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.ones_(linear.bias)
    return linear


class GatedBackbone(nn.Module):
    """A backbone with a gate at every block.

    `relu(F(x) * S_L + shortcut(x))` (equation 2), where S_C scales the output of F's first convolution after its BN and
    ReLU, so that a channel at zero can be removed. Of an inverted residual block, which the paper does not have, it
    scales the depthwise convolution's output, for the same reason.
    """

    def __init__(self, backbone: Backbone, layer: bool, channel: bool, leak: float, group: int = 1) -> None:
        super().__init__()
        self.backbone = backbone
        self.gates = nn.ModuleList(Gate(block, layer, channel, leak, group) for _, block in backbone.named_blocks())

    def run(self, x: Tensor) -> tuple[Tensor, list[Salience]]:
        """Map images (batch, channels, height, width) -> logits (batch, classes) and every block's salience."""
        x = self.backbone.stem(x)
        saliences = []
        for (_, block), gate in zip(self.backbone.named_blocks(), self.gates, strict=True):
            salience = gate(x)
            x = gated_block(block, x, salience)
            saliences.append(salience)
        return self.backbone.head(x), saliences

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]


def gated_block(block: ResidualBlock, x: Tensor, salience: Salience) -> Tensor:
    """Return `relu(F(x) * S_L + shortcut(x))` with everything computed: (batch, in, h, w) -> (batch, out, h', w')."""
    hidden = block.first(x)
    if salience.channel is not None:
        hidden = hidden * salience.channel[:, :, None, None]
    residual = block.rest(hidden)
    if salience.layer is not None:
        residual = residual * salience.layer[:, None, None, None]
    return block.join(residual, x)


def mean_absolute(scores: Sequence[Tensor | None]) -> Tensor:
    """Return mean over blocks of mean |S|.

    The L1 term of section 4.3, scaled so that a weight means the same at every depth and width. Zero when there are no
    such gates.
    """
    present = [score.float().abs().mean() for score in scores if score is not None]
    return torch.stack(present).mean() if present else torch.zeros(())
