"""How the user wants runs to be spread."""

from dataclasses import dataclass

AUTO = "auto"


@dataclass(frozen=True)
class Fanout:
    """`workers`: so many runs at once on this machine; None: a Ray cluster at `address`."""

    workers: int | None = None
    address: str = AUTO
    """`AUTO`: RAY_ADDRESS, else the cluster that was started on this machine."""
    cpus: int | None = None
    """Cores of each run, which are its threads. None: an equal share of the machine, of the GPU's machine, or 1."""
    gpus: float | None = None
    """GPUs of each run. None: 1 where the device is `cuda`, else none."""


@dataclass(frozen=True)
class Size:
    """What each run takes of a node."""

    cpus: int
    gpus: float

    def fits(self, cpus: float, gpus: float) -> int:
        """How many runs go at once into so many cores and GPUs."""
        by_gpus = int(gpus / self.gpus + 1e-9) if self.gpus else None
        by_cpus = int(cpus // self.cpus)
        return by_cpus if by_gpus is None else min(by_cpus, by_gpus)
