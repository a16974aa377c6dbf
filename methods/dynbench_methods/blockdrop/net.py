"""The backbone and the policy network of BlockDrop (Wu et al., arXiv 1711.08393), and the executor of both."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from dynbench.method import Backbone, FoldedBackbone, FoldedBlock, ResidualBlock
from dynbench_methods.blockdrop.policy import PolicyExecutor, PolicyNet, greedy


class BlockDropNet(nn.Module):
    """A backbone, and a policy network that looks at the same image."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.policy = PolicyNet(backbone.input_shape, sum(block.skippable for _, block in backbone.named_blocks()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (batch, channels, height, width) to the whole backbone's logits and the policy's scores.

        Logits are (batch, classes), scores (batch, blocks).
        """
        return self.backbone(x), self.policy(x)


def run_kept(backbone: Backbone, x: Tensor, keep: Tensor) -> Tensor:
    """Map images (batch, channels, h, w) to logits (batch, classes), with some of the skippable blocks.

    Only those of `keep`, bool (batch, skippable blocks).

    A kept block is `relu(F(x) + shortcut(x))` and a dropped one `shortcut(x)`, without a ReLU (BlockDrop, section 3.1).
    A block without a shortcut, which the paper does not have, is always kept.
    """
    x = backbone.stem(x)
    decisions = iter(keep.unbind(1))
    for _, block in backbone.named_blocks():
        if not block.skippable:
            x = block(x)
            continue
        kept = next(decisions)
        x = _run_masked(block, x, kept) if backbone.training else _run_some(block, x, kept)
    return backbone.head(x)


def _run_masked(block: ResidualBlock, x: Tensor, kept: Tensor) -> Tensor:
    """Everything computed: in training, BN takes its statistics from the whole batch."""
    shortcut = block.shortcut(x)
    whole = block.end(block.rest(block.first(x)) + shortcut)
    return torch.where(kept[:, None, None, None], whole, shortcut)


def _run_some(block: ResidualBlock, x: Tensor, kept: Tensor) -> Tensor:
    """The same in evaluation, where an image does not depend on the others: the branch runs for the kept ones."""
    images = kept.nonzero()[:, 0]
    if len(images) == len(x):
        whole: Tensor = block(x)
        return whole
    shortcut: Tensor = block.shortcut(x)
    if not len(images):
        return shortcut
    some = block.end(block.rest(block.first(x[images])) + shortcut[images])
    return shortcut.index_copy(0, images, some)


class BlockDropExecutor(nn.Module):
    """Images -> logits: the policy network first, then the blocks that it keeps.

    Every decision is known before the first of them runs, so the host reads them once.
    """

    def __init__(self, model: BlockDropNet) -> None:
        super().__init__()
        self.policy = PolicyExecutor(model.policy, "policy")
        self.backbone = FoldedBackbone(model.backbone, "backbone")
        self._one_image = self.backbone.for_one_image()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) -> (batch, classes)."""
        keep = greedy(self.policy(x)).cpu()
        if self._one_image.fits(x):
            return self._one_image(x, keep[0].tolist())
        return self.backbone.head(self._blocks(self.backbone.stem(x), keep))

    def _blocks(self, x: Tensor, keep: Tensor) -> Tensor:
        """`keep`, bool (batch, skippable blocks), lies on the host.

        The size of each block's part is known without a wait.
        """
        decisions = iter(keep.unbind(1))
        for block in cast("Iterable[FoldedBlock]", self.backbone.blocks):
            images = next(decisions).nonzero()[:, 0] if block.skippable else None
            x = block(x) if images is None or len(images) == len(x) else _folded_some(block, x, images.to(x.device))
        return x


def _folded_some(block: FoldedBlock, x: Tensor, images: Tensor) -> Tensor:
    """The block of `images` alone, the shortcut of the others; `x` may be overwritten."""
    out: Tensor = block.shortcut(x)  # of an identity it is x itself, which is ours and needed no more
    if len(images):
        out[images] = block(x[images])
    return out
