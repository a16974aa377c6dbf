"""The executor of early exits: an image that leaves is done, and nothing behind its exit is computed or read."""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from dynbench.method import FoldedBackbone
from dynbench_methods.early_exit.heads import folded_head
from dynbench_methods.early_exit.net import ExitNet, score_of, surest
from dynbench_methods.early_exit.rules import Policy


class ExitExecutor(nn.Module):
    """Images (batch, channels, height, width) -> logits (batch, classes), at operating point number `point`.

    A single image stops at the first exit that fires. Of a batch the others continue alone: the host asks once an exit
    who does.
    """

    thresholds: Tensor

    def __init__(self, net: ExitNet, point: int) -> None:
        super().__init__()
        self.backbone = FoldedBackbone(net.backbone, "backbone")
        self.heads = nn.ModuleList(
            deepcopy(folded_head(head, f"heads.{index}")) for index, head in enumerate(net.heads)
        )
        self.policies = nn.ModuleList(cast("Policy", policy).at(point) for policy in net.policies)
        self.rule, self.keeps_surest = net.rule, net.keeps_surest
        self.register_buffer("thresholds", net.thresholds[point].clone())
        self._parts = tuple(pairwise((0, *net.places, len(self.backbone.blocks))))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channels, h, w) -> (batch, classes)."""
        return self._one(x) if len(x) == 1 else self._batch(x)

    def _one(self, x: Tensor) -> Tensor:
        x, seen = self.backbone.stem(x), []
        for index, head in enumerate(self.heads):
            x = self._blocks(index, x)
            logits: Tensor = head(x)
            if bool(self._leaves(index, logits)):
                return logits
            seen.append(logits)
        return self._last(x, seen)

    def _batch(self, x: Tensor) -> Tensor:
        count, device = len(x), x.device
        x, seen = self.backbone.stem(x), []
        images, out = torch.arange(count, device=device), None
        for index, head in enumerate(self.heads):
            x = self._blocks(index, x)
            logits: Tensor = head(x)
            out = logits.new_empty(count, logits.shape[1]) if out is None else out
            leaves = self._leaves(index, logits)
            stay = (~leaves).nonzero()[:, 0]
            seen.append(logits)
            if len(stay) < len(x):
                out.index_copy_(0, images, logits)  # of those that stay, it is written again
                if not len(stay):
                    return out
                x, images = x.index_select(0, stay), images.index_select(0, stay)
                seen = [one.index_select(0, stay) for one in seen]
        assert out is not None
        return out.index_copy_(0, images, self._last(x, seen))

    def _blocks(self, index: int, x: Tensor) -> Tensor:
        """Those before exit `index`, and behind the one before it; after the last exit, the rest."""
        start, end = self._parts[index]
        for block in self.backbone.blocks[start:end]:
            x = block(x)
        return x

    def _last(self, x: Tensor, seen: Sequence[Tensor]) -> Tensor:
        """Of images that no exit has taken."""
        final = self.backbone.head(self._blocks(len(self.heads), x))
        return surest([*seen, final]) if self.keeps_surest else final

    def _leaves(self, index: int, logits: Tensor) -> Tensor:
        """Bool (batch,)."""
        score = self.policies[index](logits)[:, 0] if self.rule == "policy" else score_of(self.rule, logits)
        return cast("Tensor", score < self.thresholds[index])
