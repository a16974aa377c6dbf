"""The device that a suite asks for."""

import torch

from dynbench.errors import UserError


def choose_device(wanted: str) -> torch.device:
    """`auto` (the first CUDA device, else the CPU), `cpu`, `cuda` or `cuda:N`. Raises UserError when absent."""
    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    device = torch.device("cuda" if wanted == "auto" else wanted)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        raise UserError(f"device {wanted} was asked for, but this machine has {count} CUDA devices; use --device cpu")
    return torch.device("cuda", device.index or 0)
