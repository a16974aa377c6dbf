"""Where one process of a process group stands, and the device that it needs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dynbench.errors import UserError

if TYPE_CHECKING:
    import torch


REQUIRED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells the processes that it starts."""


@dataclass(frozen=True)
class Rank:
    """Number `rank` of `world` processes, number `local_rank` of the `local_world` on this machine.

    All meet in the store at `host`:`port`.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    host: str
    port: int


def rank_of_torchrun(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """Return this process's rank, when torchrun has started it together with others."""
    if not all(environment.get(name) for name in REQUIRED) or environment["WORLD_SIZE"] == "1":
        return None
    rank, world, local_rank, local_world, _, port = (environment[name] for name in REQUIRED)
    return Rank(int(rank), int(world), int(local_rank), int(local_world), environment["MASTER_ADDR"], int(port))


def check_devices(device: "torch.device", local_world: int) -> None:
    """Check the CUDA devices of this machine.

    Raises UserError when there is not a CUDA device for each of the `local_world` processes of this machine.
    """
    import torch

    if device.type != "cuda":
        return
    if device.index:
        raise UserError(f"device {device} is one device, for {local_world} processes; use --device cuda")
    count = torch.cuda.device_count()
    if count < local_world:
        raise UserError(f"{local_world} processes need as many CUDA devices, this machine has {count}")
