"""The connection to Ray: a cluster that is there, or a local instance for this command alone."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from dynbench.errors import UserError

AUTO = "auto"


@dataclass(frozen=True)
class Fanout:
    """`workers`: this many runs at once on this machine; None: a Ray cluster at `address`."""

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
        """Return how many runs fit into these cores and GPUs at once."""
        by_gpus = int(gpus / self.gpus + 1e-9) if self.gpus else None
        by_cpus = int(cpus // self.cpus)
        return by_cpus if by_gpus is None else min(by_cpus, by_gpus)


_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A run's memory is limited by the suite's `limits:`; Ray would end, and repeat, the wrong process.
    "RAY_memory_monitor_refresh_ms": "0",
}
LOCAL_STORE = 100 * 2**20
"""Bytes: nothing but events and records passes through it."""

KNOCK_SECONDS = 10


def import_ray() -> ModuleType:
    """Import Ray. Raises UserError when it is not installed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise UserError("runs at once need Ray, which is not installed: `pip install dynbench[ray]`") from error
    return ray


class Cluster:
    """Connected from its making to `close()`, which a UserError prevents when there is no Ray or no such cluster."""

    def __init__(self, fanout: Fanout) -> None:
        self.ray: Any = import_ray()
        self._fanout = fanout
        self.is_local = fanout.workers is not None
        self._connect(fanout)

    def _connect(self, fanout: Fanout) -> None:
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        with _own_signals():
            try:
                if fanout.workers is None:
                    _knock(fanout.address)
                    self.ray.init(address=fanout.address, **quiet)
                else:
                    self.ray.init(
                        address="local",
                        num_cpus=fanout.workers * (fanout.cpus or self._share(0)),
                        include_dashboard=False,
                        object_store_memory=LOCAL_STORE,
                        **quiet,
                    )
            except (ConnectionError, ValueError, RuntimeError, OSError) as error:
                raise UserError(self._unreachable(fanout, error)) from error

    def _unreachable(self, fanout: Fanout, error: Exception) -> str:
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        if fanout.workers is not None:
            return f"Ray does not start on this machine: {reason}"
        advice = "start one with `ray start --head`, name one with --address, or use --workers N on this machine alone"
        if fanout.address == AUTO:
            return f"no Ray cluster was started on this machine: {advice}"
        return f"no Ray cluster at {fanout.address}: {reason}; {advice}"

    def nodes(self) -> list[tuple[float, float]]:
        """Return (cores, GPUs) of each node that is alive."""
        alive = (node["Resources"] for node in self.ray.nodes() if node["Alive"])
        return [(resources.get("CPU", 0.0), resources.get("GPU", 0.0)) for resources in alive]

    def device(self, wanted: str) -> str:
        """Return `cpu` or `cuda`, as the suite's `device` asks for. Raises UserError when no node has it."""
        if wanted not in ("auto", "cpu", "cuda"):
            raise UserError(f"device {wanted} names one GPU of one machine; runs at once take cuda, cpu or auto")
        has_gpus = any(gpus for _, gpus in self.nodes())
        if wanted == "cuda" and not has_gpus:
            raise UserError("device cuda was asked for, but no node of the Ray cluster has a GPU; use --device cpu")
        return "cuda" if has_gpus and wanted != "cpu" else "cpu"

    def size(self, device: str) -> Size:
        """Return what each run takes. Raises UserError when that fits on no node."""
        gpus = self._fanout.gpus if self._fanout.gpus is not None else float(device == "cuda")
        size = Size(self._fanout.cpus or self._share(gpus), gpus if device == "cuda" else 0.0)
        if not any(size.fits(*node) for node in self.nodes()):
            raise UserError(f"a run takes {size.cpus} cores and {size.gpus:g} GPUs, which no node of Ray has")
        return size

    def _share(self, gpus: float) -> int:
        """Cores of a run that takes this many GPUs, when nobody says."""
        if self._fanout.workers is not None:
            return max(1, _cores() // self._fanout.workers)
        shares = [int(cores * gpus / there) for cores, there in self.nodes() if gpus and there >= gpus]
        return max(1, min(shares, default=1))

    def slots(self, size: Size) -> int:
        """Return how many runs fit at once."""
        there = sum(size.fits(*node) for node in self.nodes())
        return there if self._fanout.workers is None else min(there, self._fanout.workers)

    def close(self) -> None:
        with _own_signals():
            self.ray.shutdown()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _knock(address: str) -> None:
    """Raises OSError when nobody answers at `HOST:PORT`: Ray would ask for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "://" not in address:
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray puts a handler of its own in place of ours."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
