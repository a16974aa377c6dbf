"""The executor of BlockDrop: the policy network first, then the blocks that it keeps."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn

from dynbench.method import FoldedBackbone, FoldedBlock
from dynbench_methods.blockdrop.net import BlockDropNet
from dynbench_methods.blockdrop.policy import PolicyExecutor, greedy


class BlockDropExecutor(nn.Module):
    """Images -> logits. Every decision is known before the first block runs, so the host reads them once."""

    def __init__(self, model: BlockDropNet) -> None:
        super().__init__()
        self.policy = PolicyExecutor(model.policy, "policy")
        self.backbone = FoldedBackbone(model.backbone, "backbone")
        self._one_image = self.backbone.for_one_image()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> (batch, classes)."""
        keep = greedy(self.policy(x)).cpu()
        if self._one_image.fits(x):
            return self._one_image(x, keep[0].tolist())
        return self.backbone.head(self._blocks(self.backbone.stem(x), keep))

    def _blocks(self, x: Tensor, keep: Tensor) -> Tensor:
        """`keep`, bool (batch, skippable blocks), lies on the host: the size of each block's part is known without a
        wait."""
        decisions = iter(keep.unbind(1))
        for block in cast("Iterable[FoldedBlock]", self.backbone.blocks):
            images = next(decisions).nonzero()[:, 0] if block.skippable else None
            x = block(x) if images is None or len(images) == len(x) else _some(block, x, images.to(x.device))
        return x


def _some(block: FoldedBlock, x: Tensor, images: Tensor) -> Tensor:
    """The block of `images` alone, the shortcut of the others; `x` may be overwritten."""
    out: Tensor = block.shortcut(x)  # of an identity it is x itself, which is ours and needed no more
    if len(images):
        out[images] = block(x[images])
    return out
