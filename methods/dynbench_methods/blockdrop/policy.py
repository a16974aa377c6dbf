"""The policy network of BlockDrop (Wu et al., arXiv 1711.08393): one score a block of the backbone, from the image."""

from collections.abc import Iterable
from typing import cast

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d

from dynbench.method import Backbone, BasicBlock, FoldedBackbone, ResNet

LARGE = 64
"""Images of at least this many rows get the policy network of ImageNet. The paper has no size between 32 and 224."""


class PolicyNet(nn.Module):
    """Images (batch, channels, height, width) -> scores (batch, blocks) before the sigmoid.

    Section 4.1: a ResNet-8 on CIFAR (one basic block a stage, option-A shortcuts, 16-32-64 channels); on large images a
    ResNet-10 (64-128-256-512, projection shortcuts, 7x7 stem of stride 2, 3x3 max pooling of stride 2) on the image
    after 2x2 average pooling.
    """

    def __init__(self, shape: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        self.large = shape[1] >= LARGE
        widths, option = ((64, 128, 256, 512), "B") if self.large else ((16, 32, 64), "A")
        self.net = ResNet(BasicBlock, tuple((width, 1) for width in widths), shape, blocks, option)
        if self.large:
            self.net.conv1 = nn.Conv2d(shape[0], widths[0], 7, stride=2, padding=3, bias=False)
            nn.init.kaiming_normal_(self.net.conv1.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return policy_scores(self.net, (block for _, block in self.net.named_blocks()), x, self.large)


class PolicyExecutor(nn.Module):
    """The same with BN folded."""

    def __init__(self, policy: PolicyNet, name: str) -> None:
        super().__init__()
        self.large = policy.large
        self.net = FoldedBackbone(policy.net, f"{name}.net")

    def forward(self, x: Tensor) -> Tensor:
        return policy_scores(self.net, self.net.blocks, x, True) if self.large else cast("Tensor", self.net(x))


def policy_scores(net: Backbone | FoldedBackbone, blocks: Iterable[nn.Module], x: Tensor, large: bool) -> Tensor:
    """Return what `net`, whose blocks are `blocks`, says of images `x`: (batch, outputs)."""
    x = net.stem(avg_pool2d(x, 2) if large else x)
    x = max_pool2d(x, 3, stride=2, padding=1) if large else x
    for block in blocks:
        x = block(x)
    return net.head(x)


def greedy(scores: Tensor) -> Tensor:
    """Return `s >= 0.5` for s = sigmoid(scores): which blocks are kept in evaluation, bool (batch, blocks)."""
    return scores >= 0
