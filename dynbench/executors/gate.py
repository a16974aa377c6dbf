"""Gates: linear layers on pooled features, and what their scores decide, as data that the native network reads too."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from dynbench.kernels.cpu import operators as native

Activation = Literal["identity", "relu", "clamp", "sigmoid"]
"""What becomes of a score; `clamp` limits it to [0, 1]."""
When = Literal["first", "beside", "cancelled"]
"""When a gate runs. first: before its block, so that only active channels are computed. beside: together with the
block's first convolution, which is computed whole, of skipped blocks too. cancelled: the same, but that convolution is
given up where the block is skipped."""


class PooledLinear(nn.Module):
    """Some linear layers side by side on the mean over pixels, whole, and a ReLU after them if asked for.

    `layers` names the model's layers that it stands for.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self, sources: Sequence[nn.Linear], layers: tuple[str, ...], kernels: bool = True, relu: bool = False
    ) -> None:
        super().__init__()
        self.layers, self.relu, self._kernels = layers, relu, kernels
        self.register_buffer("weight", torch.cat([source.weight.detach() for source in sources]))
        self.register_buffer("bias", torch.cat([_bias(source) for source in sources]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w), or (batch, channels) that is pooled already -> (batch, outputs of all)."""
        if self._kernels and len(x) == 1 and x.is_cpu and x.dtype == torch.float32 and native.available():
            return native.pooled_linear(x, self.weight, self.bias, self.relu)
        y = linear(x.mean((2, 3)) if x.ndim > 2 else x, self.weight, self.bias)  # noqa: PLR2004  (images)
        return y.relu_() if self.relu else y


def _bias(layer: nn.Linear) -> Tensor:
    return layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias.detach()


@dataclass(frozen=True)
class Decision:
    """What a gate's scores decide.

    A score lets its layer or channels run where it is larger than `above` after the activation and, if `top` is given,
    where it is among the image's `top` largest; of equals, the first. `scales`: what runs is multiplied by the
    activated score. The other scores run nothing.

    Raises ValueError for scales that may be negative, which a ReLU does not let through, and for `top` below 1.
    """

    activation: Activation
    above: float = -math.inf
    top: int | None = None
    scales: bool = False

    def __post_init__(self) -> None:
        if self.scales and self.activation == "identity" and self.above < 0:
            raise ValueError("scores that scale must not be negative: give an activation, or `above` of at least 0")
        if self.top is not None and self.top < 1:
            raise ValueError(f"top is {self.top}; at least one score has to be taken")

    def __call__(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (batch, n) -> which run, bool, and the activated scores; both (batch, n)."""
        values = self._activated(scores)
        runs = values > self.above
        if self.top is not None and self.top < scores.shape[1]:
            best = scores.argsort(dim=1, descending=True, stable=True)[:, : self.top]
            runs &= torch.zeros_like(runs).scatter_(1, best, True)
        return runs, values

    def of_one(self, score: float) -> float | None:
        """Return the same of one score, read already: activated, or None where it runs nothing."""
        if self.activation == "sigmoid":
            score = 1 / (1 + math.exp(-score)) if score > 0 else math.exp(score) / (1 + math.exp(score))
        elif self.activation != "identity":
            score = min(max(score, 0.0), 1.0 if self.activation == "clamp" else math.inf)
        return score if score > self.above else None

    def _activated(self, scores: Tensor) -> Tensor:
        if self.activation == "sigmoid":
            return scores.sigmoid()
        if self.activation == "identity":
            return scores
        return scores.clamp(0, 1 if self.activation == "clamp" else None)

    @property
    def rule(self) -> tuple[int, float, int, bool]:
        """As the native network takes it."""
        top = -1 if self.top is None else self.top
        return native.ACTIVATIONS.index(self.activation), self.above, top, self.scales


def active_channels(scores: Tensor, start: int, group: int, decision: Decision) -> tuple[Tensor, Tensor | None]:
    """Return which channels run for one image, and what they are scaled by.

    Of its scores (1, gates), those from `start` on are used, each of which is `group` channels'. Channels are int64;
    scales are (1, active) or None.
    """
    if scores.is_cpu and scores.dtype == torch.float32 and native.available():
        rule = decision.activation, decision.above, decision.top
        active, values = native.active(scores, start, group, *rule)
    else:
        runs, each = (one.repeat_interleave(group, 1) for one in decision(scores[:, start:]))
        active = runs[0].nonzero()[:, 0]
        values = each[:, active]
    return active, values if decision.scales else None


@dataclass(frozen=True)
class Switches:
    """What a gate decided on a batch.

    Whether the block's branch runs, bool (batch,), which channels do, bool (batch, channels), and what they are scaled
    by, (batch, 1) and (batch, channels). None: all run, and nothing is scaled.
    """

    layer: Tensor | None = None
    channels: Tensor | None = None
    layer_scale: Tensor | None = None
    channel_scale: Tensor | None = None

    def of(self, images: Tensor) -> "Switches":
        """Return those of some of the batch's images, by their indices."""
        parts = (self.layer, self.channels, self.layer_scale, self.channel_scale)
        return Switches(*(None if part is None else part[images] for part in parts))


class PooledGate(nn.Module):
    """A block's gate on the global average pooling of its input.

    One linear layer (`scores`), or two with a ReLU between them (`hidden` first). If `layer` is given, the first score
    decides about the whole branch; if `channels` is, each of the others decides about `group` output channels of the
    block's first convolution.

    Raises ValueError when it decides about nothing.
    """

    def __init__(
        self,
        scores: PooledLinear,
        *,
        layer: Decision | None = None,
        channels: Decision | None = None,
        hidden: PooledLinear | None = None,
        group: int = 1,
        when: When = "first",
    ) -> None:
        super().__init__()
        if layer is None and channels is None:
            raise ValueError("a gate decides about the layer, about channels, or about both")
        if hidden is not None:
            hidden.relu = True
        self.scores, self.hidden = scores, hidden
        self.layer, self.channels, self.group = layer, channels, group
        self.when: When = when

    @property
    def start(self) -> int:
        """The number of the first score that is a channel's."""
        return int(self.layer is not None)

    def forward(self, x: Tensor) -> Tensor:
        """Features (batch, in_channels, h, w) -> scores (batch, gates) before any activation."""
        return cast("Tensor", self.scores(x if self.hidden is None else self.hidden(x)))

    def switches(self, x: Tensor) -> Switches:
        """Return what it decides about a block with input x (batch, in_channels, h, w)."""
        scores, layer, channels = self(x), None, None
        layer_scale, channel_scale = None, None
        if self.layer is not None:
            runs, values = self.layer(scores[:, :1])
            layer, layer_scale = runs[:, 0], values if self.layer.scales else None
        if self.channels is not None:
            some, each = self.channels(scores[:, self.start :])
            channels = some.repeat_interleave(self.group, 1)
            channel_scale = each.repeat_interleave(self.group, 1) if self.channels.scales else None
        return Switches(layer, channels, layer_scale, channel_scale)
