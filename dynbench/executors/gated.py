"""The executor of nets with a gate at each block: skipped blocks and channels are neither computed nor read."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from dynbench.executors.folded_backbone import FoldedBackbone
from dynbench.executors.folded_block import FoldedBlock
from dynbench.executors.gate import PooledGate, Switches, active_channels
from dynbench.executors.per_image import fits as runs_per_image
from dynbench.executors.per_image import join_rows, narrow_rows, open_rows
from dynbench.kernels.triton.operators import ActiveRows


class GatedExecutor(nn.Module):
    """Images -> logits of a backbone with `gates`, one a block or None.

    A single image goes through in one native call where the kernels run all of it. A batch is divided by block
    decision, and where there are channel gates by the set of active channels, unless there are kernels that run each
    image's own; each part runs what it needs.

    Raises ValueError for a layer gate at a block that cannot be skipped.
    """

    def __init__(self, backbone: FoldedBackbone, gates: Sequence[PooledGate | None]) -> None:
        super().__init__()
        for block, gate in zip(backbone.blocks, gates, strict=True):
            if gate is not None and gate.layer is not None and not block.skippable:
                raise ValueError("a block without a shortcut cannot be skipped; give it no layer gate")
        self.backbone = backbone
        # Where there is nothing to decide, something that is never called.
        self.gates = nn.ModuleList(nn.Identity() if gate is None else gate for gate in gates)
        self._whole = backbone.for_one_image(gates)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) -> (batch, classes)."""
        if self._whole.fits(x):
            return self._whole(x)
        x = self.backbone.stem(x)
        for block, gate in zip(self.backbone.blocks, self.gates, strict=True):
            x = _gated(cast("FoldedBlock", block), gate, x) if isinstance(gate, PooledGate) else block(x)
        return self.backbone.head(x)


def _gated(block: FoldedBlock, gate: PooledGate, x: Tensor) -> Tensor:
    if gate.channels is not None and runs_per_image(block, x):
        return _per_image(block, gate, x)
    return _one_image(block, gate, x) if len(x) == 1 else _batch(block, gate, x)


def _per_image(block: FoldedBlock, gate: PooledGate, x: Tensor) -> Tensor:
    """Every image's own channels, all images in one call of each convolution."""
    hidden, switches = _beside(block, gate, x), gate.switches(x)
    if switches.layer is None:
        return _rows(block, gate, x, hidden, switches)
    runs, rests = switches.layer.nonzero()[:, 0], (~switches.layer).nonzero()[:, 0]
    if not len(runs):
        return block.skip(x)
    part = _rows(block, gate, x[runs], None if hidden is None else hidden[runs], switches.of(runs))
    if not len(rests):
        return part
    out = part.new_empty(len(x), *part.shape[1:])
    out[runs], out[rests] = part, block.skip(x[rests])
    return out


def _rows(block: FoldedBlock, gate: PooledGate, x: Tensor, hidden: Tensor | None, switches: Switches) -> Tensor:
    """As `_branch`, of images that each run their own channels."""
    assert switches.channels is not None
    rows = ActiveRows.of(switches.channels)
    values = None if switches.channel_scale is None else switches.channel_scale[rows.image, rows.channel]
    layer = None if switches.layer_scale is None else switches.layer_scale[:, 0]
    if gate.when == "first":
        return join_rows(block, open_rows(block, x, rows, values), rows, x, layer)
    whole = block.first(x, relu=True) if hidden is None else hidden
    return join_rows(block, narrow_rows(whole, rows, values), rows, x, layer)


def _beside(block: FoldedBlock, gate: PooledGate, x: Tensor) -> Tensor | None:
    """What runs beside the gate, of skipped blocks too: the first convolution, whole."""
    return block.first(x, relu=True) if gate.when == "beside" else None


def _one_image(block: FoldedBlock, gate: PooledGate, x: Tensor) -> Tensor:
    """The same as `_batch` in fewer and smaller steps, which on one image are what the time goes into."""
    hidden, scores = _beside(block, gate, x), gate(x)
    layer, active, channels = None, None, None
    if gate.layer is not None:
        value = gate.layer.of_one(float(scores[0, 0]))
        if value is None:
            return block.skip(x)
        layer = scores.new_full((1, 1), value) if gate.layer.scales and value != 1 else None
    if gate.channels is not None:
        active, channels = active_channels(scores, gate.start, gate.group, gate.channels)
    return _branch(block, gate, x, hidden, active, channels, layer)


def _batch(block: FoldedBlock, gate: PooledGate, x: Tensor) -> Tensor:
    hidden, switches = _beside(block, gate, x), gate.switches(x)
    groups = _groups(switches, len(x), x.device)
    if groups and len(groups[0]) == len(x):
        return _branch(block, gate, x, hidden, *_shared(switches))
    # Of an identity it is x itself, which is ours and needed no more.
    out = block.skip(x) if block.skippable else None
    for images in groups:
        done = None if hidden is None else hidden[images]
        part = _branch(block, gate, x[images], done, *_shared(switches.of(images)))
        out = part.new_empty(len(x), *part.shape[1:]) if out is None else out
        out[images] = part
    assert out is not None
    return out


def _branch(
    block: FoldedBlock,
    gate: PooledGate,
    x: Tensor,
    hidden: Tensor | None,
    active: Tensor | None,
    channels: Tensor | None,
    layer: Tensor | None,
) -> Tensor:
    """Return `end(F(x) * layer + shortcut(x))` of images that all run the `active` channels.

    Scaled by `channels` (batch, active) and `layer` (batch, 1); `hidden` is the first convolution's output, if done.
    None: all, or ones.
    """
    if gate.when == "first":
        return block.join(block.open(x, active, channels), x, active, layer)
    whole = block.first(x, relu=True) if hidden is None else hidden
    return block.join(block.narrow(whole, active, channels), x, active, layer)


def _shared(switches: Switches) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return what images that run the same channels share.

    Which channels they are, what scales them (batch, active) and the layer (batch, 1).
    """
    if switches.channels is None:
        return None, None, switches.layer_scale
    active = switches.channels[0].nonzero()[:, 0]
    scale = None if switches.channel_scale is None else switches.channel_scale[:, active]
    return active, scale, switches.layer_scale


def _groups(switches: Switches, batch: int, device: torch.device) -> list[Tensor]:
    """Indices of the images that run the block, together where they run the same channels."""
    runs = torch.arange(batch, device=device) if switches.layer is None else switches.layer.nonzero()[:, 0]
    if switches.channels is None or len(runs) < 2:  # noqa: PLR2004  (one image is one group)
        return [runs] if len(runs) else []
    _, group = torch.unique(switches.channels[runs], dim=0, return_inverse=True)
    return [runs[group == index] for index in range(int(group.max()) + 1)]
