"""The executor of L-Net, C-Net and LC-Net: skipped blocks and channels are neither computed nor read."""

from typing import cast

import torch
from torch import Tensor, nn

from dynbench.executors import (
    ActiveRows,
    FoldedBackbone,
    FoldedBlock,
    LinearGate,
    PooledLinear,
    active_channels,
    join_rows,
    narrow_rows,
    open_rows,
    runs_per_image,
)
from dynbench_methods.lc_net.gates import Gate, GatedBackbone, Salience, relu1


class GateExecutor(PooledLinear):
    """A block's control net: one pooling and one product for both gates. Gives scores (batch, gates) before ReLU-1, the
    layer's first."""

    def __init__(self, gate: Gate, name: str) -> None:
        kinds = {"layer": gate.layer, "channel": gate.channel}
        present = {kind: source for kind, source in kinds.items() if source is not None}
        super().__init__(tuple(present.values()), tuple(f"{name}.{kind}" for kind in present))
        self.layer_gates, self.has_channels = int("layer" in present), "channel" in present
        self.group = gate.group

    @property
    def linear(self) -> LinearGate:
        return LinearGate(self, bool(self.layer_gates), self.has_channels, self.group)

    def salience(self, x: Tensor) -> Salience:
        """Of features (batch, in_channels, h, w)."""
        scores = relu1(self(x))
        layer = scores[:, 0] if self.layer_gates else None
        channels = scores[:, self.layer_gates :].repeat_interleave(self.group, 1) if self.has_channels else None
        return Salience(layer, channels)


class GatedExecutor(nn.Module):
    """Images -> logits, in one of LC-Net's cost modes. A batch is divided by block decision, and where there are
    channel gates by the set of active channels, unless there are kernels that run each image's own; each part runs what
    it needs."""

    def __init__(self, model: GatedBackbone, mode: str) -> None:
        super().__init__()
        self.backbone = FoldedBackbone(model.backbone, "backbone")
        self.gates = nn.ModuleList(
            _gate(cast("Gate", gate), f"gates.{index}") for index, gate in enumerate(model.gates)
        )
        self.mode = mode
        linear = [gate.linear for gate in self.gates if isinstance(gate, GateExecutor)]
        self._whole = self.backbone.for_one_image(linear, mode)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, classes)."""
        if self._whole.fits(x):
            return self._whole(x)
        x = self.backbone.stem(x)
        for block, gate in zip(self.backbone.blocks, self.gates, strict=True):
            x = self._gated(cast("FoldedBlock", block), gate, x) if isinstance(gate, GateExecutor) else block(x)
        return self.backbone.head(x)

    def _gated(self, block: FoldedBlock, gate: GateExecutor, x: Tensor) -> Tensor:
        if gate.has_channels and runs_per_image(block, x):
            return self._per_image(block, gate, x)
        return self._one_image(block, gate, x) if len(x) == 1 else self._batch(block, gate, x)

    def _per_image(self, block: FoldedBlock, gate: GateExecutor, x: Tensor) -> Tensor:
        """Every image's own channels, all images in one call of each convolution."""
        hidden, salience = self._beside(block, x), gate.salience(x)
        if salience.layer is None:
            return self._rows(block, x, hidden, salience)
        runs, rests = salience.layer.nonzero()[:, 0], (salience.layer == 0).nonzero()[:, 0]
        if not len(runs):
            return block.skip(x)
        part = self._rows(block, x[runs], None if hidden is None else hidden[runs], salience.of(runs))
        if not len(rests):
            return part
        out = part.new_empty(len(x), *part.shape[1:])
        out[runs], out[rests] = part, block.skip(x[rests])
        return out

    def _rows(self, block: FoldedBlock, x: Tensor, hidden: Tensor | None, salience: Salience) -> Tensor:
        """As `_branch`, of images that each run their own channels."""
        assert salience.channel is not None
        rows = ActiveRows.of(salience.channel > 0)
        values = salience.channel[rows.image, rows.channel]
        if self.mode == "sequential":
            return join_rows(block, open_rows(block, x, rows, values), rows, x, salience.layer)
        whole = block.first(x, relu=True) if hidden is None else hidden
        return join_rows(block, narrow_rows(whole, rows, values), rows, x, salience.layer)

    def _beside(self, block: FoldedBlock, x: Tensor) -> Tensor | None:
        """What runs beside the gates in strict `parallel`, of skipped blocks too: the first convolution, whole."""
        return block.first(x, relu=True) if self.mode == "parallel" else None

    def _one_image(self, block: FoldedBlock, gate: GateExecutor, x: Tensor) -> Tensor:
        """The same as `_batch` in fewer and smaller steps, which on one image are what the time goes into."""
        hidden, scores = self._beside(block, x), gate(x)
        layer = None
        if gate.layer_gates:
            score = float(scores[0, 0])
            if not score > 0:
                return block.skip(x)
            layer = scores[:, :1] if score < 1 else None
        active, channels = None, None
        if gate.has_channels:
            active, channels = active_channels(scores, gate.layer_gates, gate.group)
        return self._branch(block, x, hidden, active, channels, layer)

    def _batch(self, block: FoldedBlock, gate: GateExecutor, x: Tensor) -> Tensor:
        hidden, salience = self._beside(block, x), gate.salience(x)
        groups = _groups(salience, len(x), x.device)
        if groups and len(groups[0]) == len(x):
            return self._branch(block, x, hidden, *_parts(salience))
        # Of an identity it is x itself, which is ours and needed no more.
        out = block.skip(x) if block.skippable else None
        for images in groups:
            done = None if hidden is None else hidden[images]
            part = self._branch(block, x[images], done, *_parts(salience.of(images)))
            out = part.new_empty(len(x), *part.shape[1:]) if out is None else out
            out[images] = part
        assert out is not None
        return out

    def _branch(
        self,
        block: FoldedBlock,
        x: Tensor,
        hidden: Tensor | None,
        active: Tensor | None,
        channels: Tensor | None,
        layer: Tensor | None,
    ) -> Tensor:
        """relu(F(x) * S_L + shortcut(x)) of images that all run the `active` channels, with scores `channels` (batch,
        active) and `layer` (batch, 1); `hidden` is the first convolution's output, if done. None: all, or ones."""
        if self.mode == "sequential":
            return block.join(block.open(x, active, channels), x, active, layer)
        whole = block.first(x, relu=True) if hidden is None else hidden
        return block.join(block.narrow(whole, active, channels), x, active, layer)


def _gate(gate: Gate, name: str) -> nn.Module:
    """Where there is nothing to decide, something that is never called."""
    return nn.Identity() if gate.empty else GateExecutor(gate, name)


def _parts(salience: Salience) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of images that run the same channels: which they are, their scores (batch, active) and the layer's (batch, 1)."""
    layer = None if salience.layer is None else salience.layer[:, None]
    if salience.channel is None:
        return None, None, layer
    active = salience.channel[0].nonzero()[:, 0]
    return active, salience.channel[:, active], layer


def _groups(salience: Salience, batch: int, device: torch.device) -> list[Tensor]:
    """Indices of the images that run the block, together where they run the same channels."""
    runs = torch.arange(batch, device=device) if salience.layer is None else salience.layer.nonzero()[:, 0]
    if salience.channel is None or len(runs) < 2:  # noqa: PLR2004  (one image is one group)
        return [runs] if len(runs) else []
    _, group = torch.unique(salience.channel[runs] > 0, dim=0, return_inverse=True)
    return [runs[group == index] for index in range(int(group.max()) + 1)]
