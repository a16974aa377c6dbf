"""Which channels a gate leaves active."""

import torch
from torch import Tensor

from dynbench.native import operators as native


def active_channels(scores: Tensor, start: int = 0, group: int = 1) -> tuple[Tensor, Tensor]:
    """Of one image's scores (1, gates), those from `start` on, each of which is `group` channels': the channels whose
    score is above zero, int64, and their scores (1, active), limited to 1."""
    if scores.is_cpu and scores.dtype == torch.float32 and native.available():
        return native.active(scores, start, group)
    each = scores[:, start:].repeat_interleave(group, 1)
    active = (each[0] > 0).nonzero()[:, 0]
    return active, each[:, active].clamp(max=1)
