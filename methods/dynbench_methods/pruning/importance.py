"""Importance of features, propagated from a net's last layer back to every filter (NISP, arXiv 1711.05908)."""

from typing import cast

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from dynbench.method import Backbone, ResidualBlock, SubsampleAndPad


def inf_fs(features: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Importance (features,) of `features` (samples, features), two of each at least.

    The sum of a feature's row of `(I - r A)^-1 - I`, r = 0.9 / the spectral radius of A, where
    `A_ij = alpha * max(s_i, s_j) + (1 - alpha) * (1 - |c_ij|)`, s standard deviations, c Spearman's rank correlations.
    Chosen here: alpha a half; max(s_i, s_j) scaled to [0, 1] over all pairs; a constant feature correlates with none.
    """
    spread = features.std(axis=0)
    larger = _unit(np.maximum.outer(spread, spread))
    adjacency = alpha * larger + (1 - alpha) * (1 - np.abs(_spearman(features)))
    radius = np.abs(np.linalg.eigvalsh(adjacency)).max()
    identity = np.eye(len(adjacency))
    paths = np.linalg.inv(identity - 0.9 / radius * adjacency) - identity
    return np.asarray(paths.sum(axis=1))


def _unit(values: np.ndarray) -> np.ndarray:
    """Moved and scaled to [0, 1]; zero where all are equal."""
    span = values.max() - values.min()
    return cast("np.ndarray", (values - values.min()) / (span or 1))


def _spearman(features: np.ndarray) -> np.ndarray:
    ranks = rankdata(features, axis=0)
    ranks -= ranks.mean(axis=0)
    norms = np.linalg.norm(ranks, axis=0)
    ranks /= np.where(norms > 0, norms, 1)
    return np.asarray(ranks.T @ ranks)


def propagate(backbone: Backbone, final: Tensor) -> dict[str, Tensor]:
    """Propagate importance from what enters the classifier to the features behind each branch convolution.

    From `final` (channels,) to (filters,) float64 by the layer's name; the last convolution of a branch is left out.

    `s_l = |W_{l+1}|^T s_{l+1}`, ReLU passes it on whole. The paper's neurons are taken together here as channels: a
    kernel counts with the sum of its absolute weights, borders are left out of account. A block's output passes its
    importance on to branch and shortcut alike; BN is a part of its convolution, whose weights it multiplies by
    |gamma| / sqrt(variance + eps).
    """
    scores: dict[str, Tensor] = {}
    importance = final.double()
    if backbone.last_conv is not None:
        importance = _back(*backbone.conv_and_norm(backbone.last_conv), importance)
    for name, block in reversed(list(backbone.named_blocks())):
        branch = importance
        for conv in reversed(block.branch_convs()):
            if branch is not importance:
                scores[f"{name}.{conv}"] = branch
            branch = _back(*block.conv_and_norm(conv), branch)
        importance = branch + _through_shortcut(block, importance) if block.skippable else branch
        importance = importance / importance.sum()  # only ratios matter, and dozens of products overflow
    return scores


def _back(conv: nn.Conv2d, norm: nn.BatchNorm2d, importance: Tensor) -> Tensor:
    """Importance of the inputs of a convolution with BN, from that of its outputs."""
    variance = norm.running_var
    assert variance is not None
    scale = norm.weight.detach().double().abs() / (variance.double() + norm.eps).sqrt()
    weight = conv.weight.detach().double().abs().sum((2, 3))
    if conv.groups == 1:
        return weight.T @ (scale * importance)
    groups = weight.view(conv.groups, -1, weight.shape[1])
    return torch.einsum("goi,go->gi", groups, (scale * importance).view(conv.groups, -1)).flatten()


def _through_shortcut(block: ResidualBlock, importance: Tensor) -> Tensor:
    if len(block.shortcut) == 0:
        return importance
    first = block.shortcut[0]
    if isinstance(first, SubsampleAndPad):
        start = first.padding[4]
        return importance[start : start + block.in_channels]
    return _back(cast("nn.Conv2d", first), cast("nn.BatchNorm2d", block.shortcut[1]), importance)


def final_responses(backbone: Backbone, images: Tensor, batch: int = 250) -> Tensor:
    """Return what enters the classifier: images (n, channels, height, width) -> (n, features)."""
    was_training = backbone.training
    seen: list[Tensor] = []
    hook = backbone.linear.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    try:
        with torch.no_grad():
            backbone.eval()
            for start in range(0, len(images), batch):
                backbone(images[start : start + batch])
    finally:
        hook.remove()
        backbone.train(was_training)
    return torch.cat(seen)
