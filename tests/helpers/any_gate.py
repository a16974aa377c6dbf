"""A third-party dynamic method: gates of every kind that `PooledGate` describes, none of them LC-Net's. What is masked
in `infer` is plain PyTorch, written without the parts that the executor is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from dynbench.method import (
    Backbone,
    Decision,
    FoldedBackbone,
    GatedExecutor,
    LayerUsage,
    Method,
    Output,
    Point,
    PooledGate,
    PooledLinear,
    ResidualBlock,
    When,
)


@dataclass(frozen=True)
class Kind:
    """What the scores of a gate decide, in its own words."""

    layer: bool = False
    channels: bool = False
    sigmoid: bool = False
    """Else scores are taken as they are; above a half or above zero runs."""
    share: float | None = None
    """Only this share of the channels runs, those with the largest scores."""
    soft: bool = False
    """What runs is multiplied by its score, not negative."""
    hidden: int | None = None
    """Neurons between two linear layers."""
    group: int = 1

    @property
    def decision(self) -> tuple[Decision | None, Decision | None]:
        """For layer and channels."""
        threshold = 0.5 if self.sigmoid else 0.0
        activation = "sigmoid" if self.sigmoid else "relu" if self.soft else "identity"
        hard = Decision(activation, above=threshold, scales=self.soft)
        return hard if self.layer else None, hard if self.channels else None


KINDS = {
    "layers, hard": Kind(layer=True),
    "layers, sigmoid, two layers": Kind(layer=True, sigmoid=True, soft=True, hidden=5),
    "channels, hard": Kind(channels=True),
    "channels, sigmoid": Kind(channels=True, sigmoid=True, soft=True),
    "channels, largest half": Kind(channels=True, share=0.5, soft=True),
    "channels in groups, largest quarter, two layers": Kind(channels=True, share=0.25, hidden=6, group=2),
    "both, sigmoid, two layers": Kind(layer=True, channels=True, sigmoid=True, soft=True, hidden=7),
}


class FreeGate(nn.Module):
    """Scores of one block: (batch, in_channels, h, w) -> (batch, gates), the layer's first."""

    def __init__(self, block: ResidualBlock, kind: Kind) -> None:
        super().__init__()
        outputs = int(kind.layer) + (block.mid_channels // kind.group if kind.channels else 0)
        self.hidden = None if kind.hidden is None else nn.Linear(block.in_channels, kind.hidden)
        self.scores = nn.Linear(kind.hidden or block.in_channels, outputs, bias=kind.hidden is None)

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean((2, 3))
        return cast("Tensor", self.scores(pooled if self.hidden is None else self.hidden(pooled).relu()))


class FreelyGated(nn.Module):
    """A backbone with a gate of one kind at each block."""

    def __init__(self, backbone: Backbone, kind: Kind) -> None:
        super().__init__()
        self.backbone, self.kind = backbone, kind
        self.gates = nn.ModuleList(FreeGate(block, kind) for _, block in backbone.named_blocks())

    def run(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Images -> logits and, of each block, which branches run (batch,) and which channels (batch, mid), as 0 and
        1."""
        x, layers, channels = self.backbone.stem(x), [], []
        for (_, block), gate in zip(self.backbone.named_blocks(), self.gates, strict=True):
            x, layer, channel = self._gated(block, gate(x), x)
            layers.append(layer)
            channels.append(channel)
        return self.backbone.head(x), layers, channels

    def _gated(self, block: ResidualBlock, scores: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The block's output, whether its branch ran (batch,) and which channels did (batch, mid)."""
        kind, start = self.kind, int(self.kind.layer)
        layer, layer_value = self._masked(scores[:, :1] if kind.layer else None, len(x), 1)
        channel, value = self._masked(scores[:, start:] if kind.channels else None, len(x), block.mid_channels)
        hidden = block.first(x) * value[:, :, None, None]
        return block.join(block.rest(hidden) * layer_value[:, :, None, None], x), layer[:, 0], channel

    def _masked(self, scores: Tensor | None, batch: int, width: int) -> tuple[Tensor, Tensor]:
        """What runs, as 0 and 1, and what it is multiplied by; both (batch, width)."""
        if scores is None:
            return (ones := torch.ones(batch, width)), ones
        values = 1 / (1 + torch.exp(-scores)) if self.kind.sigmoid else scores
        mask = (values > (0.5 if self.kind.sigmoid else 0.0)).to(scores.dtype)
        if self.kind.share is not None:
            count = max(1, int(self.kind.share * scores.shape[1]))
            least = scores.topk(count, dim=1).values[:, -1:]
            mask = mask * (scores >= least)
        values = mask * values if self.kind.soft else mask
        return mask.repeat_interleave(self.kind.group, 1), values.repeat_interleave(self.kind.group, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]

    @torch.no_grad()
    def stir(self, x: Tensor) -> None:
        """Random gates that open for about half of the images `x`, each for others."""
        x = self.backbone.stem(x)
        for (_, block), gate in zip(self.backbone.named_blocks(), self.gates, strict=True):
            first = gate.scores if gate.hidden is None else gate.hidden
            nn.init.normal_(first.weight, std=1.0)
            seen = first(x.mean((2, 3)))
            spread = 3 * seen.std(0)  # scores of a third: scales of several blow features up, and rounding with them
            first.weight /= spread[:, None]
            first.bias.copy_(-(seen - first.bias).mean(0) / spread)
            if gate.hidden is not None:
                nn.init.normal_(gate.scores.weight, std=1.0)
            x, _, _ = self._gated(block, gate(x), x)


class AnyGate(Method):
    """Gates of a kind that is chosen by whoever makes it; operating points are the times at which gates run."""

    name = "any_gate"
    kind = Kind()

    def build(self, backbone: Backbone) -> nn.Module:
        return FreelyGated(backbone, self.kind)

    def points(self, model: nn.Module) -> Sequence[Point]:
        return [Point("first"), Point("beside"), Point("cancelled")]

    def infer(self, model: nn.Module, x: Tensor, points: Sequence[Point]) -> Sequence[Output]:
        net = cast("FreelyGated", model)
        logits, layers, channels = net.run(x)
        return [Output(logits, _usage(net, layers, channels, point.name)) for point in points]

    def executor(self, model: nn.Module, point: Point) -> nn.Module:
        net = cast("FreelyGated", model)
        gates = [
            folded(gate, net.kind, f"gates.{index}", cast("When", point.name)) for index, gate in enumerate(net.gates)
        ]
        return GatedExecutor(FoldedBackbone(net.backbone, "backbone"), gates)


def folded(gate: nn.Module, kind: Kind, name: str, when: When) -> PooledGate:
    """The gate as data for an executor."""
    assert isinstance(gate, FreeGate)
    scores = PooledLinear([gate.scores], (f"{name}.scores",))
    hidden = None if gate.hidden is None else PooledLinear([gate.hidden], (f"{name}.hidden",))
    layer, channels = kind.decision
    if channels is not None and kind.share is not None:
        count = max(1, int(kind.share * (gate.scores.out_features - int(kind.layer))))
        channels = Decision(channels.activation, channels.above, count, channels.scales)
    return PooledGate(scores, layer=layer, channels=channels, hidden=hidden, group=kind.group, when=when)


def _usage(net: FreelyGated, layers: list[Tensor], channels: list[Tensor], when: str) -> dict[str, LayerUsage]:
    usage = {}
    for (name, block), layer, channel in zip(net.backbone.named_blocks(), layers, channels, strict=True):
        runs, active = layer.bool(), channel.bool()
        first, reader, *others = (f"backbone.{name}.{conv}" for conv in block.branch_convs())
        whole = {"beside": LayerUsage(), "cancelled": LayerUsage(positions=runs)}
        usage[first] = whole.get(when, LayerUsage(outputs=active, positions=runs))
        usage[reader] = LayerUsage(inputs=active, positions=runs)
        usage.update({other: LayerUsage(positions=runs) for other in others})
    return usage
