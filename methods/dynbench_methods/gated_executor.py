"""The executor of L-Net, C-Net and LC-Net: skipped blocks and channels are neither computed nor read."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from dynbench.executors import FoldedBackbone, FoldedBlock, NamedLinear
from dynbench_methods.gates import Gate, GatedBackbone, Salience, relu1


class GateExecutor(nn.Module):
    """A block's control net: one pooling for both gates."""

    def __init__(self, gate: Gate, name: str) -> None:
        super().__init__()
        self.layer_gate = None if gate.layer is None else NamedLinear(gate.layer, f"{name}.layer")
        self.channel_gate = None if gate.channel is None else NamedLinear(gate.channel, f"{name}.channel")

    def forward(self, x: Tensor) -> Salience:
        """Salience of features (batch, in_channels, h, w)."""
        pooled = x.mean((2, 3))
        layer = None if self.layer_gate is None else relu1(self.layer_gate(pooled)[:, 0])
        channel = None if self.channel_gate is None else relu1(self.channel_gate(pooled))
        return Salience(layer, channel)


class GatedExecutor(nn.Module):
    """Images -> logits, in one of LC-Net's cost modes. A batch is divided by block decision, and where there are
    channel gates by the set of active channels; each part runs what it needs."""

    def __init__(self, model: GatedBackbone, mode: str) -> None:
        super().__init__()
        self.backbone = FoldedBackbone(model.backbone, "backbone")
        self.gates = nn.ModuleList(
            GateExecutor(cast("Gate", gate), f"gates.{index}") for index, gate in enumerate(model.gates)
        )
        self.mode = mode

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, classes)."""
        x = self.backbone.stem(x)
        for block, gate in zip(self.backbone.blocks, self.gates, strict=True):
            x = self._block(cast("FoldedBlock", block), x, gate(x))
        return self.backbone.head(x)

    def _block(self, block: FoldedBlock, x: Tensor, salience: Salience) -> Tensor:
        out: Tensor = block.shortcut(x)
        # Beside the gates: the first convolution is whole, and in strict `parallel` of skipped blocks too.
        hidden = relu(block.first(x)) if self.mode == "parallel" else None
        for images in _groups(salience, len(x), x.device):
            part = x if len(images) == len(x) else x[images]
            done = None if hidden is None else hidden if len(images) == len(x) else hidden[images]
            out = out.index_add(0, images, self._branch(block, part, salience.of(images), done))
        return relu(out)

    def _branch(self, block: FoldedBlock, x: Tensor, salience: Salience, hidden: Tensor | None) -> Tensor:
        """F(x) * S_L of images that all run the same channels; `hidden` is the first convolution's output, if done."""
        active = None if salience.channel is None else salience.channel[0].nonzero()[:, 0]
        sequential = self.mode == "sequential"
        if hidden is None:
            hidden = relu(block.first(x, outputs=active if sequential else None))
        if salience.channel is not None and active is not None:
            computed = hidden if sequential else hidden[:, active]
            hidden = computed * salience.channel[:, active, None, None]
        residual = block.branch_rest(hidden, inputs=active)
        return residual if salience.layer is None else residual * salience.layer[:, None, None, None]


def _groups(salience: Salience, batch: int, device: torch.device) -> list[Tensor]:
    """Indices of the images that run the block, together where they run the same channels."""
    runs = torch.arange(batch, device=device) if salience.layer is None else salience.layer.nonzero()[:, 0]
    if salience.channel is None or len(runs) < 2:  # noqa: PLR2004  (one image is one group)
        return [runs] if len(runs) else []
    _, group = torch.unique(salience.channel[runs] > 0, dim=0, return_inverse=True)
    return [runs[group == index] for index in range(int(group.max()) + 1)]
