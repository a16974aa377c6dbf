"""Which channels are active in each image of a batch, as one list."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ActiveRows:
    """A row for each active channel of each image, image by image: the number of the `image` and of the `channel`, both
    int64 (rows,). Image b's are rows `offsets[b]` up to `offsets[b + 1]`, int64 (images + 1,). Their number is in the
    shapes, so that what they cost is."""

    image: Tensor
    channel: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, active: Tensor) -> "ActiveRows":
        """Of `active`, bool (images, channels). The device is asked once how many there are."""
        image, channel = active.nonzero().unbind(1)
        counts = active.sum(1).cumsum(0)
        return cls(image, channel, torch.cat([counts.new_zeros(1), counts]))
