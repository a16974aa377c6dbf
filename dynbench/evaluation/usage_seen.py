"""Collects what a method says of its layers on the test split, batch by batch, for the report."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dynbench.cost import CostModel, LayerUsage
from dynbench.record.usage_arrays import STEPS, PointUsage


@dataclass
class UsageSeen:
    """The usage of one operating point, so far. Everything stays on the device until the end.

    `shares`: of each batch, uint8 (batch, layers). `channels`: of each batch, by layer, which channels ran, bool
    (batch, channels). `positions`: by layer, how many images ran each position.
    """

    shares: list[Tensor] = field(default_factory=list)
    channels: dict[str, list[Tensor]] = field(default_factory=dict)
    positions: dict[str, Tensor] = field(default_factory=dict)

    def add(self, usage: Mapping[str, LayerUsage], images: int, costs: CostModel) -> None:
        """Take in a batch."""
        self.shares.append((STEPS * costs.shares(usage, images)).round().to(torch.uint8).T)
        for layer, mask in channel_masks(usage):
            self.channels.setdefault(layer, []).append(mask)
        for layer, used in usage.items():
            if used.positions is not None and used.positions.ndim > 1:
                ran = used.positions.sum(0)
                self.positions[layer] = self.positions[layer] + ran if layer in self.positions else ran

    def on_host(self) -> "UsageSeen":
        """Return the same in main memory, to be sent to another process."""
        channels = {layer: [mask.cpu() for mask in masks] for layer, masks in self.channels.items()}
        positions = {layer: count.cpu() for layer, count in self.positions.items()}
        return UsageSeen([part.cpu() for part in self.shares], channels, positions)

    @classmethod
    def together(cls, parts: Iterable["UsageSeen"]) -> "UsageSeen":
        """Return what several processes have seen, in order."""
        whole = cls()
        for part in parts:
            whole.shares += part.shares
            for layer, masks in part.channels.items():
                whole.channels.setdefault(layer, []).extend(masks)
            for layer, count in part.positions.items():
                whole.positions[layer] = whole.positions[layer] + count if layer in whole.positions else count
        return whole

    def by_class(self, labels: Tensor) -> PointUsage:
        """Return what it comes to, with the labels (n,) of the images."""
        shares = torch.cat(self.shares).cpu().numpy()
        images = torch.bincount(labels.cpu()).clamp(min=1)
        activation = {}
        for layer, masks in self.channels.items():
            ran = torch.cat(masks).cpu().double()
            counts = ran.new_zeros(len(images), ran.shape[1]).index_add_(0, labels.cpu(), ran)
            activation[layer] = (counts / images[:, None]).numpy()
        positions = {layer: (count.cpu().double() / len(shares)).numpy() for layer, count in self.positions.items()}
        return PointUsage.of(shares, activation, positions)


def channel_masks(usage: Mapping[str, LayerUsage]) -> list[tuple[str, Tensor]]:
    """Return for each layer whose channels are gated which of them ran, bool (batch, channels).

    What one layer does not write and the next does not read is one mask, and the first one's.
    """
    written = [(layer, used.outputs) for layer, used in usage.items()]
    read = [(layer, used.inputs) for layer, used in usage.items()]
    found: list[tuple[str, Tensor]] = []
    for layer, mask in (*written, *read):
        if mask is not None and mask.ndim > 1 and all(mask is not other for _, other in found):
            found.append((layer, mask))
    return found
