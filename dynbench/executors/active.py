"""Which channels a gate leaves active."""

import torch
from torch import Tensor

from dynbench.native import operators as native


def active_channels(scores: Tensor, start: int = 0) -> tuple[Tensor, Tensor]:
    """Of one image's scores (1, gates), those from `start` on: the indices (from `start`) of those above zero, int64,
    and their values (1, active), limited to 1."""
    if scores.is_cpu and scores.dtype == torch.float32 and native.available():
        return native.active(scores, start)
    active = (scores[0, start:] > 0).nonzero()[:, 0]
    return active, scores[:, start:][:, active].clamp(max=1)
