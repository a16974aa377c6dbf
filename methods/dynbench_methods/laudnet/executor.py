"""LAUDNet's executor.

One native call of single images where layers and first convolutions alone are switched, block by block where positions
are, or the insides of bottlenecks.
"""

from collections.abc import Iterable
from typing import cast

from torch import nn

from dynbench.method import (
    FoldedBackbone,
    FoldedBlock,
    GatedExecutor,
    MaskedBlock,
    MaskedExecutor,
    PatchScores,
    PooledGate,
    PooledLinear,
    hard_gate,
)
from dynbench_methods.laudnet.maskers import ChannelMasker, PlaceMasker
from dynbench_methods.laudnet.net import LaudNet, Masker


def laudnet_executor(net: LaudNet) -> nn.Module:
    """Return a module that maps images (batch, channels, h, w) to logits (batch, classes)."""
    backbone = FoldedBackbone(net.backbone, "backbone")
    pairs = zip(cast("Iterable[Masker]", net.maskers), cast("Iterable[FoldedBlock]", backbone.blocks), strict=True)
    blocks = [(f"maskers.{index}", masker, block) for index, (masker, block) in enumerate(pairs)]
    if all(_is_pooled_gate(masker, block) for _, masker, block in blocks):
        return GatedExecutor(backbone, [_pooled_gate(masker, name) for name, masker, _ in blocks])
    return MaskedExecutor(backbone, [_masked(masker, block, name) for name, masker, block in blocks])


def _is_pooled_gate(masker: Masker, block: FoldedBlock) -> bool:
    """Whether it switches what the one-call net can: the branch, or the channels of a basic block, not both."""
    places, channels = masker.places, masker.channels
    if places is not None:
        return places.side is None and channels is None
    return channels is None or len(block.rest) == 1


def _pooled_gate(masker: Masker, name: str) -> PooledGate | None:
    if masker.places is not None:
        return _layer_gate(masker.places, f"{name}.places")
    return None if masker.channels is None else _channel_gate(masker.channels, f"{name}.channels")


def _layer_gate(masker: PlaceMasker, name: str) -> PooledGate:
    return PooledGate(PooledLinear([masker.scores], (f"{name}.scores",)), layer=hard_gate())


def _channel_gate(masker: ChannelMasker, name: str) -> PooledGate:
    hidden = None if masker.hidden is None else PooledLinear([masker.hidden], (f"{name}.hidden",))
    scores = PooledLinear([masker.scores], (f"{name}.scores",))
    return PooledGate(scores, channels=hard_gate(), hidden=hidden, group=masker.group)


def _masked(masker: Masker, block: FoldedBlock, name: str) -> MaskedBlock | None:
    where, side, channels = None, None, None
    if masker.places is not None:
        where, side = PatchScores(masker.places.scores, (f"{name}.places.scores",)), masker.places.side
    if masker.channels is not None:
        channels = _channel_gate(masker.channels, f"{name}.channels")
    return None if where is None and channels is None else MaskedBlock(block, where, side, channels)
