"""The backbone and the policy network of BlockDrop (Wu et al., arXiv 1711.08393)."""

import torch
from torch import Tensor, nn

from dynbench.method import Backbone, ResidualBlock
from dynbench_methods.blockdrop.policy import PolicyNet


class BlockDropNet(nn.Module):
    """A backbone, and a policy network that looks at the same image."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.policy = PolicyNet(backbone.input_shape, sum(block.skippable for _, block in backbone.named_blocks()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (batch, channels, height, width) -> logits (batch, classes) of the whole backbone, and the policy's
        scores (batch, blocks)."""
        return self.backbone(x), self.policy(x)


def run_kept(backbone: Backbone, x: Tensor, keep: Tensor) -> Tensor:
    """Images (batch, channels, h, w) -> logits (batch, classes), with the skippable blocks of `keep`, bool (batch,
    skippable blocks), only.

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
