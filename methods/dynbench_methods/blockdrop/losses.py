"""What BlockDrop's policy is trained with (Wu et al., arXiv 1711.08393, section 3.2 and 3.3)."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def bounded(scores: Tensor, alpha: float) -> Tensor:
    """Return probabilities of keeping each block, within [1 - alpha, alpha], in fp32.

    They are `alpha * s + (1 - alpha) * (1 - s)` with s = sigmoid(scores), so that neither decision is ever certain. For
    `alpha` in (0.5, 1).
    """
    s = scores.float().sigmoid()
    return alpha * s + (1 - alpha) * (1 - s)


def log_probability(p: Tensor, keep: Tensor) -> Tensor:
    """Log probability of each decision `keep`, bool, under Bernoulli `p`; both (batch, blocks)."""
    return torch.where(keep, p, 1 - p).log()


def entropy(p: Tensor) -> Tensor:
    """Entropy of each Bernoulli `p`, in nats: (batch, blocks)."""
    return -(p * p.log() + (1 - p) * (1 - p).log())


def reward(right: Tensor, keep: Tensor, gamma: float) -> Tensor:
    """Return `1 - (kept / blocks)^2` of images that are classified rightly, `-gamma` of the others.

    `right` is bool (batch,), `keep` bool (batch, blocks); float32 (batch,).
    """
    saved = 1 - keep.float().mean(1).square()
    return torch.where(right, saved, torch.full_like(saved, -gamma))


def decided_blocks(blocks: int, epoch: int, span: int) -> int:
    """Return how many of the last blocks the policy decides in `epoch`, counted from 0.

    It is to decide all `blocks` after `span` epochs: one more each epoch (section 3.3) where `span` is `blocks`, in
    larger steps where it is less.
    """
    return min(blocks, -(-(epoch + 1) * blocks // span))


def only_last(keep: Tensor, decided: int) -> Tensor:
    """Return the decisions (batch, blocks) with all but the `decided` last blocks kept."""
    blocks = keep.shape[1]
    return keep | (torch.arange(blocks, device=keep.device) < blocks - decided)


def curriculum_loss(p: Tensor, keep: Tensor, advantage: Tensor, decided: int, beta: float) -> Tensor:
    """Return `(-sum A log pi - beta * H) / batch`, its sums over the `decided` last blocks.

    `p`, `keep` (batch, blocks), `advantage` (batch,).
    """
    last = slice(p.shape[1] - decided, None)
    gain = advantage[:, None] * log_probability(p, keep)[:, last] + beta * entropy(p)[:, last]
    return -gain.sum() / len(p)


def joint_loss(
    p: Tensor, keep: Tensor, advantage: Tensor, logits: Tensor, y: Tensor, label_smoothing: float = 0.0
) -> Tensor:
    """Return `-sum A log pi`, over images and blocks, and the mean cross-entropy of `logits`.

    Logits are (batch, classes), against labels `y`. The first trains the policy alone and the second the backbone
    alone, and Adam, which makes nothing of a gradient's scale, is given both as published.
    """
    policy = -(advantage[:, None] * log_probability(p, keep)).sum()
    return policy + cross_entropy(logits, y, label_smoothing=label_smoothing)
