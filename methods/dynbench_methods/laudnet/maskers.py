"""LAUDNet's maskers, and the gates that they feed."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, relu

from dynbench.method import ResidualBlock, patches_of, spread

OPEN_PLACE, OPEN_CHANNEL = 5.0, 4.0
"""What scores start at. Published: 5 against 0 for places, +2 against -2 for channels."""


def straight_through(scores: Tensor, tau: float | None) -> Tensor:
    """Return 1 where a score lets its part run and 0 elsewhere, float32.

    In training, at the temperature `tau`, with logistic noise, which on one score is Gumbel noise on the two logits of
    on and off, and with the gradient of the soft gate. `tau` None is evaluation: no noise, on where the score is above
    0.
    """
    scores = scores.float()
    if tau is None:
        return (scores > 0).float()
    noise = torch.logit(torch.rand_like(scores), eps=1e-6)
    soft = ((scores + noise) / tau).sigmoid()
    return (soft >= 0.5).float() - soft.detach() + soft  # noqa: PLR2004  (as likely as not)


class PlaceMasker(nn.Module):
    """A score for each patch of `side` output pixels, from the mean of the block's input there: spatial mode.

    `side` None is one patch, the whole map: layer mode.
    """

    def __init__(self, block: ResidualBlock, side: int | None) -> None:
        super().__init__()
        self.side = side
        self.scores = nn.Linear(block.in_channels, 1)
        nn.init.constant_(self.scores.bias, OPEN_PLACE)

    def forward(self, x: Tensor, size: tuple[int, int], tau: float | None) -> Tensor:
        """Features (batch, in, h, w) -> which positions of the output map run, (batch, *size), or (batch, 1, 1)."""
        patches = patches_of(size, self.side)
        scores = self.scores(adaptive_avg_pool2d(x, patches).permute(0, 2, 3, 1))[..., 0]
        runs = straight_through(scores, tau)
        return runs if self.side is None else spread(runs, size)


class ChannelMasker(nn.Module):
    """A score for each `group` of channels inside the block, from the mean of its input.

    One linear layer, or two with a ReLU between them.
    """

    def __init__(self, block: ResidualBlock, group: int, layers: int) -> None:
        super().__init__()
        self.group = group
        scores = block.mid_channels // group
        narrow = max(scores // 16, 16)
        self.hidden = nn.Linear(block.in_channels, narrow) if layers > 1 else None
        self.scores = nn.Linear(narrow if layers > 1 else block.in_channels, scores)
        nn.init.constant_(self.scores.bias, OPEN_CHANNEL)

    def forward(self, x: Tensor, tau: float | None) -> Tensor:
        """Features (batch, in, h, w) -> which channels run, (batch, mid)."""
        pooled = x.mean((2, 3))
        pooled = pooled if self.hidden is None else relu(self.hidden(pooled))
        return straight_through(self.scores(pooled), tau).repeat_interleave(self.group, 1)
