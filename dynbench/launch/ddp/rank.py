"""Where one process of a process group stands."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

REQUIRED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun tells the processes that it starts."""


@dataclass(frozen=True)
class Rank:
    """Number `rank` of `world` processes, number `local_rank` of the `local_world` on this machine; all meet in the
    store at `host`:`port`."""

    rank: int
    world: int
    local_rank: int
    local_world: int
    host: str
    port: int


def rank_of_torchrun(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """This process's seat, when torchrun has started it together with others."""
    if not all(environment.get(name) for name in REQUIRED) or environment["WORLD_SIZE"] == "1":
        return None
    rank, world, local_rank, local_world, _, port = (environment[name] for name in REQUIRED)
    return Rank(int(rank), int(world), int(local_rank), int(local_world), environment["MASTER_ADDR"], int(port))
