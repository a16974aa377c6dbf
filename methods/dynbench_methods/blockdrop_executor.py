"""The executor of BlockDrop: the policy network first, then the blocks that it keeps."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from dynbench.executors import FoldedBackbone, FoldedBlock
from dynbench_methods.blockdrop_net import BlockDropNet
from dynbench_methods.policy import PolicyExecutor, greedy


class BlockDropExecutor(nn.Module):
    """Images -> logits. Every decision is known before the first block runs, so the host reads them once."""

    def __init__(self, model: BlockDropNet) -> None:
        super().__init__()
        self.policy = PolicyExecutor(model.policy, "policy")
        self.backbone = FoldedBackbone(model.backbone, "backbone")

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, classes)."""
        keep = greedy(self.policy(x)).cpu()
        x = self.backbone.stem(x)
        x = self._one_image(x, keep[0].tolist()) if len(x) == 1 else self._batch(x, keep)
        return self.backbone.head(x)

    def _one_image(self, x: Tensor, keep: Sequence[bool]) -> Tensor:
        for block, kept in zip(self.backbone.blocks, keep, strict=True):
            x = block(x) if kept else cast("FoldedBlock", block).shortcut(x)
        return x

    def _batch(self, x: Tensor, keep: Tensor) -> Tensor:
        """`keep`, bool (batch, blocks), lies on the host: the size of each block's part is known without a wait."""
        for block, kept in zip(self.backbone.blocks, keep.unbind(1), strict=True):
            images = kept.nonzero()[:, 0]
            x = block(x) if len(images) == len(x) else _some(cast("FoldedBlock", block), x, images.to(x.device))
        return x


def _some(block: FoldedBlock, x: Tensor, images: Tensor) -> Tensor:
    """The block of `images` alone, the shortcut of the others; `x` may be overwritten."""
    out: Tensor = block.shortcut(x)  # of an identity it is x itself, which is ours and needed no more
    if len(images):
        out[images] = block(x[images])
    return out
