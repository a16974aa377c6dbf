"""The most memory that something has taken on a device."""

import resource
import sys

import psutil
import torch


class PeakMemory:
    """From its making on: of a CUDA device what torch has allocated there, of the CPU what this process holds.

    A process's peak cannot be set back: what it has taken before counts too.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.start = self._now()
        """Bytes that are taken already."""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def _now(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return int(psutil.Process().memory_info().rss)

    @property
    def bytes(self) -> int:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def at(self, batch: int, measured: int, fixed: int) -> int:
        """The peak in steps of `batch` images, by one in steps of `measured`: all but `fixed` bytes grow with them."""
        return fixed + max(0, self.bytes - fixed) * batch // measured
